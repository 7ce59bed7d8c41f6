"""Makes wheels that pip takes, a folder of them that stands for an index, and lock files of what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyindex_bundle.targets import Target
from tests.unit.pypiserver.made import tar_of, zip_of

BOOKWORM = Target("3.11.2", "2.36", "x86_64")
TRIXIE = Target("3.13.5", "2.41", "x86_64")
OLD = Target("3.9.2", "2.31", "x86_64")

# A build backend that makes metadata and nothing else
BACKEND = """\
import pathlib
def prepare_metadata_for_build_wheel(folder, settings=None):
    made = pathlib.Path(folder, "source-1.0.dist-info")
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\\nName: source\\nVersion: 1.0\\n")
    return made.name
"""


class Index:
    """A folder of distributions, all that pip can find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def be_the_only_one(self, patch: pytest.MonkeyPatch) -> None:
        """Have pip know of nothing else."""
        patch.setenv("PIP_CONFIG_FILE", "/dev/null")
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(self.folder))

    def wheel(
        self, name: str, version: str = "1.0", tag: str = "py3-none-any", requires: Sequence[str] = (), more: str = ""
    ) -> Path:
        """Add a wheel; *more* is the text of its package's module ``build_meta``."""
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {item}\n" for item in requires)
        members = {
            f"{name}/__init__.py": f"made = '{version} {tag}'\n".encode(),
            f"{name}/build_meta.py": more.encode(),
            f"{info}/METADATA": metadata.encode(),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
            f"{info}/RECORD": b"",
        }
        path = self.folder / f"{name}-{version}-{tag}.whl"
        path.write_bytes(zip_of(members))
        return path

    def source(self) -> Path:
        """Add the source distribution of the project ``source``, which has no wheel."""
        members = {
            "source-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: source\nVersion: 1.0\n",
            "source-1.0/pyproject.toml": b'[build-system]\nrequires = ["setuptools"]\n'
            b'build-backend = "setuptools.build_meta"\n',
        }
        path = self.folder / "source-1.0.tar.gz"
        path.write_bytes(tar_of(members))
        return path

    def lock(self, *pins: str) -> str:
        """Return a lock file: each of *pins* (``name==1.0``, perhaps with a marker) with the hashes of all its files."""
        lines = []
        for pin in pins:
            name, version = pin.partition(";")[0].strip().split("==")
            files = sorted(self.folder.glob(f"{name}-{version}[-.]*"))
            hashes = " \\\n".join(
                f"    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files
            )
            lines.append(f"{pin} \\\n{hashes}\n    # via made\n")
        return "# made\n" + "".join(lines)
