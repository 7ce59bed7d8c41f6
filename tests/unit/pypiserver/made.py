"""Makes real distributions in memory, right ones and wrong ones, always the same bytes."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping


def metadata(name: str, version: str) -> bytes:
    """Return core metadata with a body."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: made\n\nName: not-this-one\n".encode()


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive with *members*."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for path, content in members.items():
            archive.writestr(zipfile.ZipInfo(path), content, compression)
    return data.getvalue()


def tar_of(members: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar.gz archive with *members*."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tar_format) as archive:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip_of(data.getvalue())


def gzip_of(data: bytes) -> bytes:
    """Return *data*, compressed."""
    return gzip.compress(data, mtime=0)


def wheel_members(
    name: str = "demo", version: str = "1.0", more: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Return what a wheel contains; RECORD, if it is not among *more*, names all of it."""
    folder = f"{name}-{version}.dist-info"
    members = {
        f"{name}/__init__.py": b"answer = 42\n" * 40,
        f"{folder}/METADATA": metadata(name, version),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\n",
        **(more or {}),
    }
    return {f"{folder}/RECORD": record_of(members, folder), **members}


def record_of(members: Mapping[str, bytes], folder: str) -> bytes:
    """Return the file RECORD, in *folder*, of a wheel with *members* (PEP 376, PEP 427)."""
    lines = [f"{path},sha256={digest(content)},{len(content)}\n" for path, content in members.items()]
    return "".join([*lines, f"{folder}/RECORD,,\n"]).encode()


def digest(content: bytes) -> str:
    """Return the SHA-256 of *content* as RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def wheel(name: str = "demo", version: str = "1.0", more: Mapping[str, bytes] | None = None) -> bytes:
    """Return a wheel."""
    return zip_of(wheel_members(name, version, more))


def sdist_members(
    name: str = "demo", version: str = "1.0", more: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Return what a source distribution contains."""
    folder = f"{name}-{version}"
    return {
        f"{folder}/PKG-INFO": metadata(name, version),
        f"{folder}/pyproject.toml": b"[project]\n",
        f"{folder}/src/{name}.egg-info/PKG-INFO": metadata(name, version),
        **(more or {}),
    }


def sdist(name: str = "demo", version: str = "1.0", more: Mapping[str, bytes] | None = None) -> bytes:
    """Return a source distribution (tar.gz)."""
    return tar_of(sdist_members(name, version, more))
