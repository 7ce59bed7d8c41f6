"""Is a file a readable wheel or source distribution, and is it the one its name says?

Standards: file names by the binary distribution format (PEP 427) and the source distribution
format (PEP 625, and the older spellings), names compared as PEP 503 normalises them, versions as
PEP 440 orders them. Nothing is unpacked, and memory stays bounded whatever the file claims.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import IO, Final

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

from .archives import MAX_METADATA_BYTES, ArchiveError, shorten
from .tars import is_pkg_info, read_sdist
from .wheels import read_wheel
from .zips import Zip

# A file system takes 255, and the metadata file that is being written has ten more
MAX_NAME_BYTES: Final = 245

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
    if not _SAFE_NAME.fullmatch(text) or len(text) > MAX_NAME_BYTES:
        raise DistributionError(
            f"the file name {shorten(text)} is not allowed: letters, digits and . _ + ! - only, no folder, "
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
            raise DistributionError(
                f"{shorten(text)} is neither a wheel (.whl) nor a source distribution (.tar.gz, .zip)"
            )
        canonicalize_name(project, validate=True)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidName) as error:
        raise DistributionError(
            f"{shorten(text)} is not named as a wheel or source distribution is: {_line(error)}"
        ) from None
    guess = guess_pkgname_and_version(text)
    if guess is None or canonicalize_name(guess[0]) != project:
        raise DistributionError(
            f"the file name {shorten(text)} is ambiguous: write the project as {project.replace('-', '_')} (PEP 625)"
        )
    return DistributionName(text, project, version, text.endswith(".whl"), key)


def check_file(file: IO[bytes], name: DistributionName) -> Metadata:
    """Read the distribution *file* (seekable), compare it with its *name*, and return its metadata.

    Raises DistributionError when it is damaged, truncated, something else, a bomb, can be read in
    two ways, has members outside its own folder, names another project or version inside, or, as a
    wheel, is not what its RECORD says.
    """
    file.seek(0)
    magic = file.read(4)
    try:
        if name.text.endswith(".tar.gz"):
            _require(magic.startswith(b"\x1f\x8b"), "is no gzip archive, which a .tar.gz is")
            metadata = read_sdist(file)
        else:
            _require(magic == b"PK\x03\x04", f"is no zip archive, which a {'wheel' if name.is_wheel else '.zip'} is")
            metadata = _wheel_metadata(file, name) if name.is_wheel else _zip_sdist_metadata(file)
    except ArchiveError as error:
        raise DistributionError(f"{name.text} {error}") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise DistributionError(f"{name.text} is damaged or truncated: {_line(error)}") from None
    return Metadata(metadata, _compare(metadata, name))


def _require(right: bool, otherwise: str) -> None:
    if not right:
        raise ArchiveError(otherwise)


def compare_form(name: DistributionName, project: str | None, version: str | None) -> None:
    """Compare the fields *project* and *version* of an upload form with the file's *name*.

    Fields that were not sent are not compared. Raises DistributionError when they differ.
    """
    if project and canonicalize_name(project) != name.project:
        raise DistributionError(f"the form says project {shorten(project)}, the file name says {name.project}")
    if version and not _same_version(version, name.version):
        raise DistributionError(f"the form says version {shorten(version)}, the file name says {name.version}")


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


def _wheel_metadata(file: IO[bytes], name: DistributionName) -> bytes:
    wheel = read_wheel(file)
    project, _unused, version = wheel.folder.removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(project) != name.project or not _same_version(version, name.version):
        raise ArchiveError(f"contains {shorten(f'{project} {version}')}, not what its name says")
    return wheel.metadata


def _zip_sdist_metadata(file: IO[bytes]) -> bytes:
    archive = Zip(file)
    found = [member for path, member in archive.members.items() if is_pkg_info(path)]
    if len(found) != 1:
        raise ArchiveError(f"has {len(found)} files PKG-INFO in its top folder, not one")
    for member in archive.members.values():
        archive.stream(member, lambda _unused: None)
    return archive.read(found[0], MAX_METADATA_BYTES)
