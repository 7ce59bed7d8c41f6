"""Distributions for the tests: by real build and setuptools, and by hand where the content matters."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "pyindex-acceptance"
"""How the names of all projects of the suite begin."""

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "{version}"
description = "Made by the acceptance suite of pyindex.fleet; may be removed"
"""
# Builds a wheel with Python alone, so that installing the source distribution needs no other project
BACKEND = """\
import base64, hashlib, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name, version, module = {name!r}, {version!r}, {module!r}
    info = f"{{module}}-{{version}}.dist-info"
    files = {{
        f"{{module}}.py": {source!r},
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: acceptance\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(f"{{path}},,\\n" for path in [*files, f"{{info}}/RECORD"])
    wheel = f"{{module}}-{{version}}-py3-none-any.whl"
    with zipfile.ZipFile(f"{{wheel_directory}}/{{wheel}}", "w") as archive:
        for path, text in {{**files, f"{{info}}/RECORD": record}}.items():
            archive.writestr(path, text)
    return wheel
"""


@dataclass(frozen=True)
class Project:
    """One release and its files on the controller. Its module has a constant VALUE, which is the version."""

    name: str
    version: str
    files: tuple[Path, ...]

    @property
    def module(self) -> str:
        """The name to import; also how the files' names begin."""
        return module_name(self.name)

    @property
    def wheel(self) -> Path:
        return next(path for path in self.files if path.suffix == ".whl")

    @property
    def sdist(self) -> Path:
        return next(path for path in self.files if path.suffix == ".gz")

    @classmethod
    def build(cls, name: str, version: str, folder: Path) -> Project:
        """Make both files with `build` and setuptools (PEP 517), without a download."""
        (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name, version=version), encoding="utf-8")
        (folder / f"{module_name(name)}.py").write_text(source(version), encoding="utf-8")
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return cls(name, version, tuple(sorted((folder / "dist").iterdir())))


def module_name(name: str) -> str:
    """The project's name as it stands in file names (PEP 427, PEP 625)."""
    return name.replace("-", "_")


def source(value: str) -> str:
    return f"VALUE = {value!r}\n"


def wheel(
    name: str, version: str, value: str = "", inside: str = "", needs: str = "", ballast: int = 0
) -> tuple[str, bytes]:
    """File name and content of a wheel. `inside`: the project that its metadata names, if another one. `needs`: a
    project that it depends on. `ballast`: so many bytes more, of the kind that cannot be compressed."""
    module = module_name(name)
    info = f"{module_name(inside or name)}-{version}.dist-info"
    wanted = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{module}.py": source(value or version),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {inside or name}\nVersion: {version}\n{wanted}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: acceptance\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items()) + f"{info}/RECORD,,\n"
    if ballast:
        record += f"{info}/ballast,,\n"
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            # Without the time: the same release is the same bytes
            archive.writestr(zipfile.ZipInfo(path), text, zipfile.ZIP_DEFLATED)
        if ballast:
            archive.writestr(zipfile.ZipInfo(f"{info}/ballast"), random.Random(name).randbytes(ballast))
    return f"{module}-{version}-py3-none-any.whl", memory.getvalue()


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def sdist(name: str, version: str, more: Mapping[str, str] | None = None) -> tuple[str, bytes]:
    """File name and content of a source distribution that brings its own build backend along, and `more` files."""
    module = module_name(name)
    backend = BACKEND.format(name=name, version=version, module=module, source=source(version))
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
        f"{module}.py": source(version),
        **(more or {}),
    }
    memory = io.BytesIO()
    with gzip.GzipFile(fileobj=memory, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{module}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{module}-{version}.tar.gz", memory.getvalue()
