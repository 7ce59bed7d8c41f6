"""Which work is done on which targets, in interleaved rounds, within limits of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from . import installing, reading, writing
from .bench import Bench, FigureError
from .clients import ClientError
from .measure import Book
from .services import ServiceError
from .targets import Target
from .wrk import LoadError

FAILURES = (FigureError, LoadError, ClientError, ServiceError, OSError)


@dataclass(frozen=True)
class Work:
    """A piece of work, and where it makes sense."""

    name: str
    do: Callable[[Bench, Target], dict[str, float]]
    needs: str = ""
    """'' = nothing; `uploads` = a target that takes them; `password` = one whose pages want a password; `json`;
    `kills` = one that can be killed often."""
    sizes: str = "all"
    """With which numbers of files it is done: `all`, `ends` = the smallest and the largest, `smallest`."""
    once: bool = False
    """One round is enough: it repeats itself, or does not vary."""

    against: tuple[tuple[str, int | None], ...] = ()
    """Peers, and the number of files (None = any), that a figure to reach is against: it takes all its rounds."""

    def takes(self, files: int, sizes: Sequence[int]) -> bool:
        """Return whether it is done with a number of files, of those of the run."""
        wanted = {"all": set(sizes), "ends": {min(sizes), max(sizes)}, "smallest": {min(sizes)}}
        return files in wanted[self.sizes]

    def decides(self, target: Target, files: int) -> bool:
        return (target.key, files) in self.against or (target.key, None) in self.against

    def unfit(self, target: Target) -> str:
        """Return why the work cannot be done on a target; '' = it can."""
        if self.needs == "uploads" and not target.upload_url:
            return "it takes no uploads"
        if self.needs == "password" and not target.password:
            return "nobody is asked for a password"
        if self.needs == "json" and not target.json:
            return "it answers HTML only"
        if self.needs == "kills" and not target.kills:
            return "it takes no uploads" if not target.upload_url else "only tried with pypiserver, which starts fast"
        return ""


# In this order: starts first, as everything else warms up; then what only reads, then what leaves files behind
WORKS = [
    Work("start", reading.start, sizes="smallest"),
    Work("simple-html", reading.simple_html, against=(("pypiserver-bare", 20_000), ("devpi-bare", None))),
    Work("simple-json", reading.simple_json, needs="json", against=(("devpi-bare", None),)),
    Work("project-list", reading.project_list, sizes="ends"),
    Work("download-20k", reading.download_small, sizes="smallest"),
    Work("download-5m", reading.download_large, sizes="smallest"),
    Work("memory", reading.memory, once=True),
    Work("good-user", reading.good_user, needs="password", sizes="smallest"),
    Work("pip-install", installing.pip_install, sizes="smallest"),
    Work("uv-install", installing.uv_install, sizes="smallest"),
    Work("upload", writing.upload_one, needs="uploads", sizes="ends"),
    Work("uploads", writing.uploads, needs="uploads", against=(("pypiserver-bare", 200_000),)),
    Work("upload-then-read", writing.upload_then_read, needs="uploads", sizes="smallest"),
    Work("kills", writing.kills, needs="kills", sizes="smallest", once=True),
]


def measure(
    bench: Bench, targets: Sequence[Target], works: Iterable[Work], book: Book, say: Callable[[str], None]
) -> None:
    """Do the work on the targets in turn, round by round, and write the figures into the book."""
    files = bench.data.count
    for work in works:
        if not work.takes(files, bench.limits.sizes):
            continue
        started = time.monotonic()
        fit = []
        for target in targets:
            if reason := work.unfit(target):
                book.skip(target.key, work.name, files, reason)
            else:
                fit.append(target)
        _rounds(bench, fit, work, book, say)
        say(f"{files} files, {work.name}: {time.monotonic() - started:.0f} s")


def _rounds(bench: Bench, targets: list[Target], work: Work, book: Book, say: Callable[[str], None]) -> None:
    spent = dict.fromkeys((target.key for target in targets), 0.0)
    going = list(targets)
    files = bench.data.count
    rounds = 1 if work.once else bench.limits.rounds
    for number in range(rounds):
        # Nobody is always the first after somebody
        turn = number % len(going) if going else 0
        for target in going[turn:] + going[:turn]:
            before = time.monotonic()
            decides = target.ours or work.decides(target, files)
            if before > bench.began + (bench.limits.total_seconds if decides else bench.limits.peers_until_seconds):
                book.skip(target.key, work.name, files, "the time of the run was over", failed=True)
                continue
            name = f"{files} files, {work.name}, round {number + 1} of {rounds}, {target.key}"
            try:
                figures = _do(bench, target, work, say)
            except FAILURES as error:
                say(f"{name}: FAILED: {error}")
                book.skip(target.key, work.name, files, str(error), failed=True)
                going.remove(target)
                continue
            book.add(target.key, work.name, files, figures)
            say(f"{name}: {', '.join(f'{figure} {value:.4g}' for figure, value in figures.items())}")
            spent[target.key] += time.monotonic() - before
            patience = bench.limits.deciding_seconds if work.decides(target, files) else bench.limits.peer_seconds
            if not target.ours and spent[target.key] > patience and number + 1 < rounds:
                book.skip(target.key, work.name, files, f"{number + 1} of {rounds} rounds: it takes too long")
                going.remove(target)


def _do(bench: Bench, target: Target, work: Work, say: Callable[[str], None]) -> dict[str, float]:
    """Do the work once. A peer that fails may try again: only what it fails twice is no chance. Not ours and the limit,
    as who uses them has no second chance either.
    """
    try:
        return work.do(bench, target)
    except FAILURES as error:
        if target.ours:
            raise
        say(f"{bench.data.count} files, {work.name}, {target.key}: tries once more: {error}")
    return work.do(bench, target)
