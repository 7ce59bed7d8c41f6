# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How requests reach a devpi server: over HTTPS or a Unix socket, bodies streamed from disk."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import (
    DevpiError,
    NotDevpiError,
    ServerNotReadyError,
    TlsError,
    not_ready,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

_CHUNK = 256 * 1024
_MAX_ANSWER = 64 * 1024 * 1024  # bytes; the largest list of releases that is believed
# A server hashes and stores what it was sent before it answers
_STORED_BYTES_PER_SECOND = 5 * 1024 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Body(Protocol):
    """What is sent: its length in bytes, its type, and the bytes in pieces, from the start each time."""

    @property
    def length(self) -> int: ...

    @property
    def content_type(self) -> str: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Text:
    """A short body that is in memory."""

    data: bytes
    content_type: str = "application/json"

    @property
    def length(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[bytes]:
        yield self.data


class Multipart:
    """A form with one file (RFC 7578) that is read from disk while it is sent, never held in memory.

    *fields* are names and values, *file* is open for reading and seekable, *filename* is what the server shall call it.
    """

    def __init__(self, fields: list[tuple[str, str]], file: IO[bytes], filename: str) -> None:
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.length = len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._file.seek(0)
        left = self._size
        while left:
            try:
                chunk = self._file.read(min(_CHUNK, left))
            except OSError as error:
                raise DevpiError(f"{self._file.name} cannot be read: {error.strerror}") from None
            if not chunk:
                raise DevpiError(f"{self._file.name} became shorter while it was sent; it was not uploaded")
            left -= len(chunk)
            yield chunk
        yield self._tail


@dataclass(frozen=True)
class Request:
    """One request; *path* is below the server's root, quoted, with its query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


@dataclass(frozen=True)
class Response:
    """One answer; the names of *headers* are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request; several threads may call it at once."""

    address: str

    def send(self, request: Request) -> Response:
        """Return the server's answer, whatever its status; a DevpiError when there is none."""


class HttpTransport:
    """One connection for each request, so that threads share nothing and no answer is taken for another's."""

    def __init__(
        self,
        server_url: str = "",
        unix_socket: str = "",
        ca_path: str = "",
        validate_certs: bool = True,
        timeout_seconds: float = 30,
    ) -> None:
        """Raise DevpiError for an address that cannot be used, or a CA file that cannot be read."""
        self._unix_socket = unix_socket
        self._timeout = timeout_seconds
        self._context: ssl.SSLContext | None = None
        self._prefix = ""
        if bool(server_url) == bool(unix_socket):
            raise DevpiError("give one of server_url and unix_socket")
        if unix_socket:
            self.address = unix_socket
            self._host, self._port = "localhost", None
            return
        url = urlsplit(server_url)
        if url.username or url.password:
            raise DevpiError("server_url holds a login: give username and password as parameters instead")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise DevpiError(f"server_url {server_url!r} is no URL such as https://devpi.example.org")
        if url.scheme == "http" and url.hostname not in _LOOPBACK:
            raise DevpiError(f"server_url {server_url!r} would send passwords in the clear: use https")
        self.address = server_url.rstrip("/")
        self._host, self._port = url.hostname, url.port
        self._prefix = url.path.rstrip("/")
        if url.scheme == "https":
            self._context = _context(ca_path, validate_certs)

    def send(self, request: Request) -> Response:
        """Return the answer to *request*; ServerNotReadyError, TlsError or NotDevpiError when there is none."""
        connection = self._connection(request)
        try:
            self._write(connection, request)
            answer = connection.getresponse()
            body = answer.read(_MAX_ANSWER + 1)
        except ssl.SSLCertVerificationError as error:
            raise TlsError(
                f"The certificate of {self.address} is not trusted: {error.verify_message}. Give the CA's certificate "
                "as ca_path, and the name that the certificate is for in server_url"
            ) from None
        except ssl.SSLError as error:
            raise TlsError(f"TLS with {self.address} failed: {error.reason or error}. Is it an https port?") from None
        except (OSError, http.client.RemoteDisconnected) as error:
            raise self._unreachable(error) from None
        except http.client.HTTPException as error:
            raise NotDevpiError(f"{self.address} does not speak HTTP: {type(error).__name__} {error}") from None
        finally:
            connection.close()
        if len(body) > _MAX_ANSWER:
            raise NotDevpiError(f"{self.address} answered {request.path} with more than {_MAX_ANSWER} bytes")
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, answer.reason, headers, body)

    def _connection(self, request: Request) -> http.client.HTTPConnection:
        length = request.body.length if request.body else 0
        timeout = self._timeout + length / _STORED_BYTES_PER_SECOND
        if self._unix_socket:
            return _UnixConnection(self._unix_socket, timeout)
        if self._context:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _write(self, connection: http.client.HTTPConnection, request: Request) -> None:
        connection.putrequest(request.method, self._prefix + request.path, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.putheader("Connection", "close")
        if request.body:
            connection.putheader("Content-Type", request.body.content_type)
            connection.putheader("Content-Length", str(request.body.length))
        elif request.method != "GET":
            connection.putheader("Content-Length", "0")
        connection.endheaders()
        try:
            for chunk in request.body or ():
                connection.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a large file says so and closes before it has read all: look at the answer
            return

    def _unreachable(self, error: Exception) -> ServerNotReadyError:
        if isinstance(error, FileNotFoundError):
            cause = "there is no such socket"
        elif isinstance(error, ConnectionRefusedError):
            cause = "the connection is refused"
        elif isinstance(error, PermissionError):
            cause = "this user may not use the socket (become: true?)"
        elif isinstance(error, (TimeoutError, socket.timeout)):  # two classes before Python 3.10
            cause = f"no answer within {self._timeout:g} s (timeout_seconds)"
        elif isinstance(error, socket.gaierror):
            cause = f"the host name {self._host} is unknown"
        elif isinstance(error, http.client.RemoteDisconnected):
            cause = "it closed the connection without an answer"
        else:
            cause = str(error)
        return not_ready(self.address, cause)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _context(ca_path: str, validate_certs: bool) -> ssl.SSLContext:
    try:
        if os.path.isdir(ca_path):
            context = ssl.create_default_context(capath=ca_path)
        else:
            context = ssl.create_default_context(cafile=ca_path or None)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"ca_path {ca_path} cannot be read as CA certificates (PEM): {error}") from None
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
