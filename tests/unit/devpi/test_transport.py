"""How requests reach a server: sockets, certificates, large files, and what is said when they do not."""

from __future__ import annotations

import http.server
import ipaddress
import socket
import socketserver
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import (
    DevpiError,
    NotDevpiError,
    ServerNotReadyError,
    TlsError,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import (
    HttpTransport,
    Multipart,
    Request,
    Text,
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Counts what it is sent, and says how many bytes that were."""

    refusing = False

    def do_POST(self) -> None:
        if self.refusing:
            self.send_response(413)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        left = length = int(self.headers["Content-Length"])
        ending = b""
        while left:
            chunk = self.rfile.read(min(left, 1 << 20))
            ending = (ending + chunk)[-1000:]
            left -= len(chunk)
        self.answer(str(length).encode() + b"\n" + ending)

    def do_GET(self) -> None:
        if self.path == "/slow":
            threading.Event().wait(2)
        self.answer(self.path.encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None, handler: type[Any] = Handler) -> Iterator[int]:
    """Run a server on the loopback address and give its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as found:
        yield found


def test_a_large_file_does_not_go_through_memory(port: int, tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    size = 300 * 1024 * 1024
    with path.open("wb") as file:
        file.truncate(size)
    transport = HttpTransport(f"http://127.0.0.1:{port}")
    with path.open("rb") as file:
        body = Multipart([("name", "demo")], file, path.name)
        tracemalloc.start()
        try:
            answer = transport.send(Request("POST", "/a/b/", {}, body))
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert int(answer.body.split(b"\n")[0]) == body.length > size
    assert answer.body.endswith(b"--\r\n")
    assert peak < 20 * 1024 * 1024


def test_the_form_is_what_is_said(port: int, tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        body = Multipart([("name", "demo"), ("summary", "schön")], file, path.name)
        sent = b"".join(body)
        assert len(sent) == body.length
        assert sent == b"".join(body)  # a second time, from the start
        assert HttpTransport(f"http://127.0.0.1:{port}").send(Request("POST", "/", {}, body)).status == 200
    assert 'name="summary"\r\n\r\nschön\r\n'.encode() in sent
    assert b'name="content"; filename="demo-1.0.tar.gz"\r\n' in sent


def test_a_file_that_shrinks_is_not_sent(port: int, tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(b"content" * 1000)
    with path.open("rb") as file:
        body = Multipart([], file, path.name)
        path.write_bytes(b"")
        with pytest.raises(DevpiError, match="became shorter while it was sent"):
            HttpTransport(f"http://127.0.0.1:{port}").send(Request("POST", "/", {}, body))


def test_a_server_that_refuses_early_is_heard(tmp_path: Path) -> None:
    """nginx says 413 and closes before it has read a file that is too large."""
    path = tmp_path / "demo-1.0.tar.gz"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    refusing = type("Refusing", (Handler,), {"refusing": True})
    with serving(handler=refusing) as port, path.open("rb") as file:
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        assert transport.send(Request("POST", "/", {}, Multipart([], file, path.name))).status == 413


def test_below_a_path(port: int) -> None:
    transport = HttpTransport(f"http://127.0.0.1:{port}/devpi/")
    assert transport.send(Request("GET", "/+api")).body == b"/devpi/+api"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of server_url and unix_socket"),
        ({"server_url": "https://x", "unix_socket": "/x"}, "give one of server_url and unix_socket"),
        ({"server_url": "devpi.example.org"}, "is no URL such as https://devpi.example.org"),
        ({"server_url": "http://devpi.example.org"}, "would send passwords in the clear: use https"),
        ({"server_url": "https://root:s3cret@devpi.example.org"}, "server_url holds a login"),
        ({"server_url": "https://x", "ca_path": "/proc/none"}, "ca_path /proc/none cannot be read as CA certificates"),
        ({"server_url": "https://x", "ca_path": __file__}, "cannot be read as CA certificates (PEM)"),
    ],
)
def test_addresses_that_cannot_be_used(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(DevpiError) as caught:
        HttpTransport(**arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_nobody_there(tmp_path: Path, port: int) -> None:
    path = str(tmp_path / "devpi.sock")
    with pytest.raises(ServerNotReadyError, match="there is no such socket"):
        HttpTransport(unix_socket=path).send(Request("GET", "/"))
    with socketserver.UnixStreamServer(path, socketserver.BaseRequestHandler):
        pass
    with pytest.raises(
        ServerNotReadyError, match=r"the connection is refused. Is it running\? on the index host look at"
    ):
        HttpTransport(unix_socket=path).send(Request("GET", "/"))
    with pytest.raises(ServerNotReadyError, match=r"no answer within 0.2 s \(timeout_seconds\)"):
        HttpTransport(f"http://127.0.0.1:{port}", timeout_seconds=0.2).send(Request("GET", "/slow"))
    with pytest.raises(ServerNotReadyError, match=r"host name nowhere\.invalid is unknown"):
        HttpTransport("https://nowhere.invalid").send(Request("GET", "/"))


def test_something_that_does_not_speak_http(tmp_path: Path) -> None:
    path = str(tmp_path / "other.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def greet() -> None:
            connection, _address = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(NotDevpiError, match="does not speak HTTP"):
            HttpTransport(unix_socket=path).send(Request("GET", "/", {}, Text(b"{}")))
        thread.join()


# -- TLS


@pytest.fixture
def https_port(tmp_path: Path) -> Iterator[int]:
    """A server whose certificate signs itself; it is in ``ca.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    (tmp_path / "ca.pem").write_bytes(certificate)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(certificate + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with serving(context) as found:
        yield found


def test_certificates(https_port: int, tmp_path: Path, port: int) -> None:
    ca = str(tmp_path / "ca.pem")
    address = f"https://127.0.0.1:{https_port}"
    assert HttpTransport(address, ca_path=ca).send(Request("GET", "/")).status == 200
    assert HttpTransport(address, validate_certs=False).send(Request("GET", "/")).status == 200
    with pytest.raises(TlsError, match=r"is not trusted: .*Give the CA's certificate as ca_path"):
        HttpTransport(address).send(Request("GET", "/"))
    with pytest.raises(TlsError, match="the name that the certificate is for in server_url"):
        HttpTransport(f"https://localhost:{https_port}", ca_path=ca).send(Request("GET", "/"))
    with pytest.raises(TlsError, match="Is it an https port"):
        HttpTransport(f"https://127.0.0.1:{port}").send(Request("GET", "/"))
