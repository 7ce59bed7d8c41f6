"""Reads source distributions as tar.gz: forwards, once, whatever their headers claim.

The tarfile module reads extended headers of any length into memory and keeps every member, so only
its parser of single headers is used here.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import IO, TYPE_CHECKING, Final

from .archives import CHUNK, MAX_MEMBERS, MAX_METADATA_BYTES, ArchiveError, check_member, expanded_limit, shorten
from .links import Links

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADERS: Final = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def read_sdist(file: IO[bytes]) -> bytes:
    """Read all of the source distribution *file* (tar.gz) and return its PKG-INFO; raise ArchiveError if it is none."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    metadata: bytes | None = None
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        for data in _pkg_infos(_Bounded(stream, expanded_limit(size))):
            if metadata is not None:
                raise ArchiveError("has several files PKG-INFO in its top folder, not one")
            metadata = data
    if metadata is None:
        raise ArchiveError("has no file PKG-INFO in its top folder")
    return metadata


def is_pkg_info(path: str) -> bool:
    """Return whether *path* is that of the metadata of a source distribution."""
    parts = path.removeprefix("./").split("/")
    return len(parts) == 2 and parts[1] == "PKG-INFO"


class _Bounded:
    """Reads a decompressed stream forwards and stops where a bomb would go on."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int) -> bytes:
        """Return exactly *size* bytes; fewer only at the end of the stream."""
        self._left -= size
        if self._left < 0:
            raise ArchiveError("grows beyond what it may when unpacked")
        return self._stream.read(size)

    def exactly(self, size: int) -> bytes:
        """Return exactly *size* bytes of metadata or raise."""
        if size > MAX_METADATA_BYTES:
            raise ArchiveError(f"has metadata of over {MAX_METADATA_BYTES} bytes")
        data = self.read(size)
        if len(data) < size:
            raise EOFError("the archive ends early")
        return data

    def skip(self, size: int) -> None:
        """Pass over *size* bytes."""
        while size > 0:
            got = len(self.read(min(size, CHUNK)))
            if not got:
                raise EOFError("the archive ends early")
            size -= got

    def drain(self) -> None:
        """Read on to the end, where gzip compares length and checksum."""
        while self.read(CHUNK):
            pass


def _pkg_infos(stream: _Bounded) -> Iterator[bytes]:
    """Yield the content of every PKG-INFO in the top folder of the tar archive *stream*; check all members."""
    # What extended headers say of the next member, by the names that POSIX gives it
    more: dict[str, str] = {}
    links = Links()
    for _unused in range(MAX_MEMBERS):
        block = _header(stream)
        if block is None:
            if more:
                raise EOFError("the last member is missing")
            stream.drain()
            links.finish()
            return
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if info.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        padded = -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if info.type in _HEADERS:
            more |= _extended(info.type, stream.exactly(padded)[: info.size])
            continue
        path, target = more.get("path", info.name), more.get("linkpath", info.linkname)
        more = {}
        check_member(path)
        links.check_member(path)
        _check_kind(info, path)
        if info.issym():
            links.add_symbolic(path, target)
        elif info.islnk():
            links.check_hard(path, target)
        if info.isreg() and is_pkg_info(path):
            yield stream.exactly(padded)[: info.size]
        elif info.isreg():
            stream.skip(padded)
    raise ArchiveError(f"has more than {MAX_MEMBERS} members")


def _header(stream: _Bounded) -> bytes | None:
    """Return the next header; None for the empty block at the end, which some programs leave out."""
    block = stream.read(tarfile.BLOCKSIZE)
    if len(block) not in (0, tarfile.BLOCKSIZE):
        raise EOFError("the archive ends early")
    return block if any(block) else None


def _check_kind(info: tarfile.TarInfo, path: str) -> None:
    """Raise ArchiveError for a member that is no file, folder or link."""
    if info.type == tarfile.GNUTYPE_SPARSE:
        raise ArchiveError(f"has sparse members ({shorten(path)}), which a source distribution has not")
    if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        raise ArchiveError(f"has a member that is neither file nor folder nor link: {shorten(path)}")


def _extended(kind: bytes, content: bytes) -> dict[str, str]:
    """Return what the *content* of an extended header of this *kind* says of the next member."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    if kind == tarfile.GNUTYPE_LONGLINK:
        return {"linkpath": content.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    found = _pax(content)
    if found and kind == tarfile.XGLTYPE:
        raise ArchiveError("has one name for all of its members")
    return found


def _pax(records: bytes) -> dict[str, str]:
    """Return the values of the extended header *records* (POSIX.1-2001) that matter here."""
    found = {}
    while records:
        length_text, _unused, _other = records.partition(b" ")
        if not length_text.isdigit() or len(length_text) > 8 or not 0 < int(length_text) <= len(records):
            raise tarfile.ReadError("an extended header is damaged")
        keyword, _unused, value = records[len(length_text) + 1 : int(length_text)].partition(b"=")
        if keyword.startswith(b"GNU.sparse") or keyword == b"size":
            # Another size than in the plain header is for files of 8 GiB and more
            raise ArchiveError("has sparse or huge members, which a source distribution has not")
        if keyword in (b"path", b"linkpath"):
            found[keyword.decode()] = value.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        records = records[int(length_text) :]
    return found
