"""Reads what uploading clients send: the form of PyPI's legacy upload API.

The body is parsed while it arrives, and the file goes straight to its temporary file: one copy on
disk, none in memory. Everything that is wrong becomes a Refusal with one line for the client.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from multipart import (  # type: ignore[import-untyped]  # it has its types inside, but does not say so
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from .archives import shorten
from .distributions import DistributionError, DistributionName, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .storage import Incoming, PackageStore

# What the other fields of the form may take: a long description is the largest
FORM_BYTES: Final = 16 * 2**20
MAX_FIELDS: Final = 10_000

_WANTED: Final = frozenset({":action", "name", "version", "sha256_digest"})
_MAX_VALUE_BYTES: Final = 4096
_CHUNK: Final = 2**18


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault of the program
    """A request is answered with *status* and one line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = HTTPStatus(status)
        self.message = message


@dataclass
class Form:
    """An upload form: its wanted *fields*, and the file with the *name* it was sent under."""

    fields: dict[str, str] = field(default_factory=dict)
    name: DistributionName | None = None
    content: Incoming | None = None


class _Body:
    """The request body, at most *limit* bytes of it."""

    def __init__(self, stream: IO[bytes], limit: int, refusal: Refusal) -> None:
        self._stream = stream
        self._left = limit
        self._refusal = refusal

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise self._refusal
        return data

    def drain(self) -> None:
        """Read on to the end: a front that is still sending would not see the answer otherwise."""
        with contextlib.suppress(OSError, Refusal):
            while self.read(_CHUNK):
                pass


@contextlib.contextmanager
def read_form(environ: dict[str, Any], store: PackageStore, max_bytes: int) -> Iterator[Form]:
    """Read the form of a POST request; *max_bytes* is the largest file allowed.

    The file's temporary file is gone when the context is left. Raises Refusal, after the whole
    body was read, for everything that is wrong with the form or the file's name.
    """
    too_large = Refusal(413, f"the upload is larger than {max_bytes // 2**20} MiB, which is the limit of this index")
    length = _content_length(environ)
    if length > max_bytes + FORM_BYTES:
        raise too_large
    body = _Body(environ["wsgi.input"], max_bytes + FORM_BYTES, too_large)
    with contextlib.ExitStack() as stack:
        try:
            kind, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
            if kind == "multipart/form-data" and options.get("boundary"):
                parser = PushMultipartParser(
                    options["boundary"], content_length=length, max_segment_count=MAX_FIELDS, strict=True
                )
                form = _read_multipart(parser, body, store, stack, max_bytes)
            elif kind == "application/x-www-form-urlencoded":
                form = _read_urlencoded(body)
            else:
                raise Refusal(400, "an upload is a form of type multipart/form-data")
        except Refusal:
            body.drain()
            raise
        except ParserLimitReached:
            body.drain()
            raise Refusal(413, "the form has too many or too large fields") from None
        except (MultipartError, UnicodeDecodeError) as error:
            body.drain()
            raise Refusal(400, f"the form is damaged or broke off: {error}") from None
        yield form


def _content_length(environ: dict[str, Any]) -> int:
    text = environ.get("CONTENT_LENGTH") or "-1"
    try:
        return int(text)
    except ValueError:
        raise Refusal(400, "Content-Length is no number") from None


def _read_urlencoded(body: _Body) -> Form:
    data = body.read(_MAX_VALUE_BYTES + 1)
    if len(data) > _MAX_VALUE_BYTES:
        raise Refusal(413, "the form is too large; a file is uploaded as multipart/form-data")
    return Form({name: value for name, value in parse_qsl(data.decode()) if name in _WANTED})


class _Reader:
    """Collects the events of the multipart parser into a Form."""

    def __init__(self, store: PackageStore, stack: contextlib.ExitStack, max_bytes: int) -> None:
        self.form = Form()
        self.refusal: Refusal | None = None
        self._store = store
        self._stack = stack
        self._max_bytes = max_bytes
        self._field = ""
        self._value = bytearray()
        self._target: Incoming | None = None

    def start(self, segment: MultipartSegment) -> None:
        self._field, self._value, self._target = segment.name or "", bytearray(), None
        if self._field == "content":
            self._start_content(segment.filename)
        elif self._field == "gpg_signature":
            self._refuse(400, "this index keeps no signatures: upload the file without its .asc")
        elif self._field in self.form.fields:
            self._refuse(400, f"the form has the field {shorten(self._field)} twice")

    def _start_content(self, filename: str | None) -> None:
        if self.form.content is not None:
            self._refuse(400, "the form has several files: upload them one by one")
            return
        try:
            self.form.name = parse_name(filename or "")
        except DistributionError as error:
            text = "the field content has no file name" if not filename else str(error)
            self._refuse(400, text)
            return
        self._target = self.form.content = self._stack.enter_context(self._store.receive())

    def data(self, chunk: bytes | bytearray) -> None:
        if self._target is not None:
            if self._target.size + len(chunk) > self._max_bytes:
                self._target = None
                limit = f"{self._max_bytes // 2**20} MiB, which is the limit of this index"
                self._refuse(413, f"the file is larger than {limit}")
                return
            self._target.write(chunk)
        elif self._field in _WANTED:
            self._value += chunk
            if len(self._value) > _MAX_VALUE_BYTES:
                raise Refusal(413, f"the field {shorten(self._field)} is too long")

    def end(self) -> None:
        if self._field in _WANTED:
            self.form.fields[self._field] = self._value.decode()

    def _refuse(self, status: int, message: str) -> None:
        """Keep the first reason and read on: the answer comes when the client has sent all."""
        if self.refusal is None:
            self.refusal = Refusal(status, message)


def _read_multipart(
    parser: PushMultipartParser, body: _Body, store: PackageStore, stack: contextlib.ExitStack, max_bytes: int
) -> Form:
    reader = _Reader(store, stack, max_bytes)
    for event in parser.parse_blocking(body.read, _CHUNK):
        if event is None:
            reader.end()
        elif isinstance(event, MultipartSegment):
            reader.start(event)
        else:
            reader.data(event)
    if reader.refusal is not None:
        raise reader.refusal
    return reader.form
