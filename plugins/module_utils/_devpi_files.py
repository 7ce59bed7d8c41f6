# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files to upload: which there are, whether each is the distribution that its name says, what its metadata are.

Standards: names of wheels and source distributions (PEP 427, PEP 625), versions (PEP 440), core metadata (PEP 566 and
later), fields of an upload as twine sends them.
"""

from __future__ import annotations

import email
import gzip
import hashlib
import os
import re
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import normalize_project
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import DevpiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

FILE, DOCUMENTATION = "file_upload", "doc_upload"
_DOC_ENDING = ".doc.zip"
_ENDINGS = (".whl", ".tar.gz", ".zip")
_MAX_METADATA = 8 * 1024 * 1024  # bytes
_CHUNK = 1024 * 1024
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_WHEEL = re.compile(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-([^-]+)-[^-]+-[^-]+\.whl")
# Appendix B of PEP 440, as far as names of files need it
_VERSION = re.compile(
    r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)"
    r"(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?"
    r"(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?"
    r"(?:[-_.]?(dev)[-_.]?(\d*))?"
    r"(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
_SHORT = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
# Fields of core metadata and what they are called in an upload; those with * may be there several times
_FIELDS = {
    "Metadata-Version": "metadata_version",
    "Name": "name",
    "Version": "version",
    "Summary": "summary",
    "Home-page": "home_page",
    "Author": "author",
    "Author-email": "author_email",
    "Maintainer": "maintainer",
    "Maintainer-email": "maintainer_email",
    "License": "license",
    "License-Expression": "license_expression",
    "License-File": "license_file*",
    "Keywords": "keywords",
    "Platform": "platform*",
    "Supported-Platform": "supported_platform*",
    "Classifier": "classifiers*",
    "Download-URL": "download_url",
    "Requires": "requires*",
    "Provides": "provides*",
    "Obsoletes": "obsoletes*",
    "Requires-Dist": "requires_dist*",
    "Provides-Dist": "provides_dist*",
    "Obsoletes-Dist": "obsoletes_dist*",
    "Requires-External": "requires_external*",
    "Requires-Python": "requires_python",
    "Project-URL": "project_urls*",
    "Description-Content-Type": "description_content_type",
    "Provides-Extra": "provides_extras*",
    "Dynamic": "dynamic*",
}


class BrokenFileError(DevpiError):
    """The file cannot be uploaded; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Candidate:
    """A file on disk and what its name says. *action* is file_upload or doc_upload."""

    path: str
    action: str
    project: str
    version: str
    python: str = ""

    @property
    def filename(self) -> str:
        return os.path.basename(self.path)


@dataclass
class Found:
    """What is to be looked at, what cannot be uploaded and why, by path, and what is something else."""

    candidates: list[Candidate] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def find(files: Iterable[str], directory: str, recursive: bool, documentation: Iterable[str]) -> Found:
    """Return the distributions among *files* and in *directory*, and the *documentation*.

    Files that are named have to be distributions; what else lies in the directory is skipped. Links to files are
    followed, links to folders are not. DevpiError when the directory cannot be listed.
    """
    result = Found()
    for path in files:
        _add(result, path)
    for path in _listed(directory, recursive) if directory else ():
        if path.endswith(_ENDINGS):
            _add(result, path)
        else:
            result.skipped.append(path)
    for path in documentation:
        _add(result, path, documentation=True)
    return result


def _add(result: Found, path: str, documentation: bool = False) -> None:
    try:
        result.candidates.append(candidate(path, documentation))
    except BrokenFileError as error:
        result.broken[path] = str(error)


def _listed(directory: str, recursive: bool) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise DevpiError(f"The folder {error.filename} cannot be listed: {error.strerror}")

    for folder, folders, names in os.walk(directory, onerror=fail):
        folders[:] = sorted(folders) if recursive else []
        for name in sorted(names):
            yield os.path.join(folder, name)


def candidate(path: str, documentation: bool = False) -> Candidate:
    """Take the name of the file at *path* apart; BrokenFileError when it is no name of a distribution."""
    name = os.path.basename(path)
    if not _SAFE_NAME.fullmatch(name) or len(name) > 255:
        raise BrokenFileError("its name has other characters than letters, digits and . _ + ! -")
    if documentation or name.endswith(_DOC_ENDING):
        if not name.endswith(_DOC_ENDING):
            raise BrokenFileError(f"documentation has to be named PROJECT-VERSION{_DOC_ENDING}")
        project, dash, version = name[: -len(_DOC_ENDING)].rpartition("-")
        action, python = DOCUMENTATION, ""
    elif name.endswith(".whl"):
        wheel = _WHEEL.fullmatch(name)
        if not wheel:
            raise BrokenFileError("its name is not one of a wheel, PROJECT-VERSION-PYTHON-ABI-PLATFORM.whl")
        project, version, python = wheel.groups()
        action, dash = FILE, "-"
    elif name.endswith((".tar.gz", ".zip")):
        project, dash, version = re.sub(r"(\.tar\.gz|\.zip)$", "", name).rpartition("-")
        action, python = FILE, "source"
    else:
        raise BrokenFileError("it is neither a wheel (.whl) nor a source distribution (.tar.gz, .zip)")
    if not (dash and project and version):
        raise BrokenFileError("its name has no version in it")
    return Candidate(path, action, normalize_project(project), version, python)


def open_file(path: str) -> IO[bytes]:
    """Open the file at *path* for reading; BrokenFileError when it is gone, not readable, or no regular file."""
    try:
        # Without O_NONBLOCK a named pipe would be waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        gone = "it is a link to nowhere" if os.path.islink(path) else "it is not there (any more)"
        raise BrokenFileError(gone) from None
    except OSError as error:
        raise BrokenFileError(f"it cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BrokenFileError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def sha256_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of all of *file*, in hexadecimal digits."""
    digest = hashlib.sha256()
    file.seek(0)
    try:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    except OSError as error:
        raise BrokenFileError(f"it cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def fields_of(file: IO[bytes], candidate: Candidate) -> list[tuple[str, str]]:
    """Read all of *file* and return the fields of its upload; BrokenFileError when it is not what its name says."""
    file.seek(0)
    try:
        if candidate.action == DOCUMENTATION:
            _check_documentation(file)
            return [("name", candidate.project), ("version", candidate.version)]
        if candidate.filename.endswith(".tar.gz"):
            metadata = _tar_metadata(file)
        else:
            metadata = _zip_metadata(file, is_wheel=bool(candidate.filename.endswith(".whl")))
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BrokenFileError(f"it is damaged or truncated: {' '.join(str(error).split())}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise BrokenFileError(f"it cannot be read: {' '.join(str(error).split())}") from None
    fields = _form(metadata)
    _compare(dict(fields), candidate)
    kind = "bdist_wheel" if candidate.filename.endswith(".whl") else "sdist"
    return [*fields, ("filetype", kind), ("pyversion", candidate.python)]


def _zip_metadata(file: IO[bytes], is_wheel: bool) -> bytes:
    with zipfile.ZipFile(file) as archive:
        ending = ".dist-info/METADATA" if is_wheel else "/PKG-INFO"
        found = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith(ending)]
        if len(found) != 1:
            raise BrokenFileError(f"it has {len(found)} files *{ending}, not one")
        _check_zip(archive)
        return _limited(archive.open(found[0]))


def _check_zip(archive: zipfile.ZipFile) -> None:
    damaged = archive.testzip()
    if damaged is not None:
        raise BrokenFileError(f"it is damaged: the checksum of {damaged} in it is wrong")


def _check_documentation(file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        if "index.html" not in archive.namelist():
            raise BrokenFileError("there is no index.html at its top, so that there would be no page to show")
        _check_zip(archive)


def _tar_metadata(file: IO[bytes]) -> bytes:
    # gzip has one checksum at its very end
    with gzip.GzipFile(fileobj=file) as whole:
        for _chunk in iter(lambda: whole.read(_CHUNK), b""):
            pass
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            content = archive.extractfile(member) if path.count("/") == 1 and path.endswith("/PKG-INFO") else None
            if content is not None:
                return _limited(content)
    raise BrokenFileError("there is no PKG-INFO in its top folder")


def _limited(stream: IO[bytes]) -> bytes:
    with stream:
        data = stream.read(_MAX_METADATA + 1)
    if len(data) > _MAX_METADATA:
        raise BrokenFileError(f"its metadata are larger than {_MAX_METADATA} bytes")
    return data


def _form(metadata: bytes) -> list[tuple[str, str]]:
    message = email.message_from_string(metadata.decode("utf-8", "replace"))
    fields = []
    for header, target in _FIELDS.items():
        values = [str(value).strip() for value in message.get_all(header, [])]
        name = target.rstrip("*")
        fields += [(name, value) for value in (values if target.endswith("*") else values[:1]) if value]
    description = str(message.get_payload() or message.get("Description") or "")
    if description.strip():
        fields.append(("description", description))
    return fields


def _compare(fields: dict[str, str], candidate: Candidate) -> None:
    name, version = fields.get("name", ""), fields.get("version", "")
    if normalize_project(name) != candidate.project:
        raise BrokenFileError(f"its metadata say project {name!r}, its name says {candidate.project!r}")
    if normalize_version(version) != normalize_version(candidate.version):
        raise BrokenFileError(f"its metadata say version {version!r}, its name says {candidate.version!r}")


def normalize_version(text: str) -> str:
    """Return the version in the form in which two spellings of one version are equal (PEP 440)."""
    text = text.strip().lower()
    # Names of files have _ where a local version has - or .
    found = _VERSION.fullmatch(text) or _VERSION.fullmatch(text.replace("_", "+", 1))
    if not found:
        return re.sub(r"[-_.]+", ".", text)
    epoch, release, pre, pre_number, short_post, post, post_number, dev, dev_number, local = found.groups()
    numbers = [str(int(number)) for number in release.split(".")]
    while len(numbers) > 1 and numbers[-1] == "0":
        numbers.pop()
    parts = [f"{int(epoch or 0)}!", ".".join(numbers)]
    if pre:
        parts.append(f"{_SHORT.get(pre, pre)}{int(pre_number or 0)}")
    if post or short_post:
        parts.append(f".post{int(short_post or post_number or 0)}")
    if dev:
        parts.append(f".dev{int(dev_number or 0)}")
    if local:
        parts.append("+" + re.sub(r"[-_.]+", ".", local))
    return "".join(parts)
