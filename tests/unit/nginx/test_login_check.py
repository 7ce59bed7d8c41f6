"""A site whose backend knows the logins: what the backend is asked, what it gets, and what happens without it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Client, Echo, Front, backend, debian_release, free_ports

# Of a token as well, which comes as the name
GOOD, TOKEN, BAD = "reader:good", "t-o-k-e-n:", "reader:bad"
LIMIT = 3
CREDENTIALS = {"X-Token": "t", "Cookie": "a=b; ticket=t"}
CLAIMS = {
    "Forwarded": "for=203.0.113.9",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Internal": "1",
    "X-Original-URI": "/public/",
    "X-Outside": "https://evil.test",
    "X-Real-IP": "203.0.113.9",
    "X-Remote-User": "root",
    "X-Script-Name": "/evil",
}


class Judge(Echo):
    """Knows the logins; remembers what it was asked."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012 - of all requests

    def judge(self) -> None:
        if self.path != "/check":
            self.answer()
            return
        address = self.headers["X-Original-URI"]
        self.asked.append({"method": self.command, **self.headers})
        names = ("Authorization", "X-Token")
        given = [self.headers[name] for name in names if name in self.headers]
        if "/barred/" in address:
            status = 403
        elif "/odd/" in address:
            status = 418
        else:
            status = 401 if given and given not in ([basic(GOOD)], [basic(TOKEN)]) else 204
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = judge  # noqa: N815 - named by http.server
    do_PUSH = do_HEAD = Echo.do_GET  # noqa: N815


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@dataclass
class Site:
    """A running site: where reading needs a login, and where it does not."""

    required: bool
    client: Client
    folder: Path


@contextmanager
def running(here: Path, certificates: Certificates, *, required: bool, limit: int = 0) -> Iterator[Site]:
    """A site with that limit of failed logins, until the end of the with statement."""
    (here / "files" / "files").mkdir(parents=True)
    for name in ("there.whl", ".hidden"):
        (here / "files" / "files" / name).write_text("from disk")
    (here / "files" / "files" / "out.whl").symlink_to(certificates.key)
    http_port, https_port = free_ports(2)
    declared = {
        "name": "index",
        "server_name": "index.pyindex.test",
        "http_port": http_port,
        "https_port": https_port,
        "certificate": str(certificates.certificate),
        "certificate_key": str(certificates.key),
        "max_body_mb": 1,
        "upstream": f"unix:{here / 'backend.sock'}",
        "login_check": {
            "uri": "/check",
            "required": required,
            "page": "/login",
            "headers": ["X-Token"],
            "cookies": ["ticket"],
        },
        "further_methods": ["PUSH"],
        "outside_url_header": "X-Outside",
        "dropped_headers": ["X-Internal"],
        "locations": [
            {"match": "/"},
            {"match": "/public/", "access": "public"},
            {"match": "/open/", "access": "open"},
            {"match": "/closed/", "access": "closed"},
            {"match": "~ ^/files/", "files": str(here / "files"), "immutable": True},
        ],
    }
    variables = {"nginx_failed_logins_per_minute": limit, "nginx_worker_processes": 1}
    front = Front(here, [declared], variables, release=debian_release())
    assert front.problems() == ""
    front.write()
    assert front.check() == ""
    with backend(here / "backend.sock", Judge), front.running():
        yield Site(required, Client(https_port, certificates.authority), here)


@pytest.fixture(scope="module", params=[True, False], ids=["login required", "open"])
def site(request: pytest.FixtureRequest, folder: Path, certificates: Certificates) -> Iterator[Site]:
    with running(folder / f"check-{request.param}", certificates, required=request.param) as site:
        yield site


@pytest.fixture(autouse=True)
def _asked() -> None:
    Judge.asked.clear()


@pytest.mark.parametrize(
    ("path", "with_login", "without", "without_required"),
    [
        ("/pages/x", 200, 200, 401),
        ("/files/there.whl", 200, 200, 401),
        ("/files/elsewhere.whl", 200, 200, 401),
        ("/open/", 200, 200, 200),
        ("/public/", 200, 200, 200),
        ("/login", 200, 200, 200),
        ("/closed/", 404, 404, 404),
        ("/pages/barred/x", 403, 200, 401),
        ("/files/barred/x.whl", 403, 403, 401),
    ],
)
def test_who_gets_what(path: str, with_login: int, without: int, without_required: int, site: Site) -> None:
    assert site.client.status("GET", path, GOOD) == with_login
    assert site.client.status("GET", path) == (without_required if site.required else without)
    # Wrong credentials are not looked at on public pages, and nobody's on open ones
    anyway = {"/open/": 200, "/public/": 200, "/login": 200, "/closed/": 404}
    refused = site.client.ask("GET", path, login=BAD)
    assert refused.status == anyway.get(path, 403 if "/barred/" in path else 401)
    assert refused.challenges == (1 if refused.status == 401 else 0)


def test_the_check_is_about_the_address_that_is_served(site: Site) -> None:
    headers = {**CLAIMS, "Accept": "text/html", "User-Agent": "x", "Content-Type": "text/plain"}
    seen = site.client.ask("POST", "/pages/%7ex%2B?a=%2F..%2F", login=GOOD, headers=headers, body=b"body").seen()
    assert (seen["path"], seen["body"]) == ("/pages/%7ex%2B?a=%2F..%2F", 4)
    (asked,) = Judge.asked
    assert asked["X-Original-URI"] == seen["path"]
    assert asked["method"] == "GET"
    assert asked["Authorization"] == seen["headers"]["Authorization"] == basic(GOOD)
    assert not {"Accept", "User-Agent", "Content-Length"} & set(asked)


def test_no_claim_reaches_the_backend(site: Site) -> None:
    for path in ("/pages/", "/open/", "/public/", "/login", "/files/elsewhere"):
        seen = site.client.ask("GET", path, login=GOOD, headers=CLAIMS).seen()["headers"]
        name = f"index.pyindex.test:{site.client.port}"
        assert seen["Host"] == seen["X-Forwarded-Host"] == name
        assert seen["X-Outside"] == f"https://{name}"
        assert seen["X-Forwarded-For"] == seen["X-Real-IP"] == site.client.address
        assert seen["X-Forwarded-Proto"] == "https"
        dropped = {
            "Forwarded",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Internal",
            "X-Original-URI",
            "X-Remote-User",
        }
        assert not (dropped | {"X-Script-Name"}) & set(seen)


def test_credentials_go_where_they_are_looked_at(site: Site) -> None:
    for path in ("/public/", "/login"):
        seen = site.client.ask("GET", path, login=GOOD, headers=CREDENTIALS).seen()["headers"]
        assert not {"Authorization", "X-Token", "Cookie"} & set(seen)
    assert Judge.asked == []
    # Wrong ones are not passed on
    seen = site.client.ask("GET", "/open/", login=BAD, headers=CREDENTIALS).seen()["headers"]
    assert not {"Authorization", "X-Token", "Cookie"} & set(seen)
    seen = site.client.ask("GET", "/open/", login=GOOD, headers={"Cookie": "ticket=t"}).seen()["headers"]
    assert seen["Cookie"] == "ticket=t"
    assert site.client.ask("GET", "/pages/", headers={"X-Token": "t"}).status == 401


def test_a_token_may_be_the_name(site: Site) -> None:
    """Without a password, as devpi-tokens takes it: the backend is asked."""
    assert site.client.status("GET", "/pages/", TOKEN) == 200
    assert [asked["Authorization"] for asked in Judge.asked] == [basic(TOKEN)]


def test_a_name_without_a_password_is_no_failed_login(folder: Path, certificates: Certificates) -> None:
    """Only where nothing else in the request can be one."""
    with running(folder / "check-limit", certificates, required=True, limit=LIMIT) as site:
        client = site.client
        assert {client.status("GET", "/pages/", "reader:") for _unused in range(2 * LIMIT)} == {401}
        assert client.status("GET", "/pages/", GOOD) == 200
        guesses = [
            {"Authorization": basic("reader:"), "X-Token": "guess"},
            # Not all decoders end at the padding
            {"Authorization": basic("reader:") + basic("guess").partition(" ")[2]},
            {"Authorization": "Basic cmVhZGVyOg=Z3Vlc3M="},
        ]
        assert [client.ask("GET", "/pages/", headers=guess).status for guess in guesses] == [401] * LIMIT
        assert client.status("GET", "/pages/", GOOD) == 429


def test_nobody_is_asked_about_nobody(site: Site) -> None:
    """Who has no credentials costs the backend nothing; only about a file does it have to say something."""
    for path in ("/pages/", "/open/", "/public/", "/closed/"):
        site.client.ask("GET", path, headers={"Cookie": "a=b"})
    assert Judge.asked == []
    site.client.ask("GET", "/files/there.whl")
    assert len(Judge.asked) == (0 if site.required else 1)


def test_files(site: Site) -> None:
    answer = site.client.ask("GET", "/files/there.whl", login=GOOD)
    assert (answer.body, answer.headers["content-type"]) == (b"from disk", "application/zip")
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    # The backend changes files, and knows more of them
    for method, accept in (("POST", "*/*"), ("PUSH", "*/*"), ("GET", "application/json")):
        seen = site.client.ask(method, "/files/there.whl", login=GOOD, headers={"Accept": accept})
        assert seen.seen()["path"] == "/files/there.whl"
        assert "cache-control" not in seen.headers
    assert site.client.status("GET", "/files/.hidden", GOOD) == 404
    assert site.client.status("GET", "/files/out.whl", GOOD) != 200 or b"PRIVATE KEY" not in (
        site.client.ask("GET", "/files/out.whl", login=GOOD).body
    )


@pytest.mark.parametrize(
    "headers", [{"Accept": "text/html"}, {"Accept": "text/html,*/*;q=0.8", "User-Agent": "Mozilla"}]
)
def test_people_see_the_login_page(headers: dict[str, str], site: Site) -> None:
    led = site.client.ask("GET", "/pages/%61+b/", login=BAD, headers=headers)
    if site.required:
        assert (led.status, led.headers["location"], led.challenges) == (302, "/login?next=/pages/a%2Bb/", 0)
    else:
        assert (led.status, led.challenges) == (401, 1)
    assert site.client.ask("POST", "/pages/", login=BAD, headers=headers).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "//pages/", "/pages//x", "/pages/./x", "/pages/../closed/", "/pages/%2e%2e/closed/", "/pages/%2E./x",
        "/pages/..%2fclosed/", "/pages%2fx", "/pages%2Fx", "/pages%5cx", "/pages\\x", "/pages/\\x", "/pages/%00",
        "/pages/%0d%0a", "/pages/%1f", "/pages/%7f", "/pages#/../closed/", "/.pyindex-login-check", "/%2epyindex-login-check",
    ],
)  # fmt: skip
def test_addresses_that_can_be_read_in_two_ways(path: str, site: Site) -> None:
    assert site.client.status("GET", path, GOOD) in (400, 404)
    assert Judge.asked == []


@pytest.mark.parametrize(
    "path", ["/pages/ä", "/pages/ß/漢字", "/pages/😀.html", "/pages/a b+c%", "/pages/~(x)!$&',;=:@"]
)
def test_names_in_all_languages(path: str, site: Site) -> None:
    address = quote(path, safe="/~()!$&',;=:@+")
    assert site.client.ask("GET", address, login=GOOD).seen()["path"] == address


@pytest.mark.parametrize(
    "octets",
    ["%ff", "%c3", "%c0%ae", "%c1%bf", "%e0%80%af", "%ed%a0%80", "%f0%80%80%af", "%f4%90%80%80", "%80", "%e6%bc"],
)
def test_what_is_no_text_is_no_address(octets: str, site: Site) -> None:
    for address in (f"/pages/{octets}", f"/pages/{octets}x/y", f"/pages/%c3%a4{octets}"):
        assert site.client.status("GET", address, GOOD) == 404


@pytest.mark.parametrize("piece", ["x", "%20", "%c3%a4", "x/", "%f0%9f%98%80/"])
def test_long_addresses(piece: str, site: Site) -> None:
    """As long as nginx takes them at all."""
    for length in (1000, 1500, 7000):
        address = "/pages/" + piece * (length // len(piece))
        assert site.client.ask("GET", address, login=GOOD).seen()["path"] == address
        assert site.client.status("GET", f"{address}%ff", GOOD) == 404
    assert "[alert]" not in (site.folder / "error.log").read_text()


def test_methods(site: Site) -> None:
    assert site.client.status("PUSH", "/pages/", GOOD) == 200
    refused = site.client.ask("OPTIONS", "/pages/", login=GOOD)
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, POST, PUT, PATCH, DELETE, PUSH")


def test_an_odd_answer_is_no_permission(site: Site) -> None:
    for path in ("/pages/odd/", "/files/odd/there.whl"):
        assert site.client.status("GET", path, GOOD) == 503


def test_without_the_backend_nothing_is_served(folder: Path, site: Site) -> None:
    socket = site.folder / "backend.sock"
    socket.rename(folder / "away.sock")
    try:
        assert site.client.status("GET", "/files/there.whl", GOOD) == 503
        assert site.client.status("GET", "/pages/", GOOD) == 503
        assert site.client.status("GET", "/files/there.whl") == (401 if site.required else 503)
    finally:
        (folder / "away.sock").rename(socket)
