"""Gathers what a bundle holds, one folder (a set) after the other; what is there already is not fetched again."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from . import debian, digests, pip
from .errors import BundleError
from .locks import Pin, choose, pins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .description import Host
    from .targets import Target

BACKEND = "setuptools"


@dataclass(frozen=True)
class Wanted:
    """Requirements with hashes for one target; *sources* are the projects that have no wheel."""

    locks: tuple[str, ...]
    target: Target
    sources: tuple[str, ...] = ()


class Work:
    """The folder *root* of the controller in which the bundle comes together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = root / "tree"

    def wheels(self, name: str, wanted: Sequence[Wanted]) -> dict[str, Any]:
        """Make the set *name* what *wanted* needs; return what the manifest says of it.

        Raises BundleError, which names a project that has no wheel for its target.
        """
        folder = self.tree / name
        folder.mkdir(parents=True, exist_ok=True)
        keep: set[str] = set()
        for item in wanted:
            keep |= self._complete(folder, item)
        for path in folder.iterdir():
            if path.name not in keep:
                path.unlink()
        return {
            "kind": "wheels",
            "locks": sorted({digests.of_text(text) for item in wanted for text in item.locks}),
            "made_for": sorted({str(item.target) for item in wanted}),
        }

    def _complete(self, folder: Path, wanted: Wanted) -> set[str]:
        """Fetch what *folder* lacks of *wanted*, and return the names of its files."""
        needed = pins(wanted.locks, wanted.target)
        found = self._chosen(folder, needed, wanted)
        missing = [pin for pin in needed if pin not in found]
        if missing:
            with tempfile.TemporaryDirectory(dir=self.root) as work:
                new = Path(work) / "new"
                new.mkdir()
                # Wheels first: the build backend of the sources is among them
                wheels = [pin for pin in missing if pin.project not in wanted.sources]
                if wheels:
                    pip.download(wheels, wanted.target, new)
                    self._move(new, folder)
                sources = [pin for pin in missing if pin.project in wanted.sources]
                if sources:
                    self._backend(folder, needed, wanted, Path(work) / "backend")
                    pip.download(sources, wanted.target, new, Path(work) / "backend")
                    self._move(new, folder)
            found = self._chosen(folder, needed, wanted)
        if lacking := [str(pin) for pin in needed if pin not in found]:
            raise BundleError(f"no wheel for {wanted.target}: {', '.join(lacking)}")
        return set(found.values())

    @staticmethod
    def _chosen(folder: Path, needed: Iterable[Pin], wanted: Wanted) -> dict[Pin, str]:
        files = digests.of_folder(folder)
        chosen = {pin: choose(pin, files, wanted.target, wanted.sources) for pin in needed}
        return {pin: name for pin, name in chosen.items() if name}

    @staticmethod
    def _move(source: Path, folder: Path) -> None:
        for path in source.iterdir():
            path.replace(folder / path.name)

    def _backend(self, folder: Path, needed: Iterable[Pin], wanted: Wanted, backend: Path) -> None:
        """Unpack the build backend of the lock: pip would fetch one unchecked."""
        files = digests.of_folder(folder)
        for pin in needed:
            name = choose(pin, files, wanted.target) if pin.project == BACKEND else None
            if name:
                pip.unpack(folder / name, backend)

    def seed(self, host: Host, *, refresh: bool) -> dict[str, Any]:
        """Make the set of *host*'s seed: its requirements with all they depend on, for each of its targets.

        What was resolved once stays so until *refresh* or until the requirements change.
        """
        wanted = [Wanted((self._resolved(host, target, refresh=refresh),), target) for target in host.seed_targets]
        content = self.wheels(host.seed_set, wanted)
        pythons = sorted({target.minor for target in host.seed_targets})
        return {**content, "kind": "seed", "requirements": sorted(host.seed_requirements), "pythons": pythons}

    def _resolved(self, host: Host, target: Target, *, refresh: bool) -> str:
        key = digests.of_text(json.dumps([sorted(host.seed_requirements), str(target)]))
        lock = self.root / "resolved" / f"{host.name}-{key[:16]}.txt"
        if refresh or not lock.exists():
            found = pip.resolve(sorted(host.seed_requirements), target)
            lines = sorted(Pin(canonicalize_name(pin.project), pin.version, pin.hashes).line() for pin in found)
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return lock.read_text(encoding="utf-8")

    def packages(self, host: Host, names: Sequence[str], sources: dict[str, str], *, refresh: bool) -> dict[str, Any]:
        """Make the set of Debian packages for *host*'s suite and machine: *names* with all they depend on.

        What was chosen once stays so until *refresh* or until the names or *sources* change.
        """
        folder = self.tree / host.packages_set
        work = self.root / "apt" / folder.name
        stamp = work / "made-from"
        made_from = digests.of_text(json.dumps([sorted(names), sorted(sources.items())]))
        before = stamp.read_text(encoding="utf-8").split() if stamp.exists() else []
        if refresh or before != [made_from, self._state(folder)]:
            stamp.unlink(missing_ok=True)
            debian.collect(sorted(names), host.target.machine, sources, work, folder)
            stamp.write_text(f"{made_from} {self._state(folder)}", encoding="utf-8")
        made_for = [f"{host.suite} on {host.target.machine}"]
        return {"kind": "packages", "packages": sorted(names), "made_for": made_for}

    @staticmethod
    def _state(folder: Path) -> str:
        return digests.of_text(json.dumps(digests.of_folder(folder)))

    def forget(self, sets: Iterable[str]) -> None:
        """Remove all sets but *sets*."""
        keep = {self.tree / name for name in sets}
        for folder in self.tree.glob("*/*"):
            if folder.is_dir() and folder not in keep:
                shutil.rmtree(folder)
