"""What is known of each published file, and of the pages as they were written: a small database.

All of it can be found out again from the packages, so it may be deleted at any time: it saves
reading a file twice. It lives beside the pages, and is shared by all processes that publish.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import canonicalize_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .distributions import DistributionName

# Another number and the database is made anew
_SCHEMA_VERSION: Final = 2
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

    When the file is gone or damaged, an empty one takes its place, which is not ``complete``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def files_of(self, project: str) -> dict[str, FileRecord]:
        """Return what is known of the files of *project* (normalised), by name."""
        rows = self._connection().execute(f"{_GET_FILES} WHERE project = ?", (project,))
        return {row[0]: FileRecord(*row) for row in rows}

    def published(self, project: str) -> list[FileRecord]:
        """Return the published files of *project* (normalised)."""
        return [record for record in self.files_of(project).values() if record.problem is None]

    def file(self, name: str) -> FileRecord | None:
        """Return what is known of the file *name*."""
        row = self._connection().execute(f"{_GET_FILES} WHERE name = ?", (name,)).fetchone()
        return FileRecord(*row) if row else None

    def files(self) -> Iterator[tuple[str, str, tuple[int, int, int], tuple[int | None, int | None]]]:
        """Yield name, project, identity, and size and time of the metadata of every file."""
        rows = self._connection().execute(
            "SELECT name, project, inode, mtime_ns, size, metadata_size, metadata_mtime_ns FROM file"
        )
        for name, project, inode, mtime_ns, size, metadata_size, metadata_mtime_ns in rows:
            yield name, project, (inode, mtime_ns, size), (metadata_size, metadata_mtime_ns)

    def problems(self) -> list[str]:
        """Return what is wrong with the files that are not published."""
        return [problem for (problem,) in self._connection().execute("SELECT problem FROM file WHERE problem NOT NULL")]

    def published_names(self, after: str, limit: int) -> list[tuple[str, str]]:
        """Return name and SHA-256 of up to *limit* published files whose names come after *after*."""
        rows = self._connection().execute(
            "SELECT name, sha256 FROM file WHERE name > ? AND problem IS NULL ORDER BY name LIMIT ?", (after, limit)
        )
        return rows.fetchall()

    def project(self, name: str) -> ProjectRecord:
        """Return what was written of the project *name*; an empty record for an unknown one."""
        row = self._connection().execute("SELECT * FROM project WHERE name = ?", (name,)).fetchone()
        return ProjectRecord(row[0], bool(row[1]), *row[2:]) if row else ProjectRecord(name)

    def projects(self) -> Iterator[ProjectRecord]:
        """Yield what was written of each project, also of those that are gone."""
        for row in self._connection().execute("SELECT * FROM project"):
            yield ProjectRecord(row[0], bool(row[1]), *row[2:])

    def project_names(self) -> str:
        """Return the names of all projects with a page, one a line, in order."""
        (names,) = (
            self._connection()
            .execute("SELECT group_concat(name, char(10)) FROM (SELECT name FROM project WHERE listed ORDER BY name)")
            .fetchone()
        )
        return names or ""

    def write(self, project: ProjectRecord, put: Iterable[FileRecord], drop: Iterable[str]) -> int:
        """Remember *project* and its files *put*, forget *drop*, in one step.

        Returns the number of the last change to the project list, this one included.
        """
        with self._transaction() as connection:
            before = connection.execute("SELECT listed FROM project WHERE name = ?", (project.name,)).fetchone()
            connection.executemany("DELETE FROM file WHERE name = ?", [(name,) for name in drop])
            connection.executemany(_PUT_FILE, map(_FILE_VALUES, put))
            connection.execute("REPLACE INTO project VALUES (?, ?, ?, ?, ?)", _PROJECT_VALUES(project))
            changes = int(self._get(connection, "changes", 0))
            if bool(before and before[0]) != project.listed:
                changes += 1
                self._set(connection, "changes", changes)
            return changes

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value *name* that was kept with ``set``."""
        return self._get(self._connection(), name, default)

    def set(self, **values: Any) -> None:
        """Keep *values*: integers and texts."""
        with self._transaction() as connection:
            for name, value in values.items():
                self._set(connection, name, value)

    @property
    def complete(self) -> bool:
        """Whether all files were looked at since the database was made."""
        return bool(self.get("complete", 0))

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def discard(self) -> None:
        """Remove a damaged database; the next use makes an empty one."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @staticmethod
    def _get(connection: sqlite3.Connection, name: str, default: Any) -> Any:
        row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else default

    @staticmethod
    def _set(connection: sqlite3.Connection, name: str, value: Any) -> None:
        connection.execute("REPLACE INTO state VALUES (?, ?)", (name, value))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            _raise_as_os_error(error)
            raise

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection, to the file that has the name now."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            with contextlib.suppress(FileNotFoundError):
                if self._local.opened == self._identity():
                    return connection
            self.close()
        try:
            connection = self._open()
        except sqlite3.OperationalError as error:
            _raise_as_os_error(error)
            raise
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s): made anew", self.path, error)
            self.discard()
            connection = self._open()
        self._local.connection = connection
        self._local.opened = self._identity()
        return connection

    def _identity(self) -> tuple[int, int]:
        status = self.path.stat()
        return (status.st_dev, status.st_ino)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def _raise_as_os_error(error: BaseException) -> None:
    """Raise the OSError that *error* of the database stands for, if it does."""
    number = _SYSTEM_ERRORS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if number is not None:
        raise OSError(number, f"{os.strerror(number)} (the records of the index: {error})") from error
