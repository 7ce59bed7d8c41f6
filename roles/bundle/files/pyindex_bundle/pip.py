"""Has pip resolve and download for another Python than the one that it runs on.

Where from, through which proxy and with which certificates is what pip's own configuration on the
controller says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import BundleError
from .locks import Pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .targets import Target

# pip has options for the tags of another Python, but judges environment markers by the Python that it
# runs on. Its own copy of `packaging` is told what they are to be judged by (so does pex)
_FOR_TARGET: Final = """\
import json, sys
from pip._vendor.packaging import markers
environment = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(environment)
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def resolve(requirements: Sequence[str], target: Target) -> list[Pin]:
    """Return the wheels of *requirements* and of all they depend on, as *target* would install them.

    Raises BundleError with what pip says, which names the project.
    """
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.json"
        _run(
            target,
            *("install", "--dry-run", "--ignore-installed", "--only-binary=:all:", "--report", str(report)),
            *("--target", str(Path(work) / "target"), *target.pip_options, "--", *requirements),
        )
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        Pin(
            item["metadata"]["name"],
            item["metadata"]["version"],
            frozenset([item["download_info"]["archive_info"]["hashes"]["sha256"]]),
        )
        for item in items
    ]


def download(pins: Iterable[Pin], target: Target, folder: Path, source_of: Path | None = None) -> None:
    """Download one file for each of *pins* into *folder*: wheels, or with *source_of* source distributions.

    pip asks sources for their metadata; *source_of* is the folder with the build backend that makes it.
    Raises BundleError with what pip says, which names the project.
    """
    kind = ["--only-binary=:all:"] if source_of is None else ["--no-binary=:all:", "--no-build-isolation"]
    with tempfile.TemporaryDirectory() as work:
        lock = Path(work) / "requirements.txt"
        lock.write_text("".join(f"{pin.line()}\n" for pin in pins), encoding="utf-8")
        _run(
            target,
            *("download", "--no-deps", "--require-hashes", *kind, "--dest", str(folder), *target.pip_options),
            *("-r", str(lock)),
            path=source_of,
        )


def unpack(wheel: Path, folder: Path) -> None:
    """Put the packages of *wheel* into *folder*."""
    _call([sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)])


def _run(target: Target, *arguments: str, path: Path | None = None) -> None:
    _call([sys.executable, "-c", _FOR_TARGET, json.dumps(target.markers), *arguments], path, f" (for {target})")


def _call(command: list[str], path: Path | None = None, suffix: str = "") -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_COLOR": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BundleError(f"{_reason(done.stderr)}{suffix}")


def _reason(stderr: str) -> str:
    """Return what pip says of its failure, on one line: from its first error on, and why it could not reach its index.

    The latter it says in a warning; with nothing to choose from it then complains of a missing distribution.
    """
    lines = [" ".join(line.split()) for line in stderr.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.lower().startswith("error: ")), 0)
    broken = [line.partition("connection broken by ")[2] for line in lines if "connection broken by " in line][-1:]
    said = [line.removeprefix("ERROR: ") for line in lines[first:] if not line.startswith("hint: ")]
    return " ".join(["pip:", *(said or ["it failed without a word"]), *broken])[:2000]
