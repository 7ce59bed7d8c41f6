"""nginx runs before a real devpi-server: who may do what, where reading needs a login and where it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.devpi_index import BODY_MB, LIMIT, NAME, Index, file_path, login
from tests.unit.nginx.devpi_service import PASSWORDS, documentation, form, release_fields, token, wheel
from tests.unit.nginx.front import Answer

USERS = ("", "reader", "other", "owner", "root")
NOT_OWNER = ("", "reader", "other", "root")
NOT_ROOT = ("", "reader", "other", "owner")
PIP = {"User-Agent": 'pip/23.0 {"ci":null}', "Accept": "application/vnd.pypi.simple.v1+json, text/html; q=0.01"}
OLD_PIP = {"User-Agent": "pip/21.3.1 {}", "Accept": "text/html"}
UV = {"User-Agent": 'uv/0.9 {"ci":null}', "Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.01"}
DEVPI_CLIENT = {"User-Agent": "devpi-client/7.3.0 (py3.11)", "Accept": "application/json"}
CURL = {"User-Agent": "curl/8.0", "Accept": "*/*"}
TWINE = {"User-Agent": "twine/6.0 requests/2.32", "Accept": "*/*"}
BROWSER = {"User-Agent": "Mozilla/5.0 Firefox/140.0", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROGRAMS = {"pip": PIP, "old pip": OLD_PIP, "uv": UV, "devpi": DEVPI_CLIENT, "curl": CURL, "twine": TWINE}
# Pages of the index owner/dev that everybody with the right to read sees
PAGES = (
    "/", "/+status", "/owner", "/owner/dev", "/owner/dev/+api", "/owner/dev/+simple/", "/owner/dev/+simple/example/",
    "/owner/dev/example", "/owner/dev/example/1.0", "/owner/dev/example/1.0/+doc/index.html",
    "/owner/dev/example/1.0/+d/index.html", "/root/mirror?no_projects=", "/+searchhelp",
)  # fmt: skip


@pytest.fixture(params=["locked", "opened"])
def index(request: pytest.FixtureRequest) -> Index:
    """First where reading needs a login, then where it does not."""
    found: Index = request.getfixturevalue(request.param)
    return found


def by_user(index: Index, path: str) -> list[int]:
    return [index.client().ask("GET", path, headers={**CURL, **index.token(user)}).status for user in USERS]


@pytest.mark.parametrize("path", PAGES)
def test_who_may_read_pages(path: str, locked: Index, opened: Index) -> None:
    assert by_user(locked, path) == [401, 200, 200, 200, 200]
    assert by_user(opened, path) == [200, 200, 200, 200, 200]


@pytest.mark.parametrize("name", ["dev", "stable", "mirrored", "toxresult", "secret"])
def test_who_may_read_files(name: str, locked: Index, opened: Index) -> None:
    """devpi's own read rights hold for files that nginx serves from disk: `secret` is the owner's and root's."""
    anybody = 403 if name == "secret" else 200
    # The mirror's file is fetched by the first who asks, and is from disk then
    for _unused in range(2):
        assert by_user(locked, locked.paths[name]) == [401, anybody, anybody, 200, 200]
        assert by_user(opened, opened.paths[name]) == [anybody, anybody, anybody, 200, 200]


def test_files_are_from_disk(index: Index) -> None:
    client = index.client()
    path = index.paths["dev"]
    answer = client.ask("GET", path, login=login("reader"))
    # nginx's own: devpi has no ETag
    assert answer.headers["etag"]
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.body == (index.devpi.server_dir / "+files" / path[1:]).read_bytes()
    # Who asks about the file, and who asks for what is not on disk, is answered by devpi
    about = client.ask("GET", path, login=login("reader"), headers=DEVPI_CLIENT)
    assert json.loads(about.body)["type"] == "releasefilemeta"
    assert client.status("GET", f"{path}.metadata", login("reader")) == 404
    assert client.status("HEAD", path, login("reader")) == 200
    part = client.ask("GET", path, login=login("reader"), headers={"Range": "bytes=0-3"})
    assert (part.status, part.body) == (206, b"PK\x03\x04")


def test_no_half_written_file_is_served(index: Index) -> None:
    written = index.devpi.server_dir / "+files" / (index.paths["dev"][1:] + "-0123abcd-tmp")
    written.write_bytes(b"half")
    for path in (index.paths["dev"] + "-0123abcd-tmp", index.paths["dev"].rsplit("/", 1)[0] + "/"):
        assert index.client().status("GET", path, login("owner")) in (302, 404)


def test_no_refusal_is_kept_by_clients(locked: Index) -> None:
    assert "cache-control" not in locked.client().ask("GET", locked.paths["dev"]).headers
    assert "cache-control" not in locked.client().ask("GET", locked.paths["secret"], login=login("reader")).headers


def upload(index: Index, target: str, user: str, name: str, content: bytes, action: str = "file_upload") -> int:
    """Upload as twine does, and return the status."""
    body, kind = form(release_fields(name.split("-", maxsplit=1)[0], name.split("-")[1], action), name, content)
    headers = {**TWINE, **index.token(user), "Content-Type": kind}
    return index.client().ask("POST", f"/{target}/", body=body, headers=headers).status


def change(index: Index, method: str, path: str, user: str, document: object = None) -> int:
    """Send what devpi's client sends, and return the status."""
    headers = {**DEVPI_CLIENT, **index.token(user), "Content-Type": "application/json"}
    return index.client().ask(method, path, body=json.dumps(document).encode(), headers=headers).status


def test_who_may_upload(index: Index) -> None:
    """devpi decides, and wants a login, also where reading is open."""
    name, content = wheel("written", "1.0")
    other_content = wheel("written", "1.0", padding=10)[1]
    for target, overwritten in (("owner/dev", 200), ("owner/stable", 409)):
        assert [upload(index, target, user, name, content) for user in NOT_OWNER] == [401, 403, 403, 403]
        assert upload(index, target, "owner", name, content) == 200
        assert [upload(index, target, user, name, other_content) for user in NOT_OWNER] == [401, 403, 403, 403]
        assert upload(index, target, "owner", name, other_content) == overwritten


def test_who_may_remove(index: Index) -> None:
    nobody = 401 if index.needs_login else 403
    name, content = wheel("removed", "1.0")
    paths = {}
    for target in ("owner/dev", "owner/stable"):
        assert upload(index, target, "owner", name, content) == 200
        paths[target] = file_path(index.devpi, target, "removed")
        assert index.client().ask("GET", paths[target], headers=index.token("reader")).status == 200
        for user, status in {"": nobody, "reader": 403, "other": 403}.items():
            assert change(index, "DELETE", f"/{target}/removed/1.0", user) == status
            assert change(index, "DELETE", paths[target], user) == status
    assert change(index, "DELETE", "/owner/stable/removed/1.0", "owner") == 403
    assert change(index, "DELETE", "/owner/dev/removed/1.0", "owner") == 200
    # The file is gone from disk as well
    assert index.client().ask("GET", paths["owner/dev"], headers=index.token("owner")).status in (404, 410)
    assert index.client().ask("GET", paths["owner/stable"], headers=index.token("owner")).status == 200


def test_who_may_make_indexes_and_users(index: Index) -> None:
    nobody = 401 if index.needs_login else 403
    refused = [nobody, 403, 403, 403]
    new = {"type": "stage", "bases": []}
    for method, path, document, status in (
        ("PUT", "/owner/more", new, 200),
        ("PATCH", "/owner/more", ["volatile=True"], 200),
        ("DELETE", "/owner/more", None, 201),
        ("PUT", "/somebody", {"password": "x"}, 201),
    ):
        assert [change(index, method, path, user, document) for user in NOT_ROOT] == refused
        assert change(index, method, path, "root", document) == status


def test_who_may_promote(index: Index) -> None:
    """As devpi's client does it, by a method of its own; devpi refuses by 401 who is known and may not."""
    name, content = wheel("pushed", "1.0")
    assert upload(index, "owner/dev", "owner", name, content) == 200
    push = {"name": "pushed", "version": "1.0", "targetindex": "owner/stable"}
    for user, status in {"": 401, "reader": 401, "owner": 200}.items():
        assert change(index, "PUSH", "/owner/dev", user, push) == status


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "CONNECT", "push"])
def test_other_methods(method: str, index: Index) -> None:
    answer = index.client().ask(method, "/owner/dev", login=login("root"))
    assert answer.status in ({400, 405} if method == "push" else {405})
    if answer.status == 405 and method not in ("TRACE", "CONNECT"):
        assert answer.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, PUSH"


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_asked_for_a_password(program: str, locked: Index) -> None:
    for path in ("/owner/dev/+simple/example/", locked.paths["dev"], "/owner/dev"):
        for method in ("GET", "HEAD", "POST"):
            answer = locked.client().ask(method, path, headers=PROGRAMS[program])
            assert (answer.status, answer.challenges) == (401, 1)
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert "location" not in answer.headers
            # Wrong credentials and none are the same to a program
            assert locked.client().ask(method, path, login="reader:x", headers=PROGRAMS[program]).status == 401


def test_people_are_led_to_the_login_page_and_back(locked: Index) -> None:
    client = locked.client()
    for path in (
        "/",
        "/owner/dev/+simple/example/",
        "/+status",
        "/+searchhelp",
        "/owner/dev/example/1.0/+d/index.html",
    ):
        led = client.ask("GET", path, headers=BROWSER)
        assert (led.status, led.challenges) == (302, 0)
        page = client.ask("GET", led.headers["location"], headers=BROWSER)
        assert page.status == 200
        assert b'type="password"' in page.body
        body = urllib.parse.urlencode({"username": "reader", "password": PASSWORDS["reader"], "submit": ""}).encode()
        headers = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
        back = client.ask("POST", led.headers["location"], body=body, headers=headers)
        assert (back.status, back.headers["location"]) == (302, f"https://{NAME}:{locked.port}{path}")
        cookie = back.headers["set-cookie"]
        assert {"secure", "httponly", "samesite=lax"} <= set(re.split("; *", cookie.lower()))
        seen = client.ask("GET", path, headers={**BROWSER, "Cookie": cookie.split(";")[0]})
        assert seen.status == 200
    # A browser's upload is no page that it could be led away from
    assert client.ask("POST", "/owner/dev/", headers=BROWSER, body=b"").status == 401


def test_the_login_page_leads_to_no_other_site(locked: Index) -> None:
    body = urllib.parse.urlencode({"username": "reader", "password": PASSWORDS["reader"], "submit": ""}).encode()
    headers = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
    for target in ("https://evil.test/", "//evil.test/", "/\\evil.test", "https:evil.test"):
        path = f"/+login?goto_url={urllib.parse.quote(target, safe='')}"
        led = locked.client().ask("POST", path, body=body, headers=headers)
        assert led.status == 302
        assert urllib.parse.urlsplit(led.headers["location"]).netloc == f"{NAME}:{locked.port}"


def test_a_token_is_a_login(index: Index) -> None:
    client = index.client()
    headers = {**DEVPI_CLIENT, "X-Devpi-Auth": token(client, "owner")}
    for path in ("/+api", "/owner/dev/+api", "/owner/dev", index.paths["secret"]):
        answer = client.ask("GET", path, headers=headers)
        assert answer.status == 200
    said = json.loads(client.ask("GET", "/+api", headers=headers).body)["result"]
    assert said["authstatus"] == ["ok", "owner", []]
    assert said["login"] == f"https://{NAME}:{index.port}/+login"


def test_what_is_public_where_reading_needs_a_login(locked: Index) -> None:
    client = locked.client()
    said = json.loads(client.ask("GET", "/+api", headers=DEVPI_CLIENT).body)["result"]
    assert set(said) == {"authstatus", "features", "login"}
    assert said["authstatus"] == ["noauth", "", []]
    static = client.ask("GET", "/+login", headers=BROWSER).body.decode().split("/+static-")[1].split("/")[0]
    style = client.ask("GET", f"/+static-{static}/style.css")
    assert (style.status, style.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert client.ask("GET", "/+logout", headers=BROWSER).status == 200


def test_failed_logins_are_limited(index: Index) -> None:
    """Whatever the credentials travel in, and wherever they are looked at."""
    cookie = {"Cookie": "auth_tkt=reader%3Awrong"}
    page = urllib.parse.urlencode({"username": "reader", "password": "x", "submit": ""}).encode()
    document = json.dumps({"user": "reader", "password": "x"}).encode()
    kinds = {"Content-Type": "application/x-www-form-urlencoded"}, {**DEVPI_CLIENT, "Content-Type": "application/json"}
    locked = index.needs_login
    ways: dict[str, tuple[str, str, dict[str, Any]]] = {
        "page": ("GET", "/owner/dev", {"login": "reader:x"}),
        "file": ("GET", index.paths["dev"], {"login": "reader:x"}),
        "file that not all may read": ("GET", index.paths["secret"], {"login": "owner:x"}),
        "page that not all may read": ("GET", "/owner/secret/+simple/example/", {"login": "owner:x"}),
        "upload": ("POST", "/owner/dev/", {"login": "reader:x", "body": b""}),
        "said to be nobody": ("GET", "/+api", {"login": "reader:x"}),
        "token": ("GET", "/owner/dev", {"headers": {**CURL, "X-Devpi-Auth": "cmVhZGVyOng="}}),
        "token, said to be nobody": ("GET", "/+api", {"headers": {**CURL, "X-Devpi-Auth": "cmVhZGVyOng="}}),
        "document": ("POST", "/+login", {"body": document, "headers": kinds[1]}),
    }
    if locked:
        ways["cookie"] = ("GET", "/owner/dev", {"headers": {**CURL, **cookie}})
        ways["cookie, file that not all may read"] = ("GET", index.paths["secret"], {"headers": {**CURL, **cookie}})
        ways["cookie of a person"] = ("GET", "/owner/dev", {"headers": {**BROWSER, **cookie}})
        ways["cookie, said to be nobody"] = ("GET", "/+api", {"headers": {**CURL, **cookie}})
        ways["form"] = ("POST", "/+login", {"body": page, "headers": kinds[0]})
        ways["form, another method"] = ("PUT", "/+login", {"body": page, "headers": kinds[0]})
    for name, (method, path, request) in ways.items():
        client = index.client()
        statuses = [client.ask(method, path, **request).status for _unused in range(LIMIT + 1)]
        assert statuses[-1] == 429, (name, statuses)
        assert 429 not in statuses[:-1], (name, statuses)
        # From there on, everything with credentials, be they right
        for asked in ("/owner/dev", index.paths["dev"], "/+api"):
            refused = client.ask("GET", asked, login=login("reader"))
            assert refused.status == 429, name
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert client.ask("POST", "/+login", body=document, headers=kinds[1]).status == 429
        # ... and nothing without
        assert client.status("GET", "/+api") == 200
        assert client.status("GET", "/owner/dev") == (401 if locked else 200)


def test_attempts_at_the_same_time_are_limited(index: Index) -> None:
    """In whatever a password travels: no more of them are looked at than of those that come one after the other."""
    document = json.dumps({"user": "reader", "password": "x"}).encode()
    headers = {**DEVPI_CLIENT, "Content-Type": "application/json"}
    for path, request in (("/+login", {"body": document, "headers": headers}), ("/owner/dev", {"login": "reader:x"})):
        client = index.client()
        method = "POST" if "body" in request else "GET"
        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda _number: client.ask(method, path, **request).status, range(40)))  # noqa: B023 - used at once
        assert 1 <= statuses.count(401) <= LIMIT, statuses
        assert set(statuses) <= {401, 429}


def test_an_attempt_that_nginx_could_not_pass_on_is_over(index: Index) -> None:
    """There is no place left behind in which the next one would wait."""
    bodies = index.front.folder / "client_body"
    aside = bodies.rename(index.front.folder / "client_body.aside")
    bodies.touch()
    client = index.client()
    try:
        for _unused in range(LIMIT):
            assert client.ask("POST", "/+login", headers=DEVPI_CLIENT, body=bytes(1024 * 1024)).status == 503
    finally:
        bodies.unlink()
        aside.rename(bodies)
    document = json.dumps({"user": "reader", "password": PASSWORDS["reader"]}).encode()
    headers = {**DEVPI_CLIENT, "Content-Type": "application/json"}
    assert client.ask("POST", "/+login", headers=headers, body=document).status == 200


def test_right_logins_and_none_are_not_counted(index: Index) -> None:
    client = index.client()
    right = {**DEVPI_CLIENT, **index.token("reader"), "Content-Type": "application/json"}
    push = json.dumps({"name": "example", "version": "1.0", "targetindex": "owner/stable"}).encode()
    for _unused in range(LIMIT + 1):
        assert client.ask("GET", "/owner/dev", headers=right).status == 200
        assert client.ask("GET", index.paths["secret"], headers={**CURL, **index.token("reader")}).status == 403
        assert client.ask("PUSH", "/owner/dev", headers=right, body=push).status == 401
        assert client.ask("POST", "/owner/dev/", headers=TWINE, body=b"").status in (400, 401)
        assert client.ask("GET", "/owner/dev", headers={**CURL, "Cookie": "other=1"}).status in (200, 401)
    assert client.ask("GET", "/owner/dev", headers=right).status == 200


def test_wrong_credentials_are_no_credentials(opened: Index) -> None:
    """devpi would take the client for anonymous, and say nothing."""
    assert opened.client().status("GET", "/owner/dev", "reader:x") == 401
    assert opened.client().ask("GET", "/owner/dev", login="reader:x", headers=BROWSER).status == 401


def test_the_outside_url(index: Index) -> None:
    claims = {
        "X-Outside-Url": "https://evil.test",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil",
        "X-Script-Name": "/evil",
        "Forwarded": "host=evil.test;proto=http",
        "X-Original-URI": "/+login",
    }
    for port in (index.port, 8443):
        host = f"{NAME}:{port}"
        answer = index.client().ask("GET", "/+api", host=host, headers={**DEVPI_CLIENT, **claims})
        assert json.loads(answer.body)["result"]["login"] == f"https://{host}/+login"
    page = index.client().ask("GET", "/owner/dev", login=login("reader"), headers={**BROWSER, **claims})
    assert f"https://{NAME}:{index.port}/".encode() in page.body
    assert b"evil" not in page.body
    assert b"http://" not in page.body.replace(b"http://www.w3.org", b"")


def test_body_size(index: Index) -> None:
    name, content = wheel("large", "1.0", padding=1024 * 1024)
    assert upload(index, "owner/dev", "owner", name, content) == 200
    for user in ("", "owner"):
        assert upload(index, "owner/dev", user, name, bytes((BODY_MB + 1) * 1024 * 1024)) == 413


def read(index: Index, path: str) -> Answer:
    return index.client().ask("GET", path, headers=index.token("reader"))


def test_documentation_is_always_the_newest(index: Index) -> None:
    page_path = "/owner/dev/example/1.0/+doc/index.html"
    for text in ("first", "second"):
        assert upload(index, "owner/dev", "owner", "example-1.0-doc.zip", documentation(text), "doc_upload") == 200
        page = read(index, page_path)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=UTF-8")
        assert text.encode() in page.body
        # nginx has sent it: devpi has another ETag
        assert re.fullmatch('"[0-9a-f]+-[0-9a-f]+"', page.headers["etag"])
        assert page.headers["cache-control"] == "max-age=60"
        assert "x-accel-redirect" not in page.headers
        headers = {**index.token("reader"), "If-None-Match": page.headers["etag"]}
        assert index.client().ask("GET", page_path, headers=headers).status == 304
    for path, status in {"deep/page.html": 200, "%C3%A4%20%25.html": 200, "none.html": 404, "": 302}.items():
        assert read(index, f"/owner/dev/example/1.0/+doc/{path}").status == status


def test_documentation_of_a_removed_index_is_gone(index: Index) -> None:
    index.devpi.do("PUT", "/owner/short", "root", {"acl_upload": ["owner"]})
    assert upload(index, "owner/short", "owner", "gone-1.0-doc.zip", documentation("gone"), "doc_upload") == 200
    path = "/owner/short/gone/1.0/+doc/index.html"
    assert read(index, path).status == 200
    index.devpi.do("DELETE", "/owner/short", "root", {})
    assert read(index, path).status == 404


def programs(index: Index, user: str) -> tuple[str, dict[str, str]]:
    """Return the index's URL with the user's login, and an environment for clients."""
    who = f"{user}:{PASSWORDS[user]}@" if user else ""
    certificates = str(index.authority)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "PIP_CERT": certificates,
        "SSL_CERT_FILE": certificates,
    }
    return f"https://{who}{NAME}:{index.port}/owner/dev/+simple/", environment


def test_real_pip(index: Index, tmp_path: Path) -> None:
    download = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", "download"]
    for user, allowed in (("", not index.needs_login), ("reader", True)):
        url, environment = programs(index, user)
        for name in ("example", "mirrored"):
            options = [
                "--no-cache-dir",
                "--retries",
                "0",
                "--cert",
                str(index.authority),
                "--index-url",
                url,
                "--dest",
                str(tmp_path / user),
            ]
            done = subprocess.run(
                [*download, *options, name], env=environment, check=False, capture_output=True, text=True
            )
            assert (done.returncode == 0) is allowed, done.stdout + done.stderr


def test_real_uv(index: Index, tmp_path: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    for user, allowed in (("", not index.needs_login), ("reader", True)):
        url, environment = programs(index, user)
        command = [
            uv,
            "pip",
            "install",
            "--no-config",
            "--no-cache",
            "--index-url",
            url,
            "--target",
            str(tmp_path / f"t{user}"),
        ]
        done = subprocess.run(
            [*command, "example", "mirrored"], env=environment, check=False, capture_output=True, text=True
        )
        assert (done.returncode == 0) is allowed, done.stdout + done.stderr


def test_everybody_at_once(index: Index) -> None:
    """No answer of one client is another's."""
    logins = {user: index.token(user) for user in USERS}

    def said(user: str) -> str:
        answer = index.client().ask("GET", "/+api", headers={**DEVPI_CLIENT, **logins[user]})
        name: str = json.loads(answer.body)["result"]["authstatus"][1]
        return name

    work = [user for user in USERS for _unused in range(12)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(said, work)) == work
