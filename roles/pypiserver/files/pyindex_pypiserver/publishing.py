"""Publishes to disk: what a change changes is written, page by page, before the change is answered.

Below the pages folder lie ``simple/`` (project list and project pages, as HTML and JSON, and a
compressed copy of each that is worth one) and ``packages/`` (the metadata of wheels); a web server
serves them as they are. None has a folder of its own: a web server that follows no links opens each
folder on the way one by one. Each file is replaced by rename, so a reader sees the old one or the new one.
One project is changed by one process at a time (a lock for it); different projects side by side.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
import stat
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import pages, yanks
from .distributions import DistributionError, DistributionName, Metadata, check_file, parse_name
from .records import FileRecord, ProjectRecord, Records, identity_of, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_MODE: Final = 0o640
# In the packages folder: what is being received, and the locks
INCOMING: Final = ".incoming"
# In the pages folder
STATE: Final = ".state"
SIMPLE: Final = "simple"
METADATA: Final = "packages"
# A page is a file PROJECT.FORM of each form, in the order in which ``sizes`` of a record names them
FORMS: Final = ("html", "json", "html.gz", "json.gz")
# The project list lies among them: no normalised name has an underscore
LIST: Final = "_list"

_FOLDER_MODE: Final = 0o750
# Projects whose names have the same remainder share a lock, which harms nobody
_LOCKS: Final = 256
_CHUNK: Final = 2**20
_NORMALISED: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
# What _page_status says where there is nothing
_NO_PAGE: Final = (-1, " ".join("-" for _form in FORMS))
# The compressed copy of a longer list follows later: see Publisher.compress_list
_MAX_COMPRESSED_AT_ONCE: Final = 2**17

log = logging.getLogger(__name__)


class Publisher:
    """Publishes the files of the folder *packages* in the folder *pages*."""

    def __init__(self, packages: Path, pages_dir: Path) -> None:
        self.packages = packages
        self.pages = pages_dir
        self.simple = pages_dir / SIMPLE
        self.metadata = pages_dir / METADATA
        self.records = Records(pages_dir / STATE / "records.sqlite")
        self.yanks = yanks.Yanks(packages)

    @contextlib.contextmanager
    def edit(self, project: str, *, adopt: bool = True) -> Iterator[Edit]:
        """Lock *project* (normalised) and return what changes it; nothing is written before its ``commit``.

        With *adopt*, as long as not all files were looked at, those of this project are looked at first.
        """
        _make_folder(self.metadata)
        with self.locked(f"{zlib.crc32(project.encode()) % _LOCKS:02x}"):
            edit = Edit(self, project)
            if adopt and not self.records.complete:
                for name in self._names_of(project):
                    edit.examine(name)
            yield edit

    def refresh(self, project: str, names: Iterable[str] = (), *, deep: bool = False, with_list: bool = True) -> Edit:
        """Look at the files *names* of *project* and at its pages; publish what differs. Returns what was done.

        With *deep* the files are read and the pages are written, also where nothing seems to differ.
        Without *with_list* the project list is left to the caller.
        """
        with self.edit(project, adopt=False) as edit:
            for name in names:
                edit.examine(name, deep=deep)
            if edit.changed or edit.pages_differ() or deep:
                edit.commit(durable=False, with_list=with_list)
        return edit

    def pages_differ(self, record: ProjectRecord) -> bool:
        """Return whether the pages of a project on disk are not those that *record* tells of."""
        found = _page_status(self.page(record.name))
        return found != ((record.stamp, record.sizes) if record.listed else _NO_PAGE)

    def page(self, name: str) -> str:
        """Return the path of the page of the project *name* (normalised), or LIST, less a dot and a form."""
        return f"{self.simple}/{name}"

    def remove_from(self, folder: str, *names: str) -> None:
        """Remove files and folders *names*, which nothing here has made, from a *folder* of the pages."""
        for name in names:
            _remove(f"{self.pages}/{folder}/{name}")

    @property
    def is_whole(self) -> bool:
        """Whether there is a page of each project: then there is a project list, and else there is none."""
        return _status(f"{self.page(LIST)}.{FORMS[0]}") is not None

    def update_list(self, change: int, *, durable: bool) -> None:
        """Write the project list, unless it holds the change number *change* already.

        Who waits for another one's writing mostly finds its own change in it: many new projects at
        once cost one or two writings, whatever threads and processes they come from. While pages are
        made anew there is no list: a part of it would be taken for all.
        """
        with self.locked("list"):
            if self.records.get("listed", -1) >= change or not (self.records.complete or self.is_whole):
                return
            # Before the names: what is changed meanwhile is listed, or written by the next one
            changes = self.records.get("changes", 0)
            stamp = _next_stamp(self.page(LIST), self.records.get("list_stamp", 0))
            new = NewPages(self.page(LIST), self._list_pages(), stamp, durable=durable)
            new.place()
            self.records.set(listed=changes, list_stamp=stamp, list_sizes=new.sizes)

    def list_differs(self) -> bool:
        """Return whether the project list on disk is not the one that was written, or is out of date."""
        if self.records.get("listed", -1) < self.records.get("changes", 0):
            return True
        found = _page_status(self.page(LIST))
        return found != (self.records.get("list_stamp", 0), self.records.get("list_sizes", ""))

    def rewrite_list(self) -> None:
        """Write the project list, whatever it is."""
        self.records.set(listed=-1)
        self.update_list(self.records.get("changes", 0), durable=False)

    def compress_list(self) -> None:
        """Write the compressed copies of a long project list, which ``update_list`` leaves out."""
        with self.locked("list"):
            if self.list_differs():
                return
            stamp, sizes = self.records.get("list_stamp", 0), self.records.get("list_sizes", "").split()
            for index, form in enumerate(FORMS[:2]):
                if sizes[index + 2] == "-" and int(sizes[index]) > _MAX_COMPRESSED_AT_ONCE:
                    path = f"{self.page(LIST)}.{form}"
                    data = pages.compressed(Path(path).read_bytes()) or b""
                    path += ".gz"
                    os.close(_write_new(path, data, _time_of(path, stamp)))
                    _put_in_place(path)
                    sizes[index + 2] = str(len(data))
            self.records.set(list_sizes=" ".join(sizes))

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock *name*, which no other thread or process has at the same time."""
        path = self.packages / INCOMING / f"lock-{name}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _names_of(self, project: str) -> list[str]:
        with os.scandir(self.packages) as entries:
            return sorted(entry.name for entry in entries if project_of(entry.name) == project)

    def _list_pages(self) -> list[bytes | None]:
        names = self.records.project_names()
        if not self.records.complete:
            # Only the records were lost: the pages are there
            there = {page for page, form in map(page_of, os.listdir(self.simple)) if form == FORMS[0]}  # noqa: PTH208
            names = "\n".join(sorted(there.union(names.split("\n")) - {"", LIST}))
        plain = [pages.list_html(names), pages.list_json(names)]
        return [*plain, *(pages.compressed(page) if len(page) <= _MAX_COMPRESSED_AT_ONCE else None for page in plain)]


class Edit:
    """A change to one project, while its lock is held."""

    def __init__(self, publisher: Publisher, project: str) -> None:
        self.publisher = publisher
        self.project = project
        self.before = publisher.records.project(project)
        self.files = publisher.records.files_of(project)
        # By the key of what is published
        self._names = {record.key: record.name for record in self.published}
        # What was found wrong with files, one line each
        self.problems: list[str] = []
        # Files that somebody is still writing
        self.changing: list[str] = []
        # What ``commit`` did: files published and taken out, and whether pages were written for neither
        self.added = self.removed = self.repaired = 0
        self._put: dict[str, FileRecord] = {}
        self._dropped: dict[str, FileRecord] = {}
        # Metadata files that ``commit`` replaces
        self._metadata: list[str] = []

    @property
    def changed(self) -> bool:
        """Whether ``commit`` has something to remember."""
        return bool(self._put or self._dropped)

    @property
    def published(self) -> list[FileRecord]:
        """The files that the page names, or will."""
        return [record for record in self.files.values() if record.problem is None]

    def twin(self, name: DistributionName) -> FileRecord | None:
        """Return the published file that is the same distribution as *name*, if it is there."""
        record = self.files.get(self._names.get(key_of(name), ""))
        if record is not None and _status(f"{self.publisher.packages}/{record.name}") is not None:
            return record
        return None

    def put(self, name: DistributionName, status: os.stat_result, sha256: str, metadata: Metadata) -> None:
        """Add the file *name*, or replace what is known of it."""
        digest = size = time_ns = None
        if name.is_wheel:
            digest = hashlib.sha256(metadata.content).hexdigest()
            path = self._metadata_path(name.text)
            size, time_ns, in_place = _write_metadata(path, metadata.content)
            if not in_place:
                self._metadata.append(path)
        else:
            _remove(self._metadata_path(name.text))
        self._set(
            FileRecord(
                name.text,
                name.project,
                str(name.version),
                key_of(name),
                *identity_of(status),
                sha256=sha256,
                requires_python=metadata.requires_python,
                metadata_sha256=digest,
                metadata_size=size,
                metadata_mtime_ns=time_ns,
            )
        )

    def drop(self, name: str) -> None:
        """Take the file *name* out."""
        record = self.files.pop(name, None)
        if record is not None:
            self._put.pop(name, None)
            self._dropped[name] = record
            if self._names.get(record.key) == name:
                del self._names[record.key]

    def examine(self, name: str, *, deep: bool = False) -> None:
        """Look at the file *name* on disk, and take over what it is now: new, another, gone or unchanged.

        With *deep* it is read, also if it seems unchanged.
        """
        known = self.files.get(name)
        status = _status(f"{self.publisher.packages}/{name}")
        if status is None or not stat.S_ISREG(status.st_mode):
            self.drop(name)
            if known is not None and known.problem is None:
                # What it was preferred to
                for other in [other for other in self.files.values() if other.problem and other.key == known.key]:
                    self._read(other.name)
        elif known is None or deep or known.identity != identity_of(status) or not self._metadata_is_there(known):
            self._read(name)
        elif known.problem:
            self.problems.append(known.problem)

    def pages_differ(self) -> bool:
        """Return whether the pages on disk are not those that were written, or others are due."""
        if self.before.listed != bool(self.published) or self.before.yanked != yanks.text(self._yanked()):
            return True
        return self.publisher.pages_differ(self.before)

    def commit(self, *, durable: bool = True, with_list: bool = True) -> None:
        """Write the pages and the records; with *durable* the pages are on disk when it returns.

        Without *with_list* a new project is not on the project list yet.

        All that takes space is written before the first page is replaced, so that a full disk changes none.
        When it raises, the files may be changed back and ``restore`` called.
        """
        publisher, yanked = self.publisher, self._yanked()
        files = self.published
        page = publisher.page(self.project)
        stamp = _next_stamp(page, self.before.stamp)
        new = NewPages(page, self._pages(files, yanked), stamp, durable=durable) if files else None
        record = ProjectRecord(self.project, bool(files), stamp, new.sizes if new else "", yanks.text(yanked))
        try:
            change = publisher.records.write(record, self._put.values(), self._dropped)
        except BaseException:
            if new:
                new.discard()
            raise
        for path in self._metadata:
            _put_in_place(path)
        self._metadata = []
        if new:
            new.place()
        else:
            for form in FORMS:
                _remove(f"{page}.{form}")
                # Of a new project, of which one page had its place when another one could not have it
                _remove(_new_name(f"{page}.{form}"))
        if with_list and record.listed != self.before.listed:
            publisher.update_list(change, durable=durable)
        for name in self._dropped:
            if name not in self.files:
                _remove(self._metadata_path(name))
        self.before = record
        self.added = sum(1 for record in self._put.values() if record.problem is None)
        self.removed = sum(1 for name, record in self._dropped.items() if name not in self.files and not record.problem)
        self.repaired = int(not self.changed)
        self._put, self._dropped = {}, {}

    def restore(self, name: str) -> None:
        """After a failed ``commit``: publish what the file *name* is now, as far as that is possible."""
        for path in self._metadata:
            with contextlib.suppress(OSError):
                _remove(_new_name(path))
        try:
            again = Edit(self.publisher, self.project)
            again.drop(name)
            again.examine(name)
            if again.changed or again.pages_differ():
                again.commit()
        except OSError as error:
            # The watch or the next reconcile does it
            log.warning("project %s: its pages could not be put back: %s", self.project, error)

    def _set(self, record: FileRecord) -> None:
        self.files[record.name] = self._put[record.name] = record
        self._dropped.pop(record.name, None)
        if record.problem is None:
            self._names[record.key] = record.name

    def _read(self, text: str) -> None:
        """Read the file *text* as if nothing was known of it."""
        self.drop(text)
        try:
            name = parse_name(text)
        except DistributionError as error:
            self.problems.append(str(error))
            return
        try:
            descriptor = os.open(f"{self.publisher.packages}/{text}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            self._refuse(name, None, f"{text} cannot be read: {error.strerror}")
            return
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            twin = self.twin(name)
            if twin is not None:
                self._refuse(name, status, f"{text} is the same distribution as {twin.name}, which is published")
                return
            problem = ""
            # A small file is read once, a large one is not held in memory
            content = io.BytesIO(file.read()) if status.st_size <= _CHUNK else file
            try:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
                metadata = check_file(content, name)
            except DistributionError as error:
                problem = str(error)
            if identity_of(os.fstat(descriptor)) != identity_of(status):
                self.changing.append(text)
                return
        if problem:
            self._refuse(name, status, problem)
        else:
            self.put(name, status, sha256, metadata)

    def _refuse(self, name: DistributionName, status: os.stat_result | None, problem: str) -> None:
        self.problems.append(problem)
        # What could not even be opened is tried again each time
        if status is not None:
            _remove(self._metadata_path(name.text))
            known = (name.text, name.project, str(name.version), key_of(name), *identity_of(status))
            self._set(FileRecord(*known, problem=problem))

    def _metadata_path(self, name: str) -> str:
        return f"{self.publisher.metadata}/{name}{pages.METADATA_SUFFIX}"

    def _metadata_is_there(self, record: FileRecord) -> bool:
        status = _status(self._metadata_path(record.name))
        found = (None, None) if status is None else (status.st_size, status.st_mtime_ns)
        return found == (record.metadata_size, record.metadata_mtime_ns)

    def _yanked(self) -> dict[str, str]:
        try:
            return self.publisher.yanks.of(self.project)
        except (ValueError, OSError) as error:
            self.problems.append(str(error))
            return {}

    def _pages(self, records: Iterable[FileRecord], yanked: dict[str, str]) -> list[bytes | None]:
        files = pages.in_order(
            pages.ReleaseFile(
                name=record.name,
                version=record.version,
                size=record.size,
                sha256=record.sha256,
                uploaded_ns=record.mtime_ns,
                requires_python=record.requires_python,
                metadata_sha256=record.metadata_sha256,
                yanked=yanked.get(yanks.key(record.version)) if yanked else None,
            )
            for record in records
        )
        plain = [pages.project_html(self.project, files), pages.project_json(self.project, files)]
        return [*plain, *map(pages.compressed, plain)]


def project_of(file_name: str) -> str | None:
    """Return the project that *file_name* belongs to if it is a distribution at all, without parsing the rest."""
    if file_name.startswith("."):
        return None
    stem = file_name.partition("-")[0] if file_name.endswith(".whl") else file_name.rpartition("-")[0]
    return _normalise(stem) or None


def _normalise(name: str) -> str:
    # What packaging's canonicalize_name does, which takes as long as all else here for many thousand names
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def page_of(file_name: str) -> tuple[str, str]:
    """Return the page and the form of a file in the folder of pages; two empty texts where it is none."""
    page, _unused, form = file_name.partition(".")
    return (page, form) if form in FORMS and (page == LIST or _NORMALISED.fullmatch(page)) else ("", "")


class NewPages:
    """Pages that are written to disk, and take their places when ``place`` is called: nothing can be missing then."""

    def __init__(self, page: str, contents: Iterable[bytes | None], stamp: int, *, durable: bool) -> None:
        """Write the forms *contents* (see FORMS; None for none) of *page*; with *durable* they are on disk."""
        named = [(f"{page}.{form}", content) for form, content in zip(FORMS, contents, strict=True)]
        self.sizes = " ".join("-" if content is None else str(len(content)) for _unused, content in named)
        self._gone = [path for path, content in named if content is None]
        self._new: list[str] = []
        open_files: list[int] = []
        try:
            _make_folder(Path(page).parent)
            for path, content in named:
                if content is not None:
                    self._new.append(path)
                    open_files.append(_write_new(path, content, _time_of(path, stamp)))
            # After the last one is written: the first call mostly brings all of them to disk
            for descriptor in open_files if durable else ():
                os.fsync(descriptor)
        except BaseException:
            self.discard()
            raise
        finally:
            for descriptor in open_files:
                os.close(descriptor)

    def place(self) -> None:
        """Replace what is there."""
        for path in self._gone:
            _remove(path)
        # A compressed copy before the page itself: when that is new, all is
        for path in reversed(self._new):
            _put_in_place(path)

    def discard(self) -> None:
        """Leave what is there as it is."""
        for path in self._new:
            with contextlib.suppress(OSError):
                _remove(_new_name(path))


def _page_status(page: str) -> tuple[int, str] | None:
    """Return stamp and sizes of *page* on disk as a record holds them; None where they fit no record."""
    stamp, sizes = -1, []
    for form in FORMS:
        try:
            status = os.lstat(f"{page}.{form}")
        except OSError:
            sizes.append("-")
            continue
        if stamp < 0:
            stamp = status.st_mtime_ns // 10**9
        if not stat.S_ISREG(status.st_mode) or status.st_mtime_ns != _time_of(form, stamp):
            return None
        sizes.append(str(status.st_size))
    return (stamp, " ".join(sizes))


def _time_of(path: str, stamp: int) -> int:
    """Return the time of modification, in nanoseconds, of the page *path*.

    An entity tag is made of time and size: even seconds for HTML and odd ones for JSON, so that two
    forms never have the same.
    """
    return (stamp + path.endswith(("json", "json.gz"))) * 10**9


def _next_stamp(page: str, before: int) -> int:
    """Return the time for a new *page*: even, and later than that of the page *before*.

    Whatever the clock says; and later than what is there, which a killed process may not have recorded.
    """
    status = _status(f"{page}.{FORMS[0]}")
    there = 0 if status is None else int(status.st_mtime)
    return max(int(time.time()), before + 2, there + 2) // 2 * 2


# Paths are strings from here on: for many thousand files, pathlib takes longer than the system


def _new_name(path: str) -> str:
    folder, _unused, name = path.rpartition("/")
    return f"{folder}/.{name}"


def _write_new(path: str, content: bytes, mtime_ns: int) -> int:
    """Write what ``_put_in_place`` makes *path*, and return its descriptor.

    Who holds the lock of the project is the only one to do so.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(_new_name(path), flags, FILE_MODE)
    try:
        _write_all(descriptor, content)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_metadata(path: str, content: bytes) -> tuple[int, int, bool]:
    """Write a metadata file; return size and time by which it is recognised, and whether it is in its place."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        # Where there is none, no page names it yet
        descriptor = os.open(path, flags, FILE_MODE)
    except FileExistsError:
        later = max(time.time_ns(), os.lstat(path).st_mtime_ns + 10**9)
        os.close(_write_new(path, content, later))
        return len(content), later, False
    try:
        _write_all(descriptor, content)
        status = os.fstat(descriptor)
    except BaseException:
        _remove(path)
        raise
    finally:
        os.close(descriptor)
    return status.st_size, status.st_mtime_ns, True


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _put_in_place(path: str) -> None:
    try:
        os.rename(_new_name(path), path)  # noqa: PTH104
    except IsADirectoryError:
        # Somebody made a folder of this name
        _remove(path)
        os.rename(_new_name(path), path)  # noqa: PTH104


def _make_folder(folder: Path) -> None:
    try:
        os.mkdir(folder, _FOLDER_MODE)  # noqa: PTH102
    except FileNotFoundError:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            _remove(str(folder))
            folder.mkdir(mode=_FOLDER_MODE)


def _remove(path: str) -> None:
    """Remove the file or folder *path*, if there is one."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        shutil.rmtree(path)


def _status(path: Path | str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
