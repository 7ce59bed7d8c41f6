"""A server that behaves as an index in the ways that matter to who asks its URLs, over TLS of a CA of the test."""

from __future__ import annotations

import base64
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PASSWORDS = {"reader": "r/e@d:er", "uploader": "up%load"}


def authority_and_certificate(folder: Path, name: str) -> tuple[str, Path]:
    """Return the certificate of a CA (PEM) and a file with a key and certificate of that CA for `name`."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _unused in range(2)]
    subjects = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("CA of the test", name)]
    now = datetime.datetime.now(datetime.UTC)
    made = []
    for number, (key, subject) in enumerate(zip(keys, subjects, strict=True)):
        builder = x509.CertificateBuilder(subjects[0], subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
    private = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(private + made[1].encode())
    return made[0], path


@dataclass
class Asked:
    """A request as the server saw it."""

    method: str
    path: str
    login: str
    body: str = field(repr=False)


class TlsIndex(ThreadingHTTPServer):
    """Below /open everybody may read; below /locked readers may; below /STATUS every answer is that status."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.asked: list[Asked] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that do not trust the certificate hang up: that is what they are to do."""


class Handler(BaseHTTPRequestHandler):
    server: TlsIndex

    def do_GET(self) -> None:
        self._answer(self._status())

    def do_POST(self) -> None:
        self._answer(self._status())

    def _status(self) -> tuple[int, str]:
        login = base64.b64decode(self.headers.get("Authorization", "").partition(" ")[2]).decode()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.asked.append(Asked(self.command, self.path, login, body))
        username, _colon, password = login.partition(":")
        kind = self.path.split("/")[1]
        if kind.isdigit():
            return int(kind), ""
        if username and PASSWORDS.get(username) != password:
            return 401, ""
        if self.command == "POST":
            if kind == "anybody":
                return 400, body
            return (400, body) if username == "uploader" else (403 if username else 401, "")
        if kind == "locked" and not username:
            return 401, ""
        if "/unreachable/" in self.path and "?" not in self.path:
            return 502, ""
        return (404, "") if self.path.endswith("/pyindex-url-check/") else (200, "[]")

    def _answer(self, answer: tuple[int, str]) -> None:
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(answer[1])))
        self.end_headers()
        self.wfile.write(answer[1].encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running(certificate: Path) -> Iterator[TlsIndex]:
    with TlsIndex(certificate) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
