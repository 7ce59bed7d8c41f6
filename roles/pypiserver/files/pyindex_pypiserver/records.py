"""What is known of each published file, and of the pages as they were written: a small database.

All of it can be found out again from the packages, so it may be deleted at any time: it saves
reading a file twice. It lives beside the pages, and is shared by all processes that publish.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import threading
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from packaging.utils import canonicalize_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from .distributions import DistributionName

# Another number and the database is made anew, and all pages with it
_SCHEMA_VERSION: Final = 3
_SCHEMA: Final = """
CREATE TABLE file (
    name TEXT PRIMARY KEY, project TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL,
    inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
    requires_python TEXT, metadata_sha256 TEXT, metadata_size INTEGER, metadata_mtime_ns INTEGER, problem TEXT
) WITHOUT ROWID;
CREATE INDEX file_of_project ON file (project);
CREATE INDEX file_with_problem ON file (name) WHERE problem NOT NULL;
CREATE TABLE project (
    name TEXT PRIMARY KEY, listed INTEGER NOT NULL, stamp INTEGER NOT NULL, sizes TEXT NOT NULL, yanked TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX listed_project ON project (name) WHERE listed;
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_BUSY_SECONDS: Final = 60
_SYSTEM_ERRORS: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
_DAMAGES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileRecord:
    """A file as it was when it was read; with a ``problem`` it is not published.

    ``key`` is equal for two spellings of one distribution of a project.
    """

    name: str
    project: str
    version: str
    key: str
    inode: int
    mtime_ns: int
    size: int
    sha256: str = ""
    requires_python: str | None = None
    metadata_sha256: str | None = None
    metadata_size: int | None = None
    metadata_mtime_ns: int | None = None
    problem: str | None = None

    @property
    def identity(self) -> tuple[int, int, int]:
        """What changes when the file becomes another one."""
        return (self.inode, self.mtime_ns, self.size)


@dataclass(frozen=True)
class ProjectRecord:
    """The pages of a project as they were written.

    ``listed``: whether it has any; ``stamp``: their time of modification, in seconds; ``sizes``: of
    each form, see publishing; ``yanked``: what they say of withdrawn releases, as JSON.
    """

    name: str
    listed: bool = False
    stamp: int = 0
    sizes: str = ""
    yanked: str = ""


_FILE_VALUES: Final = attrgetter(*(field.name for field in fields(FileRecord)))
_PROJECT_VALUES: Final = attrgetter(*(field.name for field in fields(ProjectRecord)))
_FILE_FIELDS: Final = ", ".join(field.name for field in fields(FileRecord))
_PUT_FILE: Final = f"REPLACE INTO file ({_FILE_FIELDS}) VALUES (?{', ?' * (len(fields(FileRecord)) - 1)})"  # noqa: S608
_GET_FILES: Final = f"SELECT {_FILE_FIELDS} FROM file"  # noqa: S608


def identity_of(status: os.stat_result) -> tuple[int, int, int]:
    """Return what FileRecord.identity is of a file with this *status*."""
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def key_of(name: DistributionName) -> str:
    """Return the text form of the key of *name*."""
    kind, _unused, _version, *rest = name.key
    parts = [kind, canonicalize_version(name.version)]
    if rest:
        build, tags = rest
        parts += [build, sorted(map(str, tags))]  # type: ignore[call-overload]
    return " ".join(map(str, parts))


class _Connection(sqlite3.Connection):
    """Is closed when its thread is gone."""

    def __del__(self) -> None:
        self.close()


class Records:
    """The database in the file *path*; threads and processes may share it.

    When the file is gone or damaged, which any statement may find, an empty one takes its place, and
    the statement is of that. It is not ``complete``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def files_of(self, project: str) -> dict[str, FileRecord]:
        """Return what is known of the files of *project* (normalised), by name."""
        rows = self._fetch(f"{_GET_FILES} WHERE project = ?", (project,))
        return {row[0]: FileRecord(*row) for row in rows}

    def published(self, project: str) -> list[FileRecord]:
        """Return the published files of *project* (normalised)."""
        return [record for record in self.files_of(project).values() if record.problem is None]

    def file(self, name: str) -> FileRecord | None:
        """Return what is known of the file *name*."""
        rows = self._fetch(f"{_GET_FILES} WHERE name = ?", (name,))
        return FileRecord(*rows[0]) if rows else None

    def files(self) -> Iterator[tuple[str, str, tuple[int, int, int], tuple[int | None, int | None]]]:
        """Yield name, project, identity, and size and time of the metadata of every file."""
        rows = self._stream("SELECT name, project, inode, mtime_ns, size, metadata_size, metadata_mtime_ns FROM file")
        for name, project, inode, mtime_ns, size, metadata_size, metadata_mtime_ns in rows:
            yield name, project, (inode, mtime_ns, size), (metadata_size, metadata_mtime_ns)

    def problems(self) -> list[str]:
        """Return what is wrong with the files that are not published."""
        return [problem for (problem,) in self._fetch("SELECT problem FROM file WHERE problem NOT NULL")]

    def published_names(self, after: str, limit: int) -> list[tuple[str, str]]:
        """Return name and SHA-256 of up to *limit* published files whose names come after *after*."""
        return self._fetch(
            "SELECT name, sha256 FROM file WHERE name > ? AND problem IS NULL ORDER BY name LIMIT ?", (after, limit)
        )

    def project(self, name: str) -> ProjectRecord:
        """Return what was written of the project *name*; an empty record for an unknown one."""
        rows = self._fetch("SELECT * FROM project WHERE name = ?", (name,))
        return _project_record(rows[0]) if rows else ProjectRecord(name)

    def projects(self) -> Iterator[ProjectRecord]:
        """Yield what was written of each project, also of those that are gone."""
        yield from map(_project_record, self._stream("SELECT * FROM project"))

    def project_names(self) -> str:
        """Return the names of all projects with a page, one a line, in order."""
        ((names,),) = self._fetch(
            "SELECT group_concat(name, char(10)) FROM (SELECT name FROM project WHERE listed ORDER BY name)"
        )
        return names or ""

    def write(self, project: ProjectRecord, put: Collection[FileRecord], drop: Collection[str]) -> int:
        """Remember *project* and its files *put*, forget *drop*, in one step.

        Returns the number of the last change to the project list, this one included.
        """

        def replace(connection: sqlite3.Connection) -> int:
            with _transaction(connection):
                before = connection.execute("SELECT listed FROM project WHERE name = ?", (project.name,)).fetchone()
                connection.executemany("DELETE FROM file WHERE name = ?", [(name,) for name in drop])
                connection.executemany(_PUT_FILE, map(_FILE_VALUES, put))
                connection.execute("REPLACE INTO project VALUES (?, ?, ?, ?, ?)", _PROJECT_VALUES(project))
                changes = int(_get(connection, "changes", 0))
                if bool(before and before[0]) != project.listed:
                    changes += 1
                    _set(connection, "changes", changes)
                return changes

        return self._run(replace)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value *name* that was kept with ``set``."""
        return self._run(lambda connection: _get(connection, name, default))

    def set(self, **values: Any) -> None:
        """Keep *values*: integers and texts."""

        def replace(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                for name, value in values.items():
                    _set(connection, name, value)

        self._run(replace)

    @property
    def complete(self) -> bool:
        """Whether all files were looked at since the database was made."""
        return bool(self.get("complete", 0))

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = self._local.opened = None

    def _fetch(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of *query*."""
        return self._run(lambda connection: connection.execute(query, values).fetchall())

    def _stream(self, query: str) -> Iterator[Any]:
        """Yield the rows of *query*, those of all files or projects; where damage is found on the way, no more of them."""
        try:
            yield from self._connection().execute(query)
        except sqlite3.DatabaseError as error:
            self._start_anew(error)

    def _run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return what *work* returns for the connection; if the database is damaged, for that to a new one."""
        try:
            return work(self._connection())
        except sqlite3.DatabaseError as error:
            self._start_anew(error)
        return work(self._connection())

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection, to the file that has the name now."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._is_current():
            return connection
        self.close()
        with self._alone():
            try:
                connection = self._open()
            except sqlite3.DatabaseError as error:
                _raise_unless_damage(error)
                self._remove(error)
                connection = self._open()
            self._local.connection = connection
            self._local.opened = self._identity()
        return connection

    def _start_anew(self, error: sqlite3.DatabaseError) -> None:
        """Remove the database if *error* says that it is damaged, unless another one has; raise any other *error*."""
        _raise_unless_damage(error)
        with self._alone():
            if self._is_current():
                self._remove(error)

    def _remove(self, error: sqlite3.DatabaseError) -> None:
        log.warning("%s is damaged (%s): made anew", self.path, error)
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Have no other thread or process open or remove the database at the same time."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _is_current(self) -> bool:
        """Return whether this thread's connection is to the file that has the name now."""
        with contextlib.suppress(FileNotFoundError):
            return bool(getattr(self._local, "opened", None) == self._identity())
        return False

    def _identity(self) -> tuple[int, int]:
        status = self.path.stat()
        return (status.st_dev, status.st_ino)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Nothing that is lost with the power is lost for good
            connection.execute("PRAGMA synchronous = NORMAL")
            if _schema_version(connection) != _SCHEMA_VERSION:
                _make_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _get(connection: sqlite3.Connection, name: str, default: Any) -> Any:
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return row[0] if row else default


def _set(connection: sqlite3.Connection, name: str, value: Any) -> None:
    connection.execute("REPLACE INTO state VALUES (?, ?)", (name, value))


def _project_record(row: tuple[Any, ...]) -> ProjectRecord:
    return ProjectRecord(row[0], bool(row[1]), *row[2:])


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _make_schema(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have made it meanwhile
    if _schema_version(connection) != _SCHEMA_VERSION:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _raise_unless_damage(error: sqlite3.DatabaseError) -> None:
    """Raise *error* of the database, or the OSError that it stands for, unless it says that the database is damaged."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = _SYSTEM_ERRORS.get(code)
    if number is not None:
        raise OSError(number, f"{os.strerror(number)} (the records of the index: {error})") from error
    if code not in _DAMAGES:
        raise error
