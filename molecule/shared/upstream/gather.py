"""Gather the distributions of the lab's public index on the controller.

    gather.py FOLDER

Real projects come with pip from this machine's own index, as requirements.txt locks them; others are
made up. Prints the path of one archive of them, whose name has a hash of what it is made from, so that
it is made once.
"""

from __future__ import annotations

import base64
import csv
import fcntl
import hashlib
import io
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# Those of the lab's hosts: Debian 12 and 13
PYTHONS = ("3.11", "3.13")
MB = 1_000_000
# Project, version, megabytes of ballast
MADE_UP = (
    # The attack: a private project of this name has a lower version
    ("pyindex-confusion", "99.0", 0),
    # Nobody installs it in passing, so no mirror has it yet
    ("pyindex-cold", "1.0", 0),
    # Slow enough to be interrupted (nginx.conf limits its rate)
    ("pyindex-large", "1.0", 20),
)


def download(folder: Path, python: str, *options: str) -> None:
    """Have pip download what is locked, for one version of Python. Raises CalledProcessError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", f"--requirement={REQUIREMENTS}", f"--dest={folder}", f"--python-version={python}"]
    subprocess.run([*command, *options], check=True, stdout=sys.stderr)


def write_wheel(folder: Path, project: str, version: str, ballast_mb: int = 0) -> Path:
    """Write a wheel of a module that knows its version; always the same bytes."""
    module = project.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    contents = {
        f"{module}/__init__.py": f'__version__ = "{version}"\n'.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        "Summary: Made up for the lab of pyindex.fleet\nRequires-Python: >=3.9\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: pyindex-lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if ballast_mb:
        contents[f"{module}/ballast.bin"] = random.Random(project).randbytes(ballast_mb * MB)  # noqa: S311
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow([name, f"sha256={digest}", len(content)])
    rows.writerow([f"{info}/RECORD", "", ""])
    contents[f"{info}/RECORD"] = record.getvalue().encode()
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def gather(archive: Path) -> None:
    """Write the archive; it is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        files = Path(scratch) / "files"
        files.mkdir()
        for python in PYTHONS:
            download(files, python, "--only-binary=:all:")
        download(files, PYTHONS[0], "--no-binary=six")
        for project, version, ballast_mb in MADE_UP:
            write_wheel(files, project, version, ballast_mb)
        whole = Path(scratch) / archive.name
        with tarfile.open(whole, "w") as made:
            made.add(files, "files")
        whole.rename(archive)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made_from = hashlib.sha256(REQUIREMENTS.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    archive = folder / f"files-{made_from}.tar"
    with (folder / "lock").open("w") as lock:
        # Another fleet may be prepared at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            for old in folder.glob("*.tar"):
                old.unlink()
            gather(archive)
    print(archive)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
