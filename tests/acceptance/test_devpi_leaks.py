"""What a devpi server shows without a login: nothing, where reading needs one; and what it shows to nobody."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import pytest

from .devpi import BROWSER, DEVPI_CLIENT, JSON, PIP, documentation, file_path
from .distributions import PREFIX, wheel
from .indexes import Devpi
from .kinds import DEVPI, LOCKED
from .logins import local_address
from .shelf import publisher
from .spellings import spellings
from .web import Answer, Request, ask, form

# What must not be in an answer, whatever was asked: the server's insides
INSIDES = ("serverdir", "server-code", "pwhash", "argon2", "$2b$")
ASKING = {"none": (), "pip": PIP, "browser": BROWSER, "json": JSON, "devpi": DEVPI_CLIENT}


@dataclass(frozen=True)
class Treasure:
    """Something of each kind that a devpi server holds, and words by which it is recognised."""

    name: str
    file: str
    address: str
    toxresult: str
    wheel: bytes
    words: tuple[str, ...]

    def paths(self, index: Devpi) -> list[str]:
        """Every address at which devpi-server and its plugins would answer with some of it, or of the server."""
        stage, name, file = index.target.name, self.name, self.file
        user, mirror = index.target.owner, index.mirror or stage
        paths = [self.address, f"{self.address}.metadata", f"{self.address}.asc", self.toxresult]
        paths += [self.address.replace("/+f/", "/+e/")]
        paths += [f"/{stage}/{name}/1.0/{page}/{rest}" for page in ("+doc", "+d") for rest in ("index.html", "")]
        paths += [f"/{stage}/{name}/latest/+doc/index.html", f"/{stage}/{name}/stable/+d/index.html"]
        paths += [f"/{stage}/{name}/1.0/+toxresults/{file}"]
        paths += [f"/{stage}/{name}/1.0/+toxresults/{file}/{self.toxresult.rpartition('/')[2]}"]
        paths += ["/+status", "/+changelog/0", "/+changelog/0-", "/+changelog/1", "/+changelog", "/+authcheck"]
        paths += [f"/+search?query={name}", "/+searchhelp", "/+refresh", "/+tokens", f"/{user}/+tokens"]
        paths += [f"/{stage}/+api", f"/{user}/+api", f"/{mirror}/+api", "/", f"/{user}", f"/{user}/", "/root", "/root/"]
        paths += [f"/{stage}", f"/{stage}/", f"/{stage}?no_projects=", f"/{mirror}", f"/{mirror}/+simple/"]
        paths += [f"/{stage}/+simple", f"/{stage}/+simple/", f"/{stage}/+simple/{name}", f"/{stage}/+simple/{name}/"]
        paths += [f"/{stage}/+simple/{name}/refresh", f"/{stage}/{name}/refresh"]
        paths += [f"/{stage}/{name}", f"/{stage}/{name}/", f"/{stage}/{name}/1.0", f"/{stage}/{name}/1.0/"]
        return paths

    def shown(self, answer: Answer, request: Request) -> str:
        """What of it an answer gives away; '' = nothing. An answer may repeat what it was asked for."""
        text = answer.text.replace("-", "_").casefold()
        asked = (request.target + "".join(value for _name, value in request.headers)).replace("-", "_").casefold()
        found = [word for word in (*self.words, *INSIDES) if word.replace("-", "_").casefold() in text]
        found = [word for word in found if word.replace("-", "_").casefold() not in asked]
        return ", ".join([*found, *(["the wheel"] if self.wheel[:64] in answer.body else [])])


@pytest.fixture(scope="session")
def treasures() -> dict[str, Treasure]:
    return {}


@pytest.fixture
def treasure(index: Devpi, run_id: str, treasures: dict[str, Treasure]) -> Treasure:
    """A release with a wheel, documentation and a test result, on the index that clients upload to."""
    if index.machine.name in treasures:
        return treasures[index.machine.name]
    name, secret = f"{PREFIX}-{run_id}-treasure", f"secret{run_id}"
    user = publisher(index)
    file, content = wheel(name, "1.0", value=secret)
    address = file_path(index.target.name, file, content)
    result = {"toxversion": "4", "platform": "linux", "host": "h", "testenvs": {"py3": {"test": [], "setup": []}}}
    result["testenvs"]["py3"]["test"] = [{"command": ["x"], "retcode": "0", "output": f"tox{secret}"}]  # type: ignore[index]
    docs = form({":action": "doc_upload", "name": name, "version": "1.0"}, f"{name}-1.0.doc.zip", documentation(secret))
    uploads = [
        index.post(index.target.name, user, file, content, summary=f"summary{secret}"),
        Request(index.upload_path, "POST", user, docs.body, docs.headers),
        Request(address, "POST", user, json.dumps(result).encode(), (*JSON, ("Content-Type", "application/json"))),
    ]
    answers = ask(index.vantages[0], index, uploads)
    assert [answer.status for answer in answers] == [200] * 3, [str(answer) for answer in answers]
    toxresult = "/" + json.loads(answers[2].text)["result"].lstrip("/").partition("#")[0]
    words = (secret, name, name.replace("-", "."))
    treasures[index.machine.name] = Treasure(name, file, address, toxresult, content, words)
    return treasures[index.machine.name]


@DEVPI
def test_a_reader_finds_it(index: Devpi, treasure: Treasure) -> None:
    """What the other tests look for in vain is there for those who may read."""
    stage, user = index.target.name, publisher(index)
    targets = [treasure.address, f"/{stage}/+simple/{treasure.name}/", f"/{stage}/{treasure.name}", treasure.toxresult]
    for target, answer in zip(
        targets, ask(index.vantages[0], index, [Request(t, user=user, headers=JSON) for t in targets]), strict=True
    ):
        assert answer.status == 200, f"{target}: {answer}"
        assert treasure.shown(answer, Request("")), target


@LOCKED
@pytest.mark.parametrize("asking", ASKING)
def test_nothing_without_a_login(index: Devpi, treasure: Treasure, asking: str) -> None:
    """Every address of devpi, asked for by every kind of program: no answer has any of it, and a file is a 401 to
    installers."""
    methods = ("GET", "HEAD", "POST", "OPTIONS") if asking == "json" else ("GET",)
    requests = [Request(path, method, headers=ASKING[asking]) for path in treasure.paths(index) for method in methods]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests, parallel=4), strict=True):
        assert not treasure.shown(answer, request), f"{request}: {answer}"
        allowed = {301, 302, 303, 307, 308, 401, 403, 404, 405}
        assert answer.status in allowed, f"{request}: {answer}"
        if asking in {"none", "pip"} and request.target == treasure.address:
            assert answer.status == 401, f"{request}: {answer}"
            assert answer.headers["www-authenticate"].lower().startswith("basic ")


@LOCKED
def test_no_spelling_shows_it(index: Devpi, treasure: Treasure) -> None:
    """Nor does any other way to write an address."""
    words = ("+f", ".metadata", "+doc", "+d/", "+toxresults", "+status", "+changelog/0", "+search", "+simple", "+api")
    paths = [path for path in treasure.paths(index) if any(word in path for word in words)]
    requests = [Request(spelling, headers=JSON) for path in paths for spelling in spellings(index, path[1:])]
    plus = [path for path in paths if "+" in path]
    requests += [Request(path.replace("+", code), headers=JSON) for path in plus for code in ("%2b", "%2B", "%252b")]
    requests += [Request(path.replace("+", "/+", 1).replace("//", "//x/../"), headers=JSON) for path in plus]
    requests += [Request("/+static/.." + path, headers=JSON) for path in paths]
    requests += [Request("/+login/.." + path, headers=JSON) for path in paths]
    requests += [Request("/+api/.." + path, headers=JSON) for path in paths]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests, parallel=8), strict=True):
        assert not treasure.shown(answer, request), f"{request}: {answer}"


@LOCKED
def test_no_claim_shows_it(index: Devpi, treasure: Treasure) -> None:
    """Nor any header: who one claims to be, where one claims to come from, what one claims to have asked for."""
    owner = index.target.owner
    token = base64.b64encode(f"{owner}:".encode()).decode()
    claims = [
        ("X-Devpi-Auth", token),
        ("X-Devpi-Auth", base64.b64encode(b"root:").decode()),
        ("Cookie", "auth_tkt=root%3A"),
        ("Cookie", f"auth_tkt={owner}:x"),
        ("Authorization", f"Bearer {token}"),
        ("Authorization", "Basic !!!"),
        ("X-Original-URI", "/+login"),
        ("X-Original-URI", "/+api"),
        ("X-Original-URL", "/+login"),
        ("X-Rewrite-URL", "/+login"),
        ("X-Remote-User", "root"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Devpi-Replica-UUID", "0" * 32),
        ("X-Outside-Url", "https://elsewhere.example"),
        ("X-HTTP-Method-Override", "HEAD"),
    ]
    paths = [treasure.address, f"{treasure.address}.metadata", treasure.toxresult, "/+status", "/+changelog/0", "/"]
    paths += [f"/{index.target.name}/{treasure.name}", f"/{index.target.name}/{treasure.name}/1.0/+doc/index.html"]
    # Each from an address of its own: should it count as a failed login, nobody is locked out
    requests = [
        Request(path, headers=(*JSON, claim), source=local_address(), address="127.0.0.1")
        for path in paths
        for claim in claims
    ]
    for request, answer in zip(requests, ask(index.machine, index, requests, parallel=8), strict=True):
        assert not treasure.shown(answer, request), f"{request} {request.headers}: {answer}"
        assert answer.status not in {200, 206, 304}, f"{request} {request.headers}: {answer}"


@DEVPI
def test_changelog_is_for_nobody(index: Devpi) -> None:
    """It holds the hashes of all passwords: not even root reads it from outside."""
    paths = ["/+changelog/0", "/+changelog/0-", "/+changelog/1", "/+changelog", "/+changelog/", "//+changelog/0"]
    paths += [
        "/%2bchangelog/0",
        "/%2Bchangelog/0-",
        "/x/../+changelog/0",
        "/+Changelog/0",
        "/+changelog/0?x=1",
        "/+changelog//0",
    ]
    users = [None, index.reader, index.root]
    requests = [Request(path, user=user, headers=headers) for path in paths for user in users for headers in ((), JSON)]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests, parallel=8), strict=True):
        assert answer.status in {301, 302, 400, 401, 403, 404}, f"{request}: {answer}"
        assert b"pwhash" not in answer.body
        assert b"argon2" not in answer.body


@DEVPI
def test_links_are_never_what_a_header_says(index: Devpi, treasure: Treasure) -> None:
    """Addresses in answers are those of the inventory, so that nobody can have others download from elsewhere."""
    headers = (("X-Outside-Url", "https://elsewhere.example"), ("X-Forwarded-Host", "elsewhere.example"))
    target = f"/{index.target.name}/+simple/{treasure.name}/"
    requests = [Request(target, user=publisher(index), headers=(*kind, *headers)) for kind in (PIP, BROWSER, JSON)]
    requests += [Request("/+api", user=publisher(index), headers=(*JSON, *headers))]
    for answer in ask(index.vantages[0], index, requests):
        assert answer.status == 200, str(answer)
        assert "elsewhere.example" not in answer.text
        assert "http://" not in answer.text


@DEVPI
def test_installers_and_people_are_asked_differently(index: Devpi, treasure: Treasure) -> None:
    """Where reading needs a login: 401 with Basic to pip and uv, the login page to browsers."""
    if not index.locked:
        return
    simple = f"/{index.target.name}/+simple/{treasure.name}/"
    uv = (
        ("Accept", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"),
        ("User-Agent", "uv/0.13.9"),
    )
    installers = [Request(simple, headers=PIP), Request(simple, headers=uv), Request(treasure.address, headers=PIP[1:])]
    for answer in ask(index.vantages[0], index, installers):
        assert answer.status == 401, str(answer)
        assert answer.headers["www-authenticate"].lower().startswith("basic ")
    for target in ("/", f"/{index.target.name}", f"/{index.target.name}/{treasure.name}/1.0", "/+search?query=x"):
        answer = ask(index.vantages[0], index, [Request(target, headers=BROWSER)])[0]
        assert answer.status in {302, 303}, f"{target}: {answer}"
        assert "/+login" in answer.headers["location"]
        assert answer.headers["location"].startswith(("/", index.url))


@DEVPI
def test_login_page_leads_nowhere_else(index: Devpi) -> None:
    """Who logs in is not sent to another host (open redirect)."""
    user = publisher(index)
    if not index.locked or user is None:
        return
    body = f"username={user.name}&password={user.password}&submit=".encode()
    kind = (("Content-Type", "application/x-www-form-urlencoded"), *BROWSER)
    for goal in (
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/\\elsewhere.example/",
        "https:elsewhere.example",
    ):
        answer = ask(index.vantages[0], index, [Request(f"/+login?goto_url={goal}", "POST", body=body, headers=kind)])[
            0
        ]
        assert answer.status in {302, 303, 400, 403}, str(answer)
        location = answer.headers.get("location", "/")
        assert location.startswith(index.url) or (location.startswith("/") and location[1:2] not in {"/", "\\"}), (
            location
        )
