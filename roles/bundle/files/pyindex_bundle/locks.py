"""Requirements with hashes, and which files of a folder they are met by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .targets import Target


@dataclass(frozen=True)
class Pin:
    """One project at one version, with the SHA-256 of each of its files."""

    project: str
    version: str
    hashes: frozenset[str]

    def __str__(self) -> str:
        """Return it as a requirement names it."""
        return f"{self.project}=={self.version}"

    def line(self) -> str:
        """Return it as a line of a lock file."""
        return " ".join([str(self), *(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))])


def pins(texts: Iterable[str], target: Target) -> list[Pin]:
    """Return what the lock files *texts* install on *target*, each project once.

    Raises BundleError for a line that is no pinned requirement with hashes.
    """
    found: dict[str, Pin] = {}
    for line in (line for text in texts for line in text.replace("\\\n", " ").splitlines()):
        content = line.partition(" #")[0].strip()
        if not content or content.startswith("#"):
            continue
        head, *hashes = content.split(" --hash=sha256:")
        try:
            requirement = Requirement(head)
        except InvalidRequirement as error:
            raise BundleError(f"a lock file has the line {head!r}: {str(error).splitlines()[0]}") from None
        versions = [item.version for item in requirement.specifier if item.operator == "=="]
        if len(versions) != 1 or not hashes:
            raise BundleError(f"a lock file has the line {head!r}, which is no version with hashes")
        if requirement.marker is None or requirement.marker.evaluate({**target.markers, "extra": ""}):
            name = canonicalize_name(requirement.name)
            found[name] = Pin(name, versions[0], frozenset(digest.strip() for digest in hashes))
    return [found[name] for name in sorted(found)]


def choose(pin: Pin, files: Mapping[str, str], target: Target, sources: Collection[str] = ()) -> str | None:
    """Return the file for *pin* that pip would take on *target*, None where there is none.

    *files* maps names to their SHA-256. Source distributions are for the projects *sources* alone.
    """
    ranked = [
        (rank, name)
        for name, digest in files.items()
        if digest in pin.hashes and (rank := _rank(name, pin, target, sources)) is not None
    ]
    return min(ranked)[1] if ranked else None


def _rank(name: str, pin: Pin, target: Target, sources: Collection[str]) -> int | None:
    if not name.endswith(".whl"):
        return len(target.ranks) if pin.project in sources else None
    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return None
    return min((target.ranks[tag] for tag in tags if tag in target.ranks), default=None)
