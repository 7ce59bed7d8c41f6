"""The verifier as the role writes it, with real credentials files: every form of a login, and what a change does."""

from __future__ import annotations

import base64
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Client, Front, backend, debian_release, free_ports
from tests.unit.nginx.test_login_cache import until, workers

SECONDS = 2
LONG = "x" * 400


@dataclass
class Place:
    """A running front, its credentials files and its verifier."""

    front: Front
    client: Client
    verifier: subprocess.Popen[bytes]
    readers: Path
    writers: Path

    def send(self, *headers: bytes) -> tuple[int, bytes]:
        """GET with just these header lines; return the status and the whole answer."""
        plain = socket.create_connection(("127.0.0.1", self.client.port), 10)
        with self.client.secure(plain) as connection:
            lines = [b"GET /x HTTP/1.1", f"Host: {self.client.name}".encode(), b"Connection: close", *headers]
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return int(answer.split()[1]), answer

    def ask(self, *headers: bytes) -> int:
        """Ask the verifier itself; return its status."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.front.folder / "verifier" / "verifier.sock"))
            connection.sendall(b"\r\n".join([b"GET / HTTP/1.0", *headers]) + b"\r\n\r\n")
            return int(connection.makefile("rb").read().split()[1])


def write(path: Path, **passwords: str) -> None:
    """Write a credentials file as the role htpasswd does: a new one in place of the old one."""
    lines = [
        f"{user}:{bcrypt.hashpw(word.encode()[:72], bcrypt.gensalt(4)).decode()}\n" for user, word in passwords.items()
    ]
    path.with_suffix(".new").write_text("".join(lines))
    path.with_suffix(".new").rename(path)


def basic(login: bytes, scheme: bytes = b"Basic") -> bytes:
    return b"Authorization: " + scheme + b" " + base64.b64encode(login)


@pytest.fixture
def place(folder: Path, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    here = folder / tmp_path_factory.mktemp("verifier").name
    here.mkdir()
    http_port, https_port = free_ports(2)
    readers, writers = here / "readers", here / "writers"
    write(readers, reader="r-password", long=LONG)
    write(writers, writer="w-password")
    site = {
        "name": "index",
        "server_name": "index.pyindex.test",
        "http_port": http_port,
        "https_port": https_port,
        "certificate": str(certificates.certificate),
        "certificate_key": str(certificates.key),
        "upstream": f"unix:{here / 'backend.sock'}",
        "locations": [{"match": "/", "readers_file": str(readers), "writers_file": str(writers)}],
    }
    variables = {
        "nginx_worker_processes": 2,
        "nginx_failed_logins_per_minute": 0,
        "nginx_login_cache_seconds": SECONDS,
    }
    front = Front(here, [site], variables, release=debian_release())
    front.write()
    assert front.check() == ""
    with backend(here / "backend.sock"), front.verifying() as verifier, front.running(verified=False):
        yield Place(front, Client(https_port, certificates.authority), verifier, readers, writers)


@pytest.mark.parametrize("password", ["another", ""], ids=["changed", "removed"])
def test_a_changed_password_is_refused_in_time(place: Place, password: str) -> None:
    """Under constant traffic, which renews the login as often as it can."""
    login = "reader:r-password"
    assert place.client.status("GET", "/x", login) == 200
    write(place.readers, **({"reader": password} if password else {}))
    changed = time.monotonic()
    while place.client.status("GET", "/x", login) == 200:
        assert time.monotonic() - changed <= SECONDS, "the old password is still good"
    assert {place.client.status("GET", "/x", login) for _unused in range(20)} == {401}
    if password:
        assert place.client.status("GET", "/x", f"reader:{password}") == 200


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization:",
        b"Authorization: ",
        b"Authorization: Basic",
        b"Authorization: Basic ",
        b"Authorization: Basic !!!",
        b"Authorization: Basic =",
        b"Authorization: cmVhZGVyOnItcGFzc3dvcmQ=",
        b"Authorization: Basiccccc cmVhZGVyOnItcGFzc3dvcmQ=",
        b"Authorization: Basic cmVhZGVyOnItcGFzc3dvcmQ= x",
        b"Authorization: Basic\tcmVhZGVyOnItcGFzc3dvcmQ=",
        b"Authorization: Basic \xff\xfe",
        basic(b"reader:r-password", b"Bearer"),
        basic(b"reader:r-password", b"Digest"),
        basic(b""),
        basic(b":"),
        basic(b":r-password"),
        basic(b"reader"),
        basic(b"reader:"),
        basic(b"reader: r-password"),
        basic(b"reader:r-password "),
        basic(b"reader:r-password\n"),
        basic(b"reader\0:r-password"),
        basic(b"reader\n:r-password"),
        basic(b" reader:r-password"),
        basic(b"reader::r-password"),
        basic(b"READER:r-password"),
        basic(b"reader:r-password\r\nX-Pyindex-File: /dev/null"),
        basic(b"x\nreader:r-password"),
        basic(b"#:x"),
        basic(b"reader:" + b"x" * 5500),
        basic(b"x" * 5500 + b":x"),
    ],
)
def test_what_is_no_login_is_refused(place: Place, header: bytes) -> None:
    """As a wrong one, asked for once, before and after the right one is known."""
    for _unused in range(2):
        status, answer = place.send(header)
        assert (status, answer.lower().count(b"\r\nwww-authenticate: basic ")) == (401, 1), answer[:200]
        assert place.client.status("GET", "/x", "reader:r-password") == 200


def test_no_header_is_too_large_for_the_verifier(place: Place) -> None:
    """What nginx takes, it can ask about; what is larger it refuses itself."""
    assert place.client.status("GET", "/x", f"long:{LONG}") == 200
    assert place.send(basic(b"reader:" + b"x" * 6000))[0] == 401
    assert place.send(basic(b"reader:" + b"x" * 60000))[0] == 400


def test_two_logins_are_none(place: Place) -> None:
    right, wrong = basic(b"reader:r-password"), basic(b"reader:no")
    for headers in ([right, wrong], [wrong, right], [right, right], [right, b"Authorization:"]):
        status, answer = place.send(*headers)
        assert status in {400, 401}, answer[:200]
        assert b"X-Remote-User" not in answer


def test_the_scheme_is_written_in_any_case(place: Place) -> None:
    for scheme in (b"basic", b"BASIC", b"Basic  "):
        status, answer = place.send(basic(b"reader:r-password", scheme), b"X-Remote-User: root")
        assert status == 200
        assert b'"X-Remote-User": "reader"' in answer


def test_the_verifier_reads_the_sites_files_only(place: Place) -> None:
    """Whatever the question names; and it asks about the password always."""
    login, readers = basic(b"reader:r-password"), b"X-Pyindex-File: " + bytes(place.readers)
    writers, other = b"X-Pyindex-File: " + bytes(place.writers), b"X-Pyindex-Other-File: " + bytes(place.readers)
    elsewhere = place.front.folder / "elsewhere"
    write(elsewhere, reader="r-password")
    assert place.ask(readers, login) == 204
    assert place.ask(writers, other, login) == 403
    assert place.ask(writers, login) == 401
    assert place.ask(readers) == 401
    assert place.ask(readers, basic(b"reader:no")) == 401
    assert place.ask(login) == 421
    for path in (elsewhere, "/etc/passwd", "/dev/null", f"{place.readers}/../readers", "readers"):
        assert place.ask(f"X-Pyindex-File: {path}".encode(), login) == 421
        assert place.ask(writers, f"X-Pyindex-Other-File: {path}".encode(), login) == 401


def test_a_missing_file_lets_nobody_in(place: Place) -> None:
    place.readers.unlink()
    assert place.client.status("GET", "/x", "reader:r-password") in {403, 503}


def test_without_the_verifier_nobody_new_is_let_in(place: Place) -> None:
    """503, said in the error log; all is well when it is back."""
    assert place.client.status("GET", "/x", "reader:r-password") == 200
    place.verifier.terminate()
    place.verifier.wait()
    assert place.client.status("POST", "/x", "writer:w-password") == 503
    assert place.client.status("POST", "/x", "writer:no") == 503
    assert place.client.status("GET", "/x") == 401
    assert "pyindex: a login could not be checked" in (place.front.folder / "error.log").read_text()
    time.sleep(SECONDS)
    assert place.client.status("GET", "/x", "reader:r-password") == 503
    with place.front.verifying():
        assert place.client.status("GET", "/x", "reader:r-password") == 200


def test_the_verifier_tells_nothing_of_passwords(place: Place) -> None:
    """Neither by its arguments and environment, nor in its log."""
    assert place.client.status("GET", "/x", "reader:r-password") == 200
    assert place.client.status("GET", "/x", "reader:Wrong-Secret") == 401
    master = place.verifier.pid
    until(lambda: bool(workers(master)))
    seen = place.front.verifier_log.read_bytes() + (place.front.folder / "error.log").read_bytes()
    for process in (str(master), *workers(master)):
        seen += b"".join(Path(f"/proc/{process}/{name}").read_bytes() for name in ("cmdline", "environ"))
    for text in (b"r-password", b"Wrong-Secret", b"cmVhZGVyO"):
        assert text not in seen
