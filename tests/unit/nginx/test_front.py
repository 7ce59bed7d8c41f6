"""nginx runs with the role's configuration: who gets which answer."""

from __future__ import annotations

import http
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Answer, Client, Front, backend, debian_release, free_ports

LIMIT = 4
BODY_MB = 1
PASSWORDS = {"reader": "r-password", "uploader": "u-password", "sender": "s-password"}
READERS, WRITERS = ("reader", "uploader"), ("uploader", "sender")
# Whose login a request has: nobody, in both files, in one of them only, a wrong password, nobody we know
LOGINS = {
    "anonymous": "",
    "reader": "reader:r-password",
    "uploader": "uploader:u-password",
    "sender": "sender:s-password",
    "wrong password": "reader:u-password",
    "unknown": "nobody:x",
}
# Status by login, in the order of LOGINS
MATRIX = {
    ("GET", "/"): [200, 200, 200, 200, 200, 200],
    ("POST", "/"): [401, 403, 200, 200, 401, 401],
    ("GET", "/simple/"): [401, 200, 200, 403, 401, 401],
    ("HEAD", "/simple/"): [401, 200, 200, 403, 401, 401],
    ("POST", "/simple/"): [405, 405, 405, 405, 405, 405],
    ("GET", "/packages/a-1.0-py3-none-any.whl"): [401, 200, 200, 403, 401, 401],
    ("PUT", "/packages/a-1.0-py3-none-any.whl"): [405, 405, 405, 405, 405, 405],
    ("GET", "/api/x"): [401, 200, 200, 403, 401, 401],
    ("PUT", "/api/x"): [401, 403, 200, 200, 401, 401],
    ("DELETE", "/api/x"): [401, 403, 200, 200, 401, 401],
    ("PATCH", "/api/x"): [401, 403, 200, 200, 401, 401],
    ("POST", "/open/"): [200, 200, 200, 200, 200, 200],
    ("OPTIONS", "/open/"): [405, 405, 405, 405, 405, 405],
    ("TRACE", "/open/"): [405, 405, 405, 405, 405, 405],
    ("PROPFIND", "/open/"): [405, 405, 405, 405, 405, 405],
    ("GET", "/elsewhere"): [404, 404, 404, 404, 404, 404],
}


@pytest.fixture(scope="module")
def front(folder: Path, certificates: Certificates) -> Iterator[Front]:
    """A front with one site, running."""
    for name, users in (("readers", READERS), ("writers", WRITERS)):
        hashes = {user: bcrypt.hashpw(PASSWORDS[user].encode(), bcrypt.gensalt(4)).decode() for user in users}
        (folder / name).write_text("".join(f"{user}:{hashed}\n" for user, hashed in hashes.items()))
    readers, writers = str(folder / "readers"), str(folder / "writers")
    packages = folder / "packages"
    (packages / "folder").mkdir(parents=True)
    (packages / ".hidden").mkdir()
    (folder / "outside.whl").write_text("outside")
    for name in ("a-1.0-py3-none-any.whl", "a-1.0.tar.gz", "page.html", ".htpasswd", ".hidden/x", "folder/index.html"):
        (packages / name).write_text(name)
    (packages / "out.whl").symlink_to(folder / "outside.whl")
    os.mkfifo(packages / "pipe.whl")
    http_port, https_port = free_ports(2)
    locations = [
        {"match": "= /", "readers_file": "", "writers_file": writers},
        {"match": "/simple/", "readers_file": readers},
        {"match": "^~ /packages/", "readers_file": readers, "files": str(packages)},
        {"match": "/public/", "readers_file": "", "files": f"{packages}/"},
        {"match": "/api/", "readers_file": readers, "writers_file": writers},
        {"match": "/open/", "readers_file": "", "writers_file": ""},
    ]
    site = {
        "name": "index",
        "server_name": "index.pyindex.test",
        "http_port": http_port,
        "https_port": https_port,
        "certificate": str(certificates.certificate),
        "certificate_key": str(certificates.key),
        "max_body_mb": BODY_MB,
        "upstream": f"unix:{folder / 'backend.sock'}",
        "locations": locations,
    }
    variables = {"nginx_failed_logins_per_minute": LIMIT, "nginx_worker_processes": 1}
    front = Front(folder, [site], variables, release=debian_release())
    assert front.problems() == ""
    front.write()
    assert front.check() == ""
    with backend(folder / "backend.sock"), front.running():
        yield front


@pytest.fixture
def client(front: Front, certificates: Certificates, request: pytest.FixtureRequest) -> Client:
    """A client with an address that no other test has failed from."""
    used: list[int] = request.config.stash.setdefault(USED, [])
    used.append(len(used) + 2)
    return Client(int(front.sites[0]["https_port"]), certificates.authority, address=f"127.0.1.{used[-1]}")


USED = pytest.StashKey[list[int]]()


@pytest.mark.parametrize(("request_line", "statuses"), MATRIX.items(), ids=[" ".join(line) for line in MATRIX])
def test_who_may_do_what(request_line: tuple[str, str], statuses: list[int], client: Client) -> None:
    method, path = request_line
    answers = {name: client.ask(method, path, login=login) for name, login in LOGINS.items()}
    assert {name: answer.status for name, answer in answers.items()} == dict(zip(LOGINS, statuses, strict=True))
    for answer in answers.values():
        # A client is asked for a password once, and only where one would help
        assert answer.challenges == (1 if answer.status == http.HTTPStatus.UNAUTHORIZED else 0)
        assert answer.headers["strict-transport-security"] == "max-age=63072000"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["server"] == "nginx"


def test_a_refused_method_comes_with_those_that_are_allowed(client: Client) -> None:
    assert client.ask("POST", "/simple/").headers["allow"] == "GET, HEAD"
    assert client.ask("OPTIONS", "/api/").headers["allow"] == "GET, HEAD"
    assert "allow" not in client.ask("GET", "/").headers


def test_the_backend_learns_who_it_is_and_never_the_password(client: Client) -> None:
    claims = {
        "X-Remote-User": "root",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "203.0.113.9",
        "X-Script-Name": "/evil",
        "Forwarded": "for=203.0.113.9",
    }
    verified = client.ask("GET", "/simple/", login=LOGINS["reader"], headers=claims).seen()["headers"]
    assert verified["X-Remote-User"] == "reader"
    # Nobody has checked who this is
    unchecked = client.ask("GET", "/open/", login=LOGINS["unknown"], headers=claims).seen()["headers"]
    assert "X-Remote-User" not in unchecked
    for headers in (verified, unchecked):
        assert "Authorization" not in headers
        assert headers["Host"] == headers["X-Forwarded-Host"] == f"index.pyindex.test:{client.port}"
        assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == client.address
        assert headers["X-Forwarded-Proto"] == "https"
        assert not {"X-Forwarded-Prefix", "X-Script-Name", "Forwarded"} & set(headers)


def test_the_name_for_the_backend_is_that_of_the_site(client: Client) -> None:
    """Whatever the Host field says, when the request line names the site."""
    with client.secure(socket.create_connection(("127.0.0.1", client.port), 10)) as connection:
        connection.sendall(
            b"GET https://index.pyindex.test/open/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b'"Host": "index.pyindex.test"' in answer


def test_no_http_link_behind_https(client: Client) -> None:
    moved = client.ask("GET", "/open/moved")
    assert moved.headers["location"] == f"https://index.pyindex.test:{client.port}/simple/"


@pytest.mark.parametrize(
    "path",
    [
        "/public/",
        "/public",
        "/public/folder",
        "/public/folder/",
        "/public/.htpasswd",
        "/public/%2ehtpasswd",
        "/public/.hidden/x",
        "/public/out.whl",
        "/public/pipe.whl",
        "/public/../outside.whl",
        "/public/%2e%2e/outside.whl",
        "/public/..%2foutside.whl",
        "/public../outside.whl",
        "/public/folder%2findex.html",
        "/packages/../open/",
        "/packages/.%2e/open/",
        "/open/../packages/a-1.0-py3-none-any.whl",
        "/open/..%5cpackages/",
        "/open/.git/config",
    ],
)
def test_what_is_not_served(path: str, client: Client) -> None:
    assert client.status("GET", path) == 404


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a-1.0-py3-none-any.whl", "application/zip"),
        ("a-1.0.tar.gz", "application/gzip"),
        # Not as a page of ours: somebody uploaded it
        ("page.html", "application/octet-stream"),
    ],
)
def test_types_of_files(name: str, kind: str, client: Client) -> None:
    answer = client.ask("GET", f"/public/{name}")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, name.encode())
    assert "content-encoding" not in answer.headers


def test_dots_in_a_query_are_nobodys_business(client: Client) -> None:
    assert client.status("GET", "/open/?a=/../b%2f.c") == 200


def send(client: Client, login: str, megabytes: int) -> Answer:
    """Upload so much, all of it sent before the answer is read, as requests does."""
    body = bytes(megabytes * 1024 * 1024)
    return client.ask("POST", "/api/", login=login, body=body, headers={"Content-Length": str(len(body))})


def test_body_size(client: Client) -> None:
    assert send(client, LOGINS["uploader"], BODY_MB).seen()["body"] == BODY_MB * 1024 * 1024
    assert send(client, LOGINS["uploader"], BODY_MB + 20).status == 413
    # Before anybody is asked for a password
    assert send(client, "", BODY_MB + 20).status == 413


def test_plain_http_leads_to_https(front: Front, client: Client) -> None:
    plain = replace(client, port=int(front.sites[0]["http_port"]))
    for method in ("GET", "POST"):
        answer = plain.ask(method, "/simple/a?b=c", tls=False)
        assert answer.status == 308
        assert answer.headers["location"] == f"https://index.pyindex.test:{client.port}/simple/a?b=c"
    assert plain.ask("GET", "/", host="evil.test", tls=False).status == 0


def test_other_names_are_not_answered(client: Client) -> None:
    assert client.ask("GET", "/", host="evil.test").status == 421
    assert client.ask("GET", "/", host="other.pyindex.test").status == 421
    with pytest.raises((ssl.SSLError, ConnectionError)):
        replace(client, name="other.pyindex.test").ask("GET", "/")


def test_old_tls_is_refused(client: Client) -> None:
    def version(newest: ssl.TLSVersion) -> str | None:
        with client.secure(socket.create_connection(("127.0.0.1", client.port), 10), newest) as connection:
            return connection.version()

    assert version(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert version(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning, match="TLSv1_1"):
        version(ssl.TLSVersion.TLSv1_1)


def test_failed_logins_are_limited(client: Client) -> None:
    good, bad = LOGINS["reader"], LOGINS["wrong password"]
    # Neither successes nor requests without a login count
    assert {client.status("GET", "/simple/", good) for _unused in range(2 * LIMIT)} == {200}
    assert {client.status("GET", "/simple/") for _unused in range(2 * LIMIT)} == {401}
    assert {client.status("POST", "/api/", good) for _unused in range(2 * LIMIT)} == {403}
    assert [client.status("GET", "/simple/", bad) for _unused in range(LIMIT + 2)] == [401] * LIMIT + [429] * 2
    refused = client.ask("GET", "/simple/", login=good, headers={"X-Forwarded-For": "203.0.113.9"})
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["strict-transport-security"]
    assert client.status("POST", "/", LOGINS["uploader"]) == 429
    # Where no password is looked at, none can be tried
    assert client.status("GET", "/", good) == 200
    assert client.status("GET", "/simple/") == 401
    assert replace(client, address="127.0.2.1").status("GET", "/simple/", good) == 200
