"""Small valid wheels (PEP 427), made fast: one template whose names, hashes and checksums are patched."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import struct
import zipfile
import zlib
from functools import cache

METADATA = "Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Python: >=3.8\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: pyindex-bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def filename(project: str, version: str) -> str:
    return f"{project.replace('-', '_')}-{version}-py3-none-any.whl"


def metadata(project: str, version: str) -> bytes:
    return METADATA.format(project=project, version=version).encode()


def _record_line(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def _members(project: str, version: str, payload: bytes = b"") -> dict[str, bytes]:
    module = project.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    members = {f"{module}.py": payload} if payload else {}
    members |= {f"{info}/METADATA": metadata(project, version), f"{info}/WHEEL": WHEEL.encode()}
    record = "".join(_record_line(path, content) for path, content in members.items())
    return members | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}


def _zip(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), data)
    return content.getvalue()


def padded(project: str, version: str, size: int) -> bytes:
    """Return a wheel of about `size` bytes whose content no compression makes smaller."""
    noise = base64.b64encode(os.urandom(max(3, size * 3 // 4))).decode()
    return _zip(_members(project, version, f"noise = '{noise}'\n".encode()))


class _Template:
    """The wheel of one project and version of given lengths, and where its checksums stand."""

    def __init__(self, project: str, version: str) -> None:
        self.project, self.version = project, version
        self.content = _zip(_members(project, version))
        self.checksums: dict[str, list[int]] = {}
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            for info in archive.infolist():
                # In the local header (offset 14) and in the central directory (offset 16 of its entry)
                central = self.content.index(info.filename.encode(), archive.start_dir) - 46
                self.checksums[info.filename.rpartition("/")[2]] = [info.header_offset + 14, central + 16]

    def patched(self, project: str, version: str) -> bytes:
        members = _members(project, version)
        mine = _members(self.project, self.version)
        content = self.content
        for old, new in zip(mine.values(), members.values(), strict=True):
            content = content.replace(old, new)
        for old_path, new_path in zip(mine, members, strict=True):
            content = content.replace(old_path.encode(), new_path.encode())
        patched = bytearray(content)
        for path, data in members.items():
            for offset in self.checksums[path.rpartition("/")[2]]:
                struct.pack_into("<I", patched, offset, zlib.crc32(data))
        return bytes(patched)


@cache
def _template(project_length: int, version_length: int) -> _Template:
    return _Template("t" * project_length, "9" * version_length)


def project_of(name: str) -> str:
    """Return the normalised name of the project of one of our files (PEP 503)."""
    return name.partition("-")[0].replace("_", "-")


def tiny(project: str, version: str) -> bytes:
    """Return the smallest wheel of a project: metadata only. `project` is a normalised name (PEP 503)."""
    return _template(len(project), len(version)).patched(project, version)
