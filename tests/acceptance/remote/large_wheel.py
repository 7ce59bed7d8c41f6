"""Runs on a host of the fleet, read from standard input: makes a large wheel of random bytes."""

from __future__ import annotations

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
    payload = f"{module}/random.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(payload, "w", force_zip64=True) as member:
            for _unused in range(job["megabytes"]):
                member.write(os.urandom(CHUNK))
        for name, text in texts.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [payload, *texts, f"{info}/RECORD"]))
    owner = folder.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return {"path": str(path), "sha256": digest.hexdigest()}
            digest.update(chunk)
