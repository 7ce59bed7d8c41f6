"""Brings pages and records in line with the packages folder, whatever happened to either of them.

Publishes files that arrived another way than by upload, takes out those that are gone, and repairs
pages that are missing, damaged or not ours. Only what is new or changed is read. It is safe beside a
running server: each project is looked at once more, under its lock, before anything is changed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import multiprocessing
import os
import sys
import time
import uuid
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .archives import shorten
from .pages import METADATA_SUFFIX
from .publishing import LIST, METADATA, SIMPLE, Edit, Publisher, page_of, project_of
from .storage import PackageStore
from .yanks import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Files a worker looks at before it reports
_BATCH: Final = 500

log = logging.getLogger(__name__)


@dataclass
class Report:
    """What a reconcile did: numbers, and one line for each thing that is not published."""

    files: int = 0
    published: int = 0
    withdrawn: int = 0
    repaired: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    changing: list[str] = field(default_factory=list)


def reconcile(publisher: Publisher, *, deep: bool = False, processes: int | None = None) -> Report:
    """Bring everything in line; with *deep* every file is read again.

    Raises OSError when the disk is full or a folder cannot be written.
    """
    began = time.monotonic()
    report = Report()
    with publisher.locked("reconcile"):
        _look_at_all(publisher, report, deep=deep, processes=processes)
        if not publisher.records.complete:
            # They were lost or damaged on the way, and are others now
            _look_at_all(publisher, report, deep=deep, processes=processes)
    # Those of before are still there; what is read now is named by both
    report.problems = sorted({*report.problems, *publisher.records.problems()})
    report.seconds = round(time.monotonic() - began, 3)
    return report


def _look_at_all(publisher: Publisher, report: Report, *, deep: bool, processes: int | None) -> None:
    token = uuid.uuid4().hex
    publisher.records.set(reconciling=token)
    todo = _find_differences(publisher, report, deep=deep)
    for edited in _in_parallel(publisher, todo, deep=deep, processes=processes):
        report.published += edited.published
        report.withdrawn += edited.withdrawn
        report.repaired += edited.repaired
        report.problems += edited.problems
        report.changing += edited.changing
    # Not in a database that somebody has put in place of the one that was filled
    if publisher.records.get("reconciling") == token:
        publisher.records.set(complete=1)
    # Last: where there is a list, there are all pages
    if publisher.list_differs():
        publisher.rewrite_list()
        report.repaired += 1
    publisher.compress_list()


def _find_differences(publisher: Publisher, report: Report, *, deep: bool) -> dict[str, list[str]]:
    """Return the projects to look at under their locks, each with the files to look at."""
    # In this order: what is uploaded meanwhile seems gone, and is found to be there
    on_disk = _scan_packages(publisher, report)
    metadata = _scan_metadata(publisher)
    report.files = len(on_disk)
    todo: defaultdict[str, list[str]] = defaultdict(list)
    for name, project, identity, described in publisher.records.files():
        same = on_disk.pop(name, None) == identity
        if metadata.pop(name, (None, None)) != described or not same or deep:
            todo[project].append(name)
    for name in on_disk:
        todo[project_of(name) or ""].append(name)
    for name in metadata:
        _remove_metadata(publisher, name)
    _check_projects(publisher, todo, deep=deep)
    for name in todo.pop("", []):
        report.problems.append(f"{name} is not published: it is no distribution")
    return todo


def _scan_packages(publisher: Publisher, report: Report) -> dict[str, tuple[int, int, int]]:
    """Return the identity of each file that may be a distribution; report what cannot be one."""
    found = {}
    with os.scandir(publisher.packages) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False) and name.isascii() and name.isprintable():
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found[name] = (status.st_ino, status.st_mtime_ns, status.st_size)
            elif name != "lost+found":
                report.problems.append(_why_not(entry))
    return found


def _why_not(entry: os.DirEntry[str]) -> str:
    """Return why *entry* cannot be a distribution, in one line."""
    name = entry.name
    if not name.isascii() or not name.isprintable():
        return f"{shorten(name)} is not published: odd characters in its name"
    if entry.is_symlink():
        return f"{name} is not published: it is a symbolic link; put the file itself here"
    if entry.is_dir(follow_symlinks=False):
        return f"{name}/ is not published: put the files of the folder beside it"
    return f"{name} is not published: it is no file"


def _scan_metadata(publisher: Publisher) -> dict[str, tuple[int, int]]:
    """Return size and time of each metadata file, by the name of its wheel."""
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(publisher.metadata) as entries:
        for entry in entries:
            name = entry.name
            if not name.endswith(METADATA_SUFFIX) or not name.isascii():
                publisher.remove_from(METADATA, name)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            size = status.st_size if entry.is_file(follow_symlinks=False) else -1
            found[name.removesuffix(METADATA_SUFFIX)] = (size, status.st_mtime_ns)
    return found


def _remove_metadata(publisher: Publisher, name: str) -> None:
    """Remove the metadata file of *name*, unless it is that of a published file."""
    project = project_of(name.removeprefix("."))
    with publisher.edit(project or "", adopt=False) as edit:
        if name not in edit.files:
            publisher.remove_from(METADATA, name + METADATA_SUFFIX)


def _check_projects(publisher: Publisher, todo: dict[str, list[str]], *, deep: bool) -> None:
    """Add the projects whose pages or withdrawn releases are not as they were written."""
    here_now, foreign = _scan_pages(publisher)
    withdrawn = publisher.yanks.projects()
    for record in publisher.records.projects():
        here = record.name in here_now
        here_now.discard(record.name)
        if deep or here != record.listed or (here and publisher.pages_differ(record)):
            todo.setdefault(record.name, [])
        elif record.yanked or record.name in withdrawn:
            with contextlib.suppress(ValueError, OSError):
                if record.yanked == text(publisher.yanks.of(record.name)):
                    continue
            todo.setdefault(record.name, [])
    for name in here_now:
        # Perhaps of a project that was made a moment ago
        todo.setdefault(name, [])
    for name in foreign:
        _remove_foreign(publisher, name)


def _scan_pages(publisher: Publisher) -> tuple[set[str], list[str]]:
    """Return the projects that have a page, in whatever form, and the names of what is no page."""
    projects, foreign = set(), []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(publisher.simple):  # noqa: PTH208 - the fastest
            page, _form = page_of(name)
            if page:
                projects.add(page)
            else:
                foreign.append(name)
    projects.discard(LIST)
    return projects, foreign


def _remove_foreign(publisher: Publisher, name: str) -> None:
    """Remove what is no page; but not a page that is being written."""
    page, _form = page_of(name.removeprefix("."))
    with publisher.locked("list") if page in ("", LIST) else publisher.edit(page, adopt=False):
        publisher.remove_from(SIMPLE, name)


@dataclass
class _Edited:
    published: int = 0
    withdrawn: int = 0
    repaired: int = 0
    problems: list[str] = field(default_factory=list)
    changing: list[str] = field(default_factory=list)


_Batch = tuple[Path, Path, list[tuple[str, list[str]]], bool]


def _in_parallel(
    publisher: Publisher, todo: dict[str, list[str]], *, deep: bool, processes: int | None
) -> Iterator[_Edited]:
    batches = [(publisher.packages, publisher.pages, batch, deep) for batch in _batches(todo)]
    count = min(processes or len(os.sched_getaffinity(0)), len(batches))
    if count < 2:
        yield from map(_work, batches)
        return
    # A connection to the database must not be shared with a child
    publisher.records.close()
    # Nor looks a child's garbage collector at what it has from here
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(count) as pool:
        yield from pool.imap_unordered(_work, batches)


def _batches(todo: dict[str, list[str]]) -> Iterator[list[tuple[str, list[str]]]]:
    batch: list[tuple[str, list[str]]] = []
    size = 0
    for project, names in todo.items():
        batch.append((project, sorted(names)))
        size += len(names) + 5
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _work(batch: _Batch) -> _Edited:
    packages, pages_dir, projects, deep = batch
    publisher = Publisher(packages, pages_dir)
    edited = _Edited()
    for project, names in projects:
        # The list once, at the end
        _add(edited, publisher.refresh(project, names, deep=deep, with_list=False))
    publisher.records.close()
    return edited


def _add(total: _Edited, edit: Edit) -> None:
    total.published += edit.added
    total.withdrawn += edit.removed
    total.repaired += edit.repaired
    total.problems += edit.problems
    total.changing += edit.changing


def parser_for(verb: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of a command line with the two folders; the server's environment gives their defaults."""
    parser = argparse.ArgumentParser(prog=verb, description=description)
    for name in ("packages", "pages"):
        default = os.environ.get(f"PYINDEX_{name.upper()}_DIR")
        parser.add_argument(f"--{name}-dir", type=Path, required=default is None, default=default)
    return parser


def store_for(options: argparse.Namespace) -> PackageStore:
    """Return the store that *options* of ``parser_for`` name, and make all new files private to it and its group."""
    os.umask(0o027)
    return PackageStore(Path(options.packages_dir), Path(options.pages_dir))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the report is printed as JSON. 1: there is something that is not published; 2: it failed."""
    parser = parser_for("reconcile", __doc__)
    parser.add_argument("--deep", action="store_true", help="read every file again, also where nothing changed")
    options = parser.parse_args(arguments)
    try:
        report = reconcile(store_for(options).publisher, deep=options.deep)
    except OSError as error:
        print(f"the index could not be reconciled: {error}", file=sys.stderr)
        return 2
    except Exception:
        # Python's own status of an uncaught one is 1, which says something else here
        log.exception("the index could not be reconciled")
        return 2
    for problem in report.problems:
        print(problem, file=sys.stderr)
    summary = {name: value for name, value in asdict(report).items() if isinstance(value, int | float)}
    print(json.dumps({**summary, "not_published": len(report.problems)}))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
