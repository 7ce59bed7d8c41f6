"""Runs on a host of the fleet, read from standard input: makes a large wheel of random bytes."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

CHUNK = 2**20


def main(job: dict[str, Any]) -> dict[str, str]:
    """Write a wheel of release ``module`` ``version`` with ``megabytes`` of random bytes into ``folder``, for its
    owner; return its ``path`` and ``sha256``. Raises OSError when the disk has not three times that much left."""
    folder, module, version = Path(job["folder"]), job["module"], job["version"]
    if shutil.disk_usage(folder).free < 3 * job["megabytes"] * CHUNK:
        raise OSError(f"{folder} has not enough space left")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: acceptance\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    payload, digest = f"{module}/random.bin", hashlib.sha256()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(payload, "w", force_zip64=True) as member:
            for _unused in range(job["megabytes"]):
                chunk = os.urandom(CHUNK)
                digest.update(chunk)
                member.write(chunk)
        lines = [_line(payload, digest.digest(), job["megabytes"] * CHUNK)]
        for name, text in texts.items():
            archive.writestr(name, text)
            lines.append(_line(name, hashlib.sha256(text.encode()).digest(), len(text.encode())))
        archive.writestr(f"{info}/RECORD", "".join(lines) + f"{info}/RECORD,,\n")
    owner = folder.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return {"path": str(path), "sha256": digest.hexdigest()}
            digest.update(chunk)


def _line(name: str, digest: bytes, size: int) -> str:
    """A line of RECORD."""
    return f"{name},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{size}\n"
