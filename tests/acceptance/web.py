"""Requests to an index and the answers to them, sent from a host of the fleet."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .indexes import Index, User
    from .machines import Machine

PROGRAM = Path(__file__).parent / "remote" / "requests.py"
BOUNDARY = "pyindex-acceptance-8a7f1c0e"


@dataclass(frozen=True)
class Request:
    """One request. `target` is sent as it stands, below the index's URL path unless it begins with ``^``."""

    target: str
    method: str = "GET"
    user: User | None = None
    body: bytes | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    plain: bool = False
    """By HTTP, on the port of the redirect."""
    host: str = ""
    """Host header, if not the index's own."""
    address: str = ""
    """Where to connect to, if not to the server name."""
    source: str = ""
    """Address to connect from."""
    announced: int = 0
    """Content-Length, if not the body's own."""
    hang_up: bool = False
    """Close the connection once the body is sent."""
    hold_seconds: float = 0
    """Wait after the body is sent, before the answer is read."""
    timeout: float = 60

    def __str__(self) -> str:
        return f"{self.method} {self.target} ({self.user.name if self.user else 'no login'})"


@dataclass(frozen=True)
class Answer:
    """An answer; status 0 when there was none, and `error` says why."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    length: int
    sha256: str
    seconds: float
    error: str

    @property
    def text(self) -> str:
        """The body (its first 256 KiB) as text."""
        return self.body.decode("utf-8", "replace")

    def __str__(self) -> str:
        return f"{self.status} {self.reason} {self.error} {self.text[:500]}".strip()


def ask(machine: Machine, index: Index, requests: Sequence[Request], parallel: int = 1) -> list[Answer]:
    """Send `requests` from `machine`, `parallel` at a time (1: one after the other), in one command."""
    at_home = any(machine is client.machine for client in index.clients)
    job = {
        "authority": "" if at_home else index.authority,
        "parallel": parallel,
        "requests": [
            _described(request, index, index.server_name if at_home else index.address) for request in requests
        ],
    }
    timeout = 30 + sum(request.timeout for request in requests) / parallel
    return [_answer(answer) for answer in machine.program(PROGRAM, job, timeout=min(timeout, 600))]


def _described(request: Request, index: Index, address: str) -> dict[str, Any]:
    target = request.target.removeprefix("^") if request.target.startswith("^") else index.url_path + request.target
    port = index.http_port if request.plain else index.https_port
    usual = port == (80 if request.plain else 443)
    return {
        "tls": not request.plain,
        "address": request.address or address,
        "port": port,
        "name": index.server_name,
        "host": request.host or (index.server_name if usual else f"{index.server_name}:{port}"),
        "method": request.method,
        "target": target,
        "headers": [*request.headers],
        "login": [request.user.name, request.user.password] if request.user else None,
        "body": None if request.body is None else base64.b64encode(request.body).decode(),
        "source": request.source,
        "announced": request.announced,
        "hang_up": request.hang_up,
        "hold_seconds": request.hold_seconds,
        "timeout": request.timeout,
    }


def _answer(data: dict[str, Any]) -> Answer:
    return Answer(
        status=data.get("status", 0),
        reason=data.get("reason", ""),
        headers={name.lower(): value for name, value in data.get("headers", [])},
        body=base64.b64decode(data.get("body", "")),
        length=data.get("length", 0),
        sha256=data.get("sha256", ""),
        seconds=data["seconds"],
        error=data.get("error", ""),
    )


def form(fields: dict[str, str], filename: str | None = None, content: bytes = b"") -> Request:
    """A POST to the index with a form as twine sends it; `filename` None: without a file."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    if filename is not None:
        head = f'Content-Disposition: form-data; name="content"; filename="{filename}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content)
    delimiter = f"--{BOUNDARY}\r\n".encode()
    body = b"".join(delimiter + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
    return Request("/", "POST", body=body, headers=(("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),))


def upload(user: User | None, filename: str, content: bytes, **fields: str) -> Request:
    """An upload of a distribution. Fields that are not given are right for the file name."""
    project, version = filename.removesuffix(".tar.gz").split("-")[:2]
    given = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": project,
        "version": version,
        "filetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
    }
    return replace(form(given | fields, filename, content), user=user)


def removal(user: User | None, project: str, version: str) -> Request:
    """A removal of a release, pypiserver's ``remove_pkg``."""
    return replace(form({":action": "remove_pkg", "name": project, "version": version}), user=user)
