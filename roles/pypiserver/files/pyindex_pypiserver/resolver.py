"""Asks pip which distributions a requirement needs, for the host's Python and for others.

pip resolves and downloads, so the sources, proxies and certificates are those of its own
configuration on the host. For another Python than its own it takes wheels only and judges
environment markers (PEP 508) by itself: what that leaves out is found here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

HOST_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

# Dependencies found for another Python bring dependencies of their own; real projects end after two
_MAX_ROUNDS: Final = 10


class SeedError(Exception):
    """A requirement cannot be published; the message is one line that says why."""


@dataclass(frozen=True)
class Found:
    """One distribution that the resolver chose; ``sha256`` is '' when the index gave none."""

    project: str
    version: str
    url: str
    sha256: str = ""
    requires: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The name of the file behind the URL."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])

    @property
    def link(self) -> str:
        """The URL with its digest, which pip then compares."""
        return f"{self.url}#sha256={self.sha256}" if self.sha256 else self.url


class Pip:
    """Runs this environment's own pip in the folder *work*; *run* is replaced in tests."""

    def __init__(
        self, work: Path, run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]] | None = None
    ) -> None:
        self.work = work
        self._run = run or self._run_pip

    def resolve(self, requirements: Sequence[str], python: str, *options: str) -> list[Found]:
        """Return all that *requirements* need on the Python version *python*, such as ``3.13``.

        For another version than the host's, pip takes wheels only. Raises SeedError.
        """
        report = self.work / "report.json"
        target = [] if python == HOST_PYTHON else [*_foreign(python), "--target", str(self.work / "target")]
        plan = ("install", "--dry-run", "--ignore-installed", "--report", str(report))
        self._call(*plan, *target, *options, "--", *requirements)
        return [_found(item) for item in json.loads(report.read_text())["install"]]

    def download(self, links: Sequence[str], python: str) -> list[Path]:
        """Download *links* (URLs) without what they need, and return the files. Raises SeedError."""
        folder = Path(tempfile.mkdtemp(dir=self.work))
        foreign = [] if python == HOST_PYTHON else _foreign(python)
        self._call("download", "--no-deps", "--dest", str(folder), *foreign, "--", *links)
        return sorted(folder.iterdir())

    def _call(self, *arguments: str) -> None:
        result = self._run(arguments)
        if result.returncode:
            raise SeedError(_reason(result.stderr))

    def _run_pip(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            # One cache for resolving and downloading, gone with the folder
            "PIP_CACHE_DIR": str(self.work / "cache"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "TMPDIR": str(self.work),
            "HOME": str(self.work),
        }
        command = [sys.executable, "-m", "pip", *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd=self.work,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


def _foreign(python: str) -> list[str]:
    return ["--python-version", python, "--only-binary", ":all:"]


def _found(item: dict[str, Any]) -> Found:
    metadata, info = item["metadata"], item["download_info"]
    hashes = info.get("archive_info", {}).get("hashes", {})
    return Found(
        project=metadata["name"],
        version=metadata["version"],
        url=info["url"],
        sha256=hashes.get("sha256", ""),
        requires=tuple(metadata.get("requires_dist", ())),
    )


def _reason(stderr: str) -> str:
    """Return the last error that pip wrote, on one line, and whether it could not reach its index."""
    lines = [" ".join(line.split()) for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines or ["pip failed without a word"])[-1][:500]
    # pip then says only that it found nothing
    broken = [line.partition("connection broken by ")[2] for line in lines if "connection broken by " in line]
    return f"{reason} (connection broken by {broken[-1][:300]})" if broken else reason


def resolve_for(pip: Pip, requirement: str, python: str) -> list[Found]:
    """Return all that *requirement* needs on *python*, also what only that version needs.

    pip judges environment markers by the Python it runs on; those that hold on *python* alone are
    judged here and resolved along, until nothing is missing. Raises SeedError.
    """
    wanted = [requirement]
    for _unused in range(_MAX_ROUNDS):
        found = pip.resolve(wanted, python)
        missing = [] if python == HOST_PYTHON else sorted(_missing(found, Requirement(requirement), python))
        if not missing:
            return found
        wanted += missing
    raise SeedError(f"what Python {python} needs does not come to an end: {', '.join(wanted)}")


def resolve_with_sources(pip: Pip, host: Iterable[Found], python: str) -> list[Found]:
    """Return what the host's Python takes, for *python*: its wheel where there is one, else the source.

    This is for requirements of which a part has no wheel for *python*; pip cannot resolve those for
    another Python than its own. Raises SeedError.
    """
    found = []
    for item in host:
        if _fits_every_python(item.file_name):
            found.append(item)
            continue
        pin = f"{item.project}=={item.version}"
        try:
            found += pip.resolve([pin], python, "--no-deps")
        except SeedError:
            try:
                found += pip.resolve([pin], HOST_PYTHON, "--no-deps", "--no-binary", ":all:")
            except SeedError as error:
                raise SeedError(f"{pin} has neither a wheel for Python {python} nor a source: {error}") from None
    return found


def _fits_every_python(file_name: str) -> bool:
    return file_name.endswith("-none-any.whl") and "py3" in file_name.split("-")[-3].split(".")


def _missing(found: Iterable[Found], requirement: Requirement, python: str) -> set[str]:
    """Return what *requirement* needs on *python* beyond *found*."""
    distributions = {canonicalize_name(item.project): item for item in found}
    extras: dict[str, set[str]] = {}
    missing: set[str] = set()
    todo = [requirement]
    while todo:
        needed = todo.pop()
        name = canonicalize_name(needed.name)
        if name not in distributions:
            missing.add(f"{needed.name}{_extras(needed)}{needed.specifier}")
        elif not extras.get(name, set()) >= needed.extras | {""}:
            extras.setdefault(name, {""}).update(needed.extras)
            todo += _applicable(distributions[name], extras[name], python)
    return missing


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _applicable(item: Found, extras: Iterable[str], python: str) -> Iterator[Requirement]:
    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    for text in item.requires:
        requirement = Requirement(text)
        if requirement.marker is None or any(
            requirement.marker.evaluate({**environment, "extra": extra}) for extra in extras
        ):
            yield requirement
