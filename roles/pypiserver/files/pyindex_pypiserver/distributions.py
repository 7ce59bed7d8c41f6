"""Is a file a readable wheel or source distribution, and is it the one its name says?

Standards: file names by the binary distribution format (PEP 427) and the source distribution
format (PEP 625, and the older spellings), names compared as PEP 503 normalises them, versions as
PEP 440 orders them. Nothing is unpacked, and memory stays bounded whatever the file claims.
"""

from __future__ import annotations

import errno
import gzip
import io
import re
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import IO, TYPE_CHECKING, Final

from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version
from pypiserver.pkg_helpers import guess_pkgname_and_version

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAME_BYTES: Final = 255
MAX_METADATA_BYTES: Final = 8 * 2**20
MAX_MEMBERS: Final = 100_000
MAX_DIRECTORY_BYTES: Final = 16 * 2**20
# What a compressed archive may grow to: a bomb reaches a thousandfold, text a tenfold
MAX_EXPANSION: Final = 200
MIN_EXPANDED_BYTES: Final = 64 * 2**20
MAX_EXPANDED_BYTES: Final = 8 * 2**30

_CHUNK: Final = 2**18
_MAX_REQUIRES_PYTHON: Final = 500
_END_OF_HEADERS: Final = re.compile(rb"\r?\n\r?\n")
# Headers that every parser takes for the same ones, and those of them that are looked at
_PLAIN_HEADERS: Final = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*)+(?:\r?\n)?")
_WANTED_HEADERS: Final = re.compile(
    rb"^(name|version|requires-python):(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE
)
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


class DistributionError(ValueError):
    """The file is refused; the message is one line for the person who uploaded it."""


@dataclass(frozen=True)
class DistributionName:
    """The file name of a distribution, taken apart.

    ``key`` is equal for two spellings of the same thing: two file names of one wheel
    (``My.Demo-1.0-…`` and ``my_demo-1.0-…``), or two source distributions of one release.
    """

    text: str
    project: NormalizedName
    version: Version
    is_wheel: bool
    key: tuple[object, ...]


@dataclass(frozen=True)
class Metadata:
    """The core metadata of a distribution: as it is, and what a project page shows of it."""

    content: bytes
    requires_python: str | None


def parse_name(text: str) -> DistributionName:
    """Take the file name *text* apart.

    Raises DistributionError for names with a folder or odd characters, for other kinds of files
    than ``.whl``, ``.tar.gz`` and ``.zip``, and for those that pypiserver would list elsewhere.
    """
    shown = shorten(text)
    if not _SAFE_NAME.fullmatch(text) or len(text) > MAX_NAME_BYTES:
        raise DistributionError(
            f"the file name {shown} is not allowed: letters, digits and . _ + ! - only, no folder, "
            f"at most {MAX_NAME_BYTES} characters"
        )
    key: tuple[object, ...]
    try:
        if text.endswith(".whl"):
            project, version, build, tags = parse_wheel_filename(text)
            key = ("wheel", project, version, build, tags)
        elif text.endswith((".tar.gz", ".zip")):
            project, version = parse_sdist_filename(text)
            key = ("sdist", project, version)
        else:
            raise DistributionError(f"{shown} is neither a wheel (.whl) nor a source distribution (.tar.gz, .zip)")
        canonicalize_name(project, validate=True)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidName) as error:
        raise DistributionError(f"{shown} is not named as a wheel or source distribution is: {_line(error)}") from None
    guess = guess_pkgname_and_version(text)
    if guess is None or canonicalize_name(guess[0]) != project:
        raise DistributionError(
            f"the file name {shown} is ambiguous: write the project as {project.replace('-', '_')} (PEP 625)"
        )
    return DistributionName(text, project, version, text.endswith(".whl"), key)


def check_file(file: IO[bytes], name: DistributionName) -> Metadata:
    """Read the distribution *file* (seekable), compare it with its *name*, and return its metadata.

    Raises DistributionError when it is damaged, truncated, something else, a bomb, has members
    outside its own folder, or names another project or version inside.
    """
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    try:
        if name.is_wheel:
            metadata = _wheel_metadata(file, magic, name)
        elif name.text.endswith(".zip"):
            metadata = _zip_sdist_metadata(file, magic, name)
        else:
            metadata = _tar_sdist_metadata(file, magic, name)
    except DistributionError:
        raise
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, struct.error) as error:
        raise DistributionError(f"{name.text} is damaged or truncated: {_line(error)}") from None
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise DistributionError(f"{name.text} cannot be read: {_line(error)}") from None
    except OSError as error:
        # What a damaged archive points at can lie before the start of the file
        if error.errno != errno.EINVAL:
            raise
        raise DistributionError(f"{name.text} is damaged or truncated: {_line(error)}") from None
    return Metadata(metadata, _compare(metadata, name))


def compare_form(name: DistributionName, project: str | None, version: str | None) -> None:
    """Compare the fields *project* and *version* of an upload form with the file's *name*.

    Fields that were not sent are not compared. Raises DistributionError when they differ.
    """
    if project and canonicalize_name(project) != name.project:
        raise DistributionError(f"the form says project {shorten(project)}, the file name says {name.project}")
    if version and not _same_version(version, name.version):
        raise DistributionError(f"the form says version {shorten(version)}, the file name says {name.version}")


def shorten(text: str, length: int = 120) -> str:
    """Return *text* quoted, printable ASCII on one line, at most about *length* characters."""
    return ascii(text if len(text) <= length else text[:length] + "...")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.encode("ascii", "replace").decode()[:200]


def _same_version(text: str, version: Version) -> bool:
    try:
        return Version(text) == version
    except InvalidVersion:
        return False


def _compare(metadata: bytes, name: DistributionName) -> str | None:
    """Compare *metadata* with *name*; return Requires-Python, which is any text, on one line."""
    headers = _headers(metadata)
    found = {}
    for field in ("name", "version"):
        if len(headers[field]) != 1:
            count = len(headers[field])
            raise DistributionError(f"{name.text}: its metadata has {count} fields {field.title()}, not one")
        found[field] = headers[field][0].strip()
    if canonicalize_name(found["name"]) != name.project:
        raise DistributionError(f"{name.text} contains the project {shorten(found['name'])}, not {name.project}")
    if not _same_version(found["version"], name.version):
        raise DistributionError(f"{name.text} contains version {shorten(found['version'])}, not {name.version}")
    requires = " ".join((headers["requires-python"] or [""])[0].split()).encode("utf-8", "replace").decode()
    # Longer than any condition: shown, it would bloat the page for everybody
    return requires if 0 < len(requires) <= _MAX_REQUIRES_PYTHON else None


def _headers(metadata: bytes) -> dict[str, list[str]]:
    """Return the values of the headers that are looked at, as installers read them: with the email parser.

    It takes as long as all other checks together, so what it surely reads so is read without it.
    """
    end = _END_OF_HEADERS.search(metadata)
    text = metadata[: end.end()] if end else metadata
    found: dict[str, list[str]] = {"name": [], "version": [], "requires-python": []}
    if text.isascii() and _PLAIN_HEADERS.fullmatch(text):
        for header, value in _WANTED_HEADERS.findall(text):
            found[header.decode().lower()].append(value.decode())
    else:
        headers = BytesHeaderParser().parsebytes(text)
        for header in found:
            found[header] = [str(value) for value in headers.get_all(header, [])]
    return found


def _check_member(member: str, name: DistributionName) -> None:
    path = member.replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
        raise DistributionError(f"{name.text} has a member outside its own folder: {shorten(member)}")


# Wheels, and source distributions as zip


def _open_zip(file: IO[bytes], magic: bytes, name: DistributionName) -> zipfile.ZipFile:
    if magic != b"PK\x03\x04":
        raise DistributionError(f"{name.text} is no zip archive, which a {'wheel' if name.is_wheel else '.zip'} is")
    _check_directory_size(file, name)
    archive = zipfile.ZipFile(file)
    for member in archive.infolist():
        _check_member(member.filename, name)
    return archive


def _check_directory_size(file: IO[bytes], name: DistributionName) -> None:
    """Refuse a huge table of contents before zipfile reads it into memory (APPNOTE 4.3.14, 4.3.16)."""
    size = file.seek(0, io.SEEK_END)
    start = max(0, size - 22 - 65535 - 20)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise DistributionError(f"{name.text} is damaged or truncated: its table of contents is missing")
    (length,) = struct.unpack_from("<L", tail, end + 12)
    stop = start + end
    if tail[max(0, end - 20) : end][:4] == b"PK\x06\x07":
        (offset,) = struct.unpack_from("<Q", tail, end - 20 + 8)
        file.seek(min(offset, size))
        record = file.read(56)
        if len(record) == 56 and record[:4] == b"PK\x06\x06":
            (length,) = struct.unpack_from("<Q", record, 40)
            stop -= 20 + 56
    # The number of members that the archive states is a claim only: count what zipfile will find
    file.seek(max(0, stop - length))
    if length > MAX_DIRECTORY_BYTES or file.read(length).count(b"PK\x01\x02") > MAX_MEMBERS:
        raise DistributionError(f"{name.text} has more than {MAX_MEMBERS} members or too large a table of contents")
    file.seek(0)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: DistributionName) -> bytes:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DistributionError(f"{name.text}: {shorten(member.filename)} is neither stored nor deflated")
    with archive.open(member) as stream:
        data = stream.read(MAX_METADATA_BYTES + 1)
        if len(data) > MAX_METADATA_BYTES:
            raise DistributionError(f"{name.text}: {shorten(member.filename)} is over {MAX_METADATA_BYTES} bytes")
    return data


def _wheel_metadata(file: IO[bytes], magic: bytes, name: DistributionName) -> bytes:
    with _open_zip(file, magic, name) as archive:
        found: dict[str, list[zipfile.ZipInfo]] = {}
        folders = set()
        for member in archive.infolist():
            folder, _unused, rest = member.filename.partition("/")
            if folder.endswith(".dist-info"):
                folders.add(folder)
                found.setdefault(rest, []).append(member)
        if len(folders) != 1:
            raise DistributionError(f"{name.text} has {len(folders)} folders .dist-info, not one")
        project, _unused, version = folders.pop().removesuffix(".dist-info").rpartition("-")
        if canonicalize_name(project) != name.project or not _same_version(version, name.version):
            raise DistributionError(f"{name.text} contains {shorten(f'{project} {version}')}, not what its name says")
        for needed in ("METADATA", "WHEEL", "RECORD"):
            if len(found.get(needed, [])) != 1:
                raise DistributionError(f"{name.text} has {len(found.get(needed, []))} files {needed}, not one")
        return _read_member(archive, found["METADATA"][0], name)


def _zip_sdist_metadata(file: IO[bytes], magic: bytes, name: DistributionName) -> bytes:
    with _open_zip(file, magic, name) as archive:
        members = [member for member in archive.infolist() if _is_pkg_info(member.filename)]
        if len(members) != 1:
            raise DistributionError(f"{name.text} has {len(members)} files PKG-INFO in its top folder, not one")
        return _read_member(archive, members[0], name)


# Source distributions as tar.gz


def _tar_sdist_metadata(file: IO[bytes], magic: bytes, name: DistributionName) -> bytes:
    if magic[:2] != b"\x1f\x8b":
        raise DistributionError(f"{name.text} is no gzip archive, which a .tar.gz is")
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    limit = min(MAX_EXPANDED_BYTES, max(MIN_EXPANDED_BYTES, MAX_EXPANSION * size))
    metadata: bytes | None = None
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        for data in _pkg_infos(_Bounded(stream, limit, name)):
            if metadata is not None:
                raise DistributionError(f"{name.text} has several files PKG-INFO in its top folder, not one")
            metadata = data
    if metadata is None:
        raise DistributionError(f"{name.text} has no file PKG-INFO in its top folder")
    return metadata


def _is_pkg_info(path: str) -> bool:
    parts = path.removeprefix("./").split("/")
    return len(parts) == 2 and parts[1] == "PKG-INFO"


class _Bounded:
    """Reads a decompressed stream forwards and stops where a bomb would go on."""

    def __init__(self, stream: gzip.GzipFile, limit: int, name: DistributionName) -> None:
        self.name = name
        self._stream = stream
        self._left = limit

    def read(self, size: int) -> bytes:
        """Return exactly *size* bytes; fewer only at the end of the stream."""
        self._left -= size
        if self._left < 0:
            raise DistributionError(f"{self.name.text} grows beyond what a source distribution may when unpacked")
        return self._stream.read(size)

    def exactly(self, size: int) -> bytes:
        """Return exactly *size* bytes of metadata or raise."""
        if size > MAX_METADATA_BYTES:
            raise DistributionError(f"{self.name.text}: its metadata is over {MAX_METADATA_BYTES} bytes")
        data = self.read(size)
        if len(data) < size:
            raise EOFError("the archive ends early")
        return data

    def skip(self, size: int) -> None:
        """Pass over *size* bytes."""
        while size > 0:
            got = len(self.read(min(size, _CHUNK)))
            if not got:
                raise EOFError("the archive ends early")
            size -= got

    def drain(self) -> None:
        """Read on to the end, where gzip compares length and checksum."""
        while self.read(_CHUNK):
            pass


def _pkg_infos(stream: _Bounded) -> Iterator[bytes]:
    """Yield the content of every PKG-INFO in the top folder of the tar archive *stream*; check all members.

    The tarfile module reads extended headers of any length into memory and keeps every member,
    so only its parser of single headers is used here.
    """
    long_name: str | None = None
    for _unused in range(MAX_MEMBERS):
        block = stream.exactly(tarfile.BLOCKSIZE)
        if not any(block):
            stream.drain()
            return
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if info.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        padded = -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            long_name = _pax_path(stream.exactly(padded)[: info.size]) or long_name
        elif info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = stream.exactly(padded)[: info.size].rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif info.type in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            stream.skip(padded)
        elif info.type == tarfile.GNUTYPE_SPARSE:
            raise DistributionError(f"{stream.name.text} has sparse members, which a source distribution has not")
        else:
            path, long_name = long_name or info.name, None
            _check_member(path, stream.name)
            if info.isreg() and _is_pkg_info(path):
                yield stream.exactly(padded)[: info.size]
            elif info.isreg() or info.type not in tarfile.SUPPORTED_TYPES:
                stream.skip(padded)
    raise DistributionError(f"{stream.name.text} has more than {MAX_MEMBERS} members")


def _pax_path(records: bytes) -> str | None:
    """Return the path that the extended header *records* (POSIX.1-2001) give, if any."""
    path = None
    while records:
        length_text, _unused, _other = records.partition(b" ")
        if not length_text.isdigit() or not 0 < int(length_text) <= len(records):
            raise tarfile.ReadError("an extended header is damaged")
        keyword, _unused, value = records[len(length_text) + 1 : int(length_text)].partition(b"=")
        if keyword == b"path":
            path = value.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        records = records[int(length_text) :]
    return path
