"""No spelling of a protected path of a real devpi-server is answered to who may not see it."""

from __future__ import annotations

import random
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from tests.unit.nginx.devpi_index import NAME, Index

# Beside the files: what FACTS of devpi tell of (checksums, metadata, documentation, status, history, lists)
PAGES = (
    "/+changelog/0", "/+changelog/0-", "/+changelog/1", "/+status", "/+authcheck", "/+search?query=example", "/+searchhelp",
    "/", "/root", "/owner", "/owner/dev", "/owner/dev/", "/root/mirror?no_projects=", "/owner/+api", "/owner/dev/+api",
    "/owner/dev/+simple/", "/owner/dev/+simple/example/", "/owner/dev/example", "/owner/dev/example/1.0",
    "/owner/dev/example/1.0/+doc/index.html", "/owner/dev/example/1.0/+d/index.html",
    "/owner/dev/example/1.0/+toxresults/example-1.0-py3-none-any.whl", "/root/mirror/+e/https_x/mirrored.whl",
)  # fmt: skip
PUBLIC = ("/+login", "/+logout", "/+api", "/+static-5.1.1", "/+static-5.1.1/style.css", "/+theme-static-5.1.1")
UP = ("..", "%2e%2e", ".%2E", "%2e.", "..;", "%252e%252e", "..%00", "%c0%ae%c0%ae", "\\..", "..%5c")
SLASHES = (
    "//",
    "///",
    "/./",
    "/%2e/",
    "/x/../",
    "%2f",
    "%2F",
    "%252f",
    "\\",
    "%5c",
    "/;/",
    "/%20/",
    "/%09/",
    "/%0a/",
    "/+static-5.1.1/../",
)
SUFFIXES = (
    "/", "//", "/.", "/..", "/./", "?", "?/+login", "?goto_url=/+static-", "#", "#/+login", ";", ";/+login", "/+api", "/+static-5.1.1/style.css",
    "/../+login", "/%2e%2e/+api", "%20", "%00", "%0a", "%23", "%3f", "%3F/+static-", "%09", ".", "~", "%", "%zz", "%ff",
)  # fmt: skip
SIGNS = {
    "+": ("%2b", "%2B", "%252b", "%20", "%ef%bc%8b", "%c0%ab", " "),
    "f": ("%66", "F"),
    "c": ("%63", "C"),
    "a": ("%61", "A"),
    "-": ("%2d",),
    ".": ("%2e",),
}
KINDS = {
    "program": ["Accept: */*"],
    "json": ["Accept: application/json"],
    "person": ["Accept: text/html", "User-Agent: Mozilla/5.0"],
    "pip": ["Accept: application/vnd.pypi.simple.v1+json", "User-Agent: pip/25.0"],
}
# Not seen, asked for a login, refused by nginx (400), or led to the login page
REFUSED = {0, 302, 308, 400, 401, 403, 404, 405, 414, 421, 505}


def spellings(path: str) -> Iterator[str]:
    """Yield ways in which a path can be written."""
    yield path
    for place in (match.start() for match in re.finditer("/", path)):
        for slash in SLASHES:
            yield path[:place] + slash + path[place + 1 :]
    for sign, others in SIGNS.items():
        for place in [match.start() for match in re.finditer(re.escape(sign), path)][:3]:
            for other in others:
                yield path[:place] + other + path[place + 1 :]
    for public in PUBLIC:
        for up in UP:
            yield f"{public}/{up}{path}"
            yield f"{public}/{up}/{up}{path}"
        yield public + path
        yield f"{public}?{path}"
        yield f"{public}#{path}"
        yield f"{public}%00{path}"
    for suffix in SUFFIXES:
        yield path + suffix
    yield from (path.upper(), path.title(), path[1:], "*", f"/{NAME}{path}")
    yield "/" + "".join(f"%{ord(sign):02x}" for sign in path[1:])
    yield from (f"https://{NAME}{path}", f"http://evil.test{path}", f"https://{NAME}/+login/..{path}", f"https:{path}")


def compositions(path: str, number: int, seed: int) -> Iterator[str]:
    """Yield random spellings of spellings."""
    chosen = random.Random(seed)
    once = list(spellings(path))
    for _unused in range(number):
        yield chosen.choice(list(spellings(chosen.choice(once))))


def ask(index: Index, target: str, headers: list[str], method: str = "GET") -> tuple[int, bytes]:
    """Send a request line as it is, and return status and the whole answer; 0: none."""
    context = ssl.create_default_context(cafile=str(index.authority))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {NAME}:{index.port}", "Connection: close", *headers, "", ""]
    with (
        socket.create_connection(("127.0.0.1", index.port), 30) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0, answer


def is_public(index: Index, answer: bytes, headers: list[str]) -> bool:
    """Whether an answer is that of a page that all may see: another way to write that page's path."""
    _unused, _unused2, body = answer.partition(b"\r\n\r\n")
    return any(body and body in ask(index, page, headers)[1] for page in PUBLIC)


def protected(index: Index) -> list[str]:
    files = [path for name, path in index.paths.items() if name != "secret"]
    return [*PAGES, *files, *(f"{path}.metadata" for path in files)]


def check(index: Index, targets: Iterator[str], headers: list[str], method: str = "GET") -> None:
    """Ask for each target."""
    for target in dict.fromkeys(targets):
        status, answer = ask(index, target, headers, method)
        assert status in REFUSED or is_public(index, answer, headers), (method, target, headers, answer[:600])
        if status in (302, 308):
            # To the login page, or from one name of a style to another
            led = rb"\r\nLocation: (/\+login\?goto_url=|https://localhost:\d+/\+(theme-)?static-)"
            assert re.search(led, answer), (target, answer[:600])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_told_to_nobody(kind: str, locked: Index) -> None:
    for path in protected(locked):
        check(locked, spellings(path) if kind == "program" else iter([path]), KINDS[kind])


def test_the_attack_would_see_a_leak(opened: Index) -> None:
    """The same requests are answered where reading is open."""
    for path in ("/owner/dev", opened.paths["dev"]):
        with pytest.raises(AssertionError, match="200 OK"):
            check(opened, spellings(path), KINDS["program"])


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_told_to_nobody_whatever_they_make_up(seed: int, locked: Index) -> None:
    for number, path in enumerate(protected(locked)):
        check(locked, compositions(path, 25, seed * 1000 + number), KINDS["program"])


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PUSH"])
def test_other_methods_tell_nothing(method: str, locked: Index) -> None:
    for path in protected(locked):
        check(locked, iter([path]), ["Accept: */*", "Content-Length: 0"], method)


def test_no_header_opens_a_door(locked: Index) -> None:
    for headers in (
        ["X-Original-URI: /+login"],
        ["X-Original-URL: /+login", "X-Rewrite-URL: /+login"],
        ["X-Accel-Redirect: /+login"],
        ["X-HTTP-Method-Override: GET"],
        ["X-Remote-User: root", "X-Forwarded-User: root"],
        ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"],
        ["Authorization: Basic"],
        ["Authorization: Bearer x", "X-Devpi-Replica-Uuid: x", "X-Devpi-Expected-Primary-Id:"],
        ["Authorization: Basic Og=="],
        ["X-Devpi-Auth: Og=="],
        ["Cookie: auth_tkt=%3A"],
        ['Cookie: a="; auth_tkt=root%3A"'],
    ):
        for path in ("/owner/dev", "/+changelog/0", locked.paths["dev"]):
            status, answer = ask(locked, path, ["Accept: */*", *headers])
            assert status in {401, 403, 404, 429}, (headers, answer[:300])


@pytest.mark.parametrize("name", ["locked", "opened"])
def test_the_history_is_closed_to_all(name: str, request: pytest.FixtureRequest) -> None:
    """Of the passwords' hashes, too: root itself is not let in."""
    index: Index = request.getfixturevalue(name)
    token = [f"X-Devpi-Auth: {index.token('root')['X-Devpi-Auth']}", "Accept: */*"]
    for path in ("/+changelog/0", "/+changelog/0-", "/+authcheck"):
        for target in dict.fromkeys([*spellings(path), *compositions(path, 40, 1)]):
            for headers in (token, ["Accept: application/x-devpi-replica-changes", "X-Devpi-Expected-Primary-Id:"]):
                status, answer = ask(index, target, headers)
                assert b"pwhash" not in answer
                assert b"argon2" not in answer
                assert b"replica sent no" not in answer
                assert status != 500 or target.endswith("%ff"), (target, answer[:300])


@pytest.mark.parametrize("name", ["locked", "opened"])
def test_read_rights_of_an_index_hold_for_all_spellings(name: str, request: pytest.FixtureRequest) -> None:
    index: Index = request.getfixturevalue(name)
    content = (index.devpi.server_dir / "+files" / index.paths["secret"][1:]).read_bytes()
    for headers in ([], [f"X-Devpi-Auth: {index.token('reader')['X-Devpi-Auth']}"]):
        path = index.paths["secret"]
        for target in dict.fromkeys([*spellings(path), *compositions(path, 40, 2)]):
            assert content not in ask(index, target, ["Accept: */*", *headers])[1], target


def test_http2(locked: Index) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is part of every test machine"
    for path in protected(locked):
        targets = [
            target
            for target in dict.fromkeys(spellings(path))
            if target.startswith("/") and re.fullmatch(r"[!-~]+", target)
        ]
        addresses = [f"https://{NAME}:{locked.port}{target.split('#')[0]}" for target in targets]
        options = [
            "--http2",
            "--path-as-is",
            "--globoff",
            "--silent",
            "--cacert",
            str(locked.authority),
            "--output",
            "/dev/null",
        ]
        said = subprocess.run(
            [
                curl,
                *options,
                "--write-out",
                "%{http_version} %{http_code} %{url}\n",
                *(part for address in addresses for part in ("--output", "/dev/null", address)),
            ],
            check=False,
            capture_output=True,
            text=True,
        ).stdout
        answers = [line.split(" ", 2) for line in said.splitlines()]
        assert len(answers) == len(addresses)
        for version, status, address in answers:
            assert version == "2"
            path_sent = address.split(str(locked.port), 1)[1]
            assert int(status) in REFUSED or is_public(
                locked, ask(locked, path_sent, KINDS["program"])[1], KINDS["program"]
            ), address
