"""A client of an index: one connection that stays open, uploads as twine sends them, links as pip reads them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urljoin, urlsplit

HTML = "text/html"
CONNECT_SECONDS = 5.0
JSON = "application/vnd.pypi.simple.v1+json"
# What pip asks for; who asks for HTML alone may be taken for a browser, and be led to a login page
PIP = f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"


class ClientError(Exception):
    """The server did not answer, or not as it should; the message says to what."""


@cache
def _trusting(authority: str) -> ssl.SSLContext:
    """Return what trusts a CA certificate, or the system's. One for all: reading certificates takes a while."""
    return ssl.create_default_context(cafile=authority or None)


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes
    media_type: str


class Client:
    """One connection to the server of a URL. Not for several threads at once."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        authority: str = "",
        source: str = "",
        timeout_seconds: float = 60,
    ) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.timeout_seconds = timeout_seconds
        # proxpi refuses who names no media type; pip and uv always do
        self.headers = {"Accept": "*/*", **(headers or {})}
        address = (source, 0) if source else None
        if parts.scheme == "https":
            self.connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host,
                parts.port or 443,
                timeout=timeout_seconds,
                source_address=address,
                context=_trusting(authority),
            )
        else:
            self.connection = http.client.HTTPConnection(
                self.host, parts.port or 80, timeout=timeout_seconds, source_address=address
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.connection.close()

    def request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request. Raises ClientError when there is no whole answer."""
        parts = urlsplit(url)
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        try:
            if self.connection.sock is None:
                self._connect()
            self.connection.request(method, path, body=body, headers=self.headers | dict(headers or {}))
            response = self.connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise ClientError(f"{method} {url}: {error!r}") from error
        return Answer(response.status, content, response.headers.get_content_type())

    def _connect(self) -> None:
        """Connect anew rather than wait for the kernel, whose pauses grow while a server's queue is full."""
        for patience in (CONNECT_SECONDS, CONNECT_SECONDS, self.timeout_seconds):
            self.connection.timeout = patience
            try:
                self.connection.connect()
            except TimeoutError:
                self.connection.close()
                if patience == self.timeout_seconds:
                    raise
            else:
                self.connection.sock.settimeout(self.timeout_seconds)
                return

    def get(self, url: str, accept: str = "") -> Answer:
        """Ask for a page or file; a connection that the server has closed meanwhile is opened anew."""
        headers = {"Accept": accept} if accept else {}
        try:
            return self.request("GET", url, headers=headers)
        except ClientError:
            return self.request("GET", url, headers=headers)

    def upload(self, url: str, name: str, content: bytes) -> int:
        """Upload a wheel; return the status of the answer. Raises ClientError when there is none."""
        project, version = name.split("-")[:2]
        body, media_type = form(
            {
                ":action": "file_upload",
                "protocol_version": "1",
                "metadata_version": "2.1",
                "name": project.replace("_", "-"),
                "version": version,
                "filetype": "bdist_wheel",
                "pyversion": "py3",
                "sha256_digest": hashlib.sha256(content).hexdigest(),
            },
            name,
            content,
        )
        return self.request("POST", url, body, {"Content-Type": media_type}).status


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header of a login (RFC 7617)."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def login_of(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and password of a login; ("", "") = there is none."""
    coded = headers.get("Authorization", "").removeprefix("Basic ")
    name, _colon, password = base64.b64decode(coded).decode().partition(":")
    return name, password


def form(fields: Mapping[str, str], name: str, content: bytes) -> tuple[bytes, str]:
    """Return an upload as multipart/form-data (RFC 7578), and its media type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{name}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    return b"".join([*parts, content, f"\r\n--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


class _Links(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") or ""
        if tag == "a" and href:
            self.found.append(urljoin(self.base, href))


def targets_of(page: bytes, url: str) -> list[str]:
    """Return the absolute URLs that a page links to."""
    parser = _Links(url)
    parser.feed(page.decode(errors="replace"))
    return parser.found


def json_files(page: bytes) -> dict[str, str]:
    """Return the files of a project's page in JSON (PEP 691): name to SHA-256 or ''. No page, no files."""
    try:
        return {entry["filename"]: entry["hashes"].get("sha256", "") for entry in json.loads(page)["files"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def links(page: bytes, url: str) -> dict[str, str]:
    """Return the links of a project's page (PEP 503): file name to absolute URL, with its fragment."""
    return {urlsplit(target).path.rpartition("/")[2]: target for target in targets_of(page, url)}
