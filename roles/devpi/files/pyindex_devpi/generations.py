"""A plugin of devpi-server: the front learns of every change before whoever made it gets the answer.

In the service's runtime folder (a tmpfs) is a file of slots of eight random bytes. A page is made of what some of them
stand for, and is right as long as these are what they were when devpi was asked for it. Each commit, whoever makes it,
replaces those of what it changes: after readers can see the change, and before there is an answer. All are new when
devpi-server starts, and systemd removes the file when it ends: nothing outlives the process that would have said so.

Random numbers, and no counters: nothing has to be read, locked or carried over to write one that never was before.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from devpi_server.config import hookimpl
from devpi_server.keyfs import KeyFS, Transaction
from devpi_server.markers import absent, deleted

NAME = "generations"
WIDTH = 8
SLOTS = 4096
# Users, indexes and their settings: all pages depend on them, and so does who may read what
EVERYTHING = 0
# The names of projects, for the lists of them
NAMES = 1
# Further ones are for projects, several for each
FIRST_PROJECT = 2

# The values of a key before and after; None where there is none
Change = tuple[Any, Any, Any]


class Generations:
    """The file of slots."""

    def __init__(self, path: Path) -> None:
        """Make the file at *path* anew. Everybody may read it: random numbers say nothing."""
        made = path.with_name(f"{path.name}-new")
        made.unlink(missing_ok=True)
        with made.open("xb") as file:
            # Written, so that there is space for all of it from now on
            file.write(os.urandom(SLOTS * WIDTH))
            os.fchmod(file.fileno(), 0o644)
        with made.open("r+b") as file:
            self._slots = mmap.mmap(file.fileno(), SLOTS * WIDTH)
        made.rename(path)

    def move(self, slots: Iterable[int]) -> None:
        """Make that nothing is right any more that depends on one of *slots*."""
        for slot in slots:
            self._slots[slot * WIDTH : (slot + 1) * WIDTH] = os.urandom(WIDTH)


def slot_of(project: str) -> int:
    """Return the slot of a *project* by its normalised name."""
    return FIRST_PROJECT + zlib.crc32(project.encode()) % (SLOTS - FIRST_PROJECT)


def slots_of(changes: Iterable[Change]) -> set[int]:
    """Return the slots that stand for what the *changes* of keys change."""
    return {slot for change in changes for slot in _slots_of(*change)}


def _slots_of(key: Any, before: Any, after: Any) -> Iterator[int]:
    params = getattr(key, "params", {})
    if "project" in params:
        yield slot_of(params["project"])
    elif key.name == "PROJNAMES":
        yield NAMES
        yield from map(slot_of, set(before or ()) ^ set(after or ()))
    elif key.name in ("STAGEFILE", "PYPIFILE_NOMD5"):
        projects = {value["project"] for value in (before, after) if value and value.get("project")}
        yield from map(slot_of, projects) if projects else [EVERYTHING]
    else:
        yield EVERYTHING


def changes_of(transaction: Transaction) -> Iterator[Change]:
    """Return what a *transaction* is about to commit."""
    for key in transaction.dirty:
        _serial, before = transaction.get_original(key)
        yield key, _value(before), _value(transaction.cache[key])


def _value(value: Any) -> Any:
    return None if value in (absent, deleted) else value


def told(generations: Generations, commit: Callable[..., Any]) -> Callable[..., Any]:
    """Return the *commit* of a transaction that moves *generations*."""

    @wraps(commit)
    def commit_and_tell(self: Transaction) -> Any:
        slots: set[int] = set()
        if self.write and not self.closed:
            # A file that is removed while what is known of it stays
            slots = slots_of(changes_of(self)) or ({EVERYTHING} if self.io_file.is_dirty() else set())
        try:
            return commit(self)
        finally:
            # Also after an error: it may have come when readers saw the change already
            generations.move(slots)

    return commit_and_tell


def told_of_import(generations: Generations, import_changes: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method by which a replica takes over *changes* of its primary, so that it moves *generations*."""

    @wraps(import_changes)
    def import_and_tell(self: KeyFS, serial: int, changes: Any) -> Any:
        keys = {self.get_key_instance(name, path): value for path, (name, _back, value) in changes.items()}
        with self.get_connection() as connection:
            slots = slots_of((key, _before(connection, key, serial), value) for key, value in keys.items())
        try:
            return import_changes(self, serial, changes)
        finally:
            generations.move(slots)

    return import_and_tell


def _before(connection: Any, key: Any, serial: int) -> Any:
    try:
        return connection.get_relpath_at(key.relpath, serial - 1)[2]
    except KeyError:
        return None


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_cmdline_run(xom: Any) -> None:  # noqa: ARG001 - named by devpi-server
    """Begin when the server does, and before anything is committed; where there is no such folder no front looks."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    if folder and not hasattr(Transaction.commit, "__wrapped__"):
        generations = Generations(Path(folder) / NAME)
        Transaction.commit = told(generations, Transaction.commit)
        KeyFS.import_changes = told_of_import(generations, KeyFS.import_changes)
