"""Reads what is published: pages and files as the web server in front finds them, and what it does not find.

The web server answers most requests itself, from the same folders. It leaves to this the redirects
that the standard asks for (PEP 503), the errors, and the list of all files.
"""

from __future__ import annotations

import html
import os
import re
import stat
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import quote

from packaging.utils import canonicalize_name

from .archives import shorten
from .pages import CONTENT_TYPES, METADATA_SUFFIX, negotiate
from .publishing import LIST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .storage import PackageStore

Environ = dict[str, Any]

_CHUNK: Final = 2**18
_BATCH: Final = 1000
# pip waits so long up to five times: about what the largest index takes
_RETRY_SECONDS: Final = "10"
_PROJECT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*", re.ASCII)


@dataclass(frozen=True)
class Plain:
    """An answer of one line."""

    status: HTTPStatus
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Content:
    """An answer 200 with a body of *length* bytes, or of any length."""

    body: Iterable[bytes]
    content_type: str
    length: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)

    def send(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer the request (PEP 3333)."""
        length = [] if self.length is None else [("Content-Length", str(self.length))]
        start_response("200 OK", [("Content-Type", self.content_type), *length, *self.headers])
        if environ["REQUEST_METHOD"] == "HEAD":
            if isinstance(self.body, _File):
                self.body.close()
            return []
        return self.body


class _File:
    """The rest of an open file, in pieces."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK):
            yield chunk

    def close(self) -> None:
        self._file.close()


class Published:
    """What is below ``/simple`` and ``/packages``."""

    def __init__(self, store: PackageStore) -> None:
        self._packages = store.root
        self._publisher = store.publisher

    def __call__(self, environ: Environ, path: str) -> Content | Plain | None:
        """Answer a request for *path*, below the URL path of the index; None for what is elsewhere."""
        if path == "/simple" or path == "/packages":
            return _moved(environ, f"{path}/")
        if path.startswith("/simple/"):
            return self._page(environ, path.removeprefix("/simple/"))
        if path == "/packages/":
            return Content(self._all_files(), "text/html; charset=utf-8")
        if path.startswith("/packages/"):
            return self._file(path.removeprefix("/packages/"))
        return None

    def _page(self, environ: Environ, rest: str) -> Content | Plain:
        project, slash, more = rest.partition("/")
        if more or (project and not _PROJECT.fullmatch(project)):
            return _missing("page")
        if project and (not slash or project != canonicalize_name(project)):
            return _moved(environ, f"/simple/{canonicalize_name(project)}/")
        form = negotiate(environ.get("HTTP_ACCEPT", ""))
        answer = _open(Path(f"{self._publisher.page(project or LIST)}.{form}"), CONTENT_TYPES[form])
        if isinstance(answer, Content):
            answer.headers.append(("Vary", "Accept"))
        elif not self._publisher.is_whole:
            # An installer would take "not found" for an answer
            message = "the pages of this index are being made: try again in a moment"
            return Plain(HTTPStatus.SERVICE_UNAVAILABLE, message, (("Retry-After", _RETRY_SECONDS),))
        elif project:
            return Plain(HTTPStatus.NOT_FOUND, f"there is no project {shorten(project)} in this index")
        return answer

    def _file(self, name: str) -> Content | Plain:
        if not _FILE.fullmatch(name):
            return _missing("file")
        wheel = name.removesuffix(METADATA_SUFFIX)
        if wheel != name:
            return _open(self._publisher.metadata / name, "text/plain; charset=utf-8")
        return _open(self._packages / name, "application/octet-stream")

    def _all_files(self) -> Iterator[bytes]:
        """Yield the page with all files, some at a time: there may be many."""
        yield (
            b'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>All files</title></head>\n'
            b"<body>\n<h1>All files</h1>\n"
        )
        last = ""
        while batch := self._publisher.records.published_names(last, _BATCH):
            last = batch[-1][0]
            yield "".join(
                [f'<a href="{quote(name)}#sha256={digest}">{html.escape(name)}</a><br>\n' for name, digest in batch]
            ).encode()
        yield b"</body>\n</html>\n"


def origin_of(environ: Environ) -> str:
    """Return scheme and host as the client used them."""
    scheme = environ.get("HTTP_X_FORWARDED_PROTO") or environ.get("wsgi.url_scheme", "http")
    return f"{scheme}://{host_of(environ)}"


def host_of(environ: Environ) -> str:
    """Return host and port as the client used them."""
    host: str = environ.get("HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST") or "localhost"
    return host


def _moved(environ: Environ, path: str) -> Plain:
    location = f"{origin_of(environ)}{quote(environ['SCRIPT_NAME'])}{path}"
    return Plain(HTTPStatus.MOVED_PERMANENTLY, location, (("Location", location),))


def _missing(what: str) -> Plain:
    return Plain(HTTPStatus.NOT_FOUND, f"there is no such {what} in this index")


def _open(path: Path, content_type: str) -> Content | Plain:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return _missing("file")
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return _missing("file")
    # As the web server in front makes them
    headers = [
        ("Last-Modified", formatdate(status.st_mtime, usegmt=True)),
        ("ETag", f'"{int(status.st_mtime):x}-{status.st_size:x}"'),
    ]
    return Content(_File(os.fdopen(descriptor, "rb")), content_type, status.st_size, headers)
