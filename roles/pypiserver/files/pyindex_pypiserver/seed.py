"""Fills the index: resolve requirements with all they depend on, download and publish what is missing.

``pending`` says which requirements are not done yet, without any network; ``publish`` does them.
Files go through the same checks and the same store as uploads.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import InvalidRequirement, Requirement

from .distributions import DistributionError, parse_name
from .resolver import HOST_PYTHON, Found, Pip, SeedError, resolve_for, resolve_with_sources
from .storage import AlreadyPublishedError, PackageStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

FOLDER: Final = ".seed"

_CHUNK: Final = 2**20


@dataclass
class Outcome:
    """What became of one requirement: file names that were published or there already, and problems."""

    requirement: str
    published: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Seed:
    """The seeding of one store for the host's Python and further *pythons*, from *source* (of any name)."""

    def __init__(self, store: PackageStore, pythons: Iterable[str] = (), source: str = "") -> None:
        self.store = store
        self.source = source
        self.pythons = [HOST_PYTHON, *sorted(set(pythons) - {HOST_PYTHON})]
        self.folder = store.root / FOLDER
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def is_done(self, requirement: str) -> bool:
        """Return whether *requirement* was published for these Pythons from that source, and has all its files still."""
        try:
            stamp = json.loads(self._stamp(requirement).read_text())
        except (FileNotFoundError, ValueError):
            return False
        return bool(stamp.get("source", "") == self.source and set(stamp["files"]) <= self._names())

    def publish(self, requirement: str, make_pip: Callable[[Path], Pip] = Pip) -> Outcome:
        """Resolve, download and publish *requirement*, and remember it when nothing went wrong."""
        outcome = Outcome(requirement)
        with self._work() as work:
            pip = make_pip(work)
            try:
                host = resolve_for(pip, requirement, HOST_PYTHON)
            except SeedError as error:
                outcome.problems.append(str(error))
                return outcome
            for python in self.pythons:
                try:
                    self._publish_for(pip, python, self._choose(pip, host, requirement, python), outcome)
                except SeedError as error:
                    outcome.problems.append(f"for Python {python}: {error}")
        if not outcome.problems:
            self._remember(outcome)
        return outcome

    @staticmethod
    def _choose(pip: Pip, host: list[Found], requirement: str, python: str) -> list[Found]:
        if python == HOST_PYTHON:
            return host
        try:
            return resolve_for(pip, requirement, python)
        except SeedError:
            return resolve_with_sources(pip, host, python)

    def _publish_for(self, pip: Pip, python: str, found: Iterable[Found], outcome: Outcome) -> None:
        present = self._names()
        wheels: list[str] = []
        sources: list[str] = []
        for item in found:
            if item.file_name in present:
                if item.file_name not in outcome.published + outcome.present:
                    outcome.present.append(item.file_name)
            else:
                (wheels if item.file_name.endswith(".whl") else sources).append(item.link)
        for links, version in ((wheels, python), (sources, HOST_PYTHON)):
            for path in pip.download(links, version) if links else []:
                self._publish_file(path, outcome)

    def _publish_file(self, path: Path, outcome: Outcome) -> None:
        try:
            name = parse_name(path.name)
            with self.store.receive() as incoming, path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    incoming.write(chunk)
                self.store.publish(incoming, name)
        except AlreadyPublishedError as error:
            outcome.present.append(error.existing)
        except DistributionError as error:
            outcome.problems.append(str(error))
        else:
            outcome.published.append(path.name)
        path.unlink()

    def _names(self) -> set[str]:
        return set(self.store.files())

    def _stamp(self, requirement: str) -> Path:
        key = "\n".join([requirement, *self.pythons])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _remember(self, outcome: Outcome) -> None:
        stamp = self._stamp(outcome.requirement)
        files = sorted({*outcome.published, *outcome.present})
        content = {"requirement": outcome.requirement, "pythons": self.pythons, "source": self.source, "files": files}
        new = stamp.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n")
        new.replace(stamp)

    @contextlib.contextmanager
    def _work(self) -> Iterator[Path]:
        """A folder beside the packages (never in memory), for one seeding at a time."""
        with (self.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for stale in self.folder.glob("work-*"):
                shutil.rmtree(stale)
            with tempfile.TemporaryDirectory(prefix="work-", dir=self.folder) as work:
                yield Path(work)


def _requirement(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no requirement: {str(error).splitlines()[0]}") from None
    if requirement.url:
        raise argparse.ArgumentTypeError(f"{text!r} names a URL: write the project and a version of it")
    return text.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what it found is printed as JSON. 1: the requirement could not be published."""
    parser = argparse.ArgumentParser(prog="seed", description=__doc__)
    parser.add_argument("command", choices=("pending", "publish"))
    parser.add_argument("--packages-dir", type=Path, required=True)
    parser.add_argument("--pages-dir", type=Path, required=True)
    parser.add_argument("--python-version", action="append", default=[], help="a further one, such as 3.13")
    parser.add_argument("--source", default="", help="what the files come from: of another one all is resolved again")
    parser.add_argument("--refresh", action="store_true", help="resolve again what was done before")
    parser.add_argument(
        "--pip-environment", action="store_true", help="read variables for pip, as a JSON object, from standard input"
    )
    parser.add_argument("requirement", nargs="+", type=_requirement)
    options = parser.parse_args(arguments)
    if options.pip_environment:
        # Not from the command line, which everyone on the host can read
        os.environ.update({name: str(value) for name, value in json.load(sys.stdin).items()})
    os.umask(0o027)
    seed = Seed(PackageStore(options.packages_dir, options.pages_dir), options.python_version, options.source)
    if options.command == "pending":
        pending = [text for text in options.requirement if options.refresh or not seed.is_done(text)]
        print(json.dumps({"pending": pending}))
        return 0
    outcomes = [seed.publish(text) for text in options.requirement]
    print(json.dumps([outcome.__dict__ for outcome in outcomes]))
    problems = [f"{outcome.requirement}: {problem}" for outcome in outcomes for problem in outcome.problems]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
