"""The programs of a real pypiserver for tests: installed once from the hashed lock of the role pypiserver, into .cache.

python tests/pypiserver_programs.py    installs them
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "roles" / "pypiserver" / "files" / "requirements.txt"


def install() -> Path:
    """Return the folder of the programs, after installing them if they are not there."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode())
    target = ROOT / ".cache" / "pypiserver" / digest.hexdigest()[:16]
    if not (target / "installed").exists():
        shutil.rmtree(target, ignore_errors=True)
        venv.create(target, with_pip=True)
        pip = [
            str(target / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "--no-deps", f"--requirement={LOCK}"], check=True)
        (target / "installed").touch()
    return target / "bin"


if __name__ == "__main__":
    print(install())
