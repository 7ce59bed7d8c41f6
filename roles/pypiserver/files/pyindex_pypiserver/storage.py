"""Files of the index on disk: a file is there completely or not at all.

What arrives is written to a temporary file in the same file system, checked, synchronised and
then linked to its final name, which never replaces a file (unless overwriting is allowed, and
then by rename). pypiserver and nginx skip the folder of temporary files: its name has a dot.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pypiserver.backend import SimpleFileBackend
from pypiserver.core import PkgFile
from pypiserver.pkg_helpers import guess_pkgname_and_version

from .distributions import DistributionError, DistributionName, check_file, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

INCOMING: Final = ".incoming"
FILE_MODE: Final = 0o640

_SUFFIX: Final = ".part"
_CHUNK: Final = 2**20

log = logging.getLogger(__name__)


class AlreadyPublishedError(Exception):
    """The distribution is there already; ``existing`` is the file name it has."""

    def __init__(self, existing: str) -> None:
        super().__init__(existing)
        self.existing = existing


class Incoming:
    """A file that is being received: nobody serves it, and leaving the context removes it."""

    def __init__(self, folder: Path) -> None:
        """Make a new file in *folder*, locked for as long as this process lives."""
        while True:
            descriptor, path = tempfile.mkstemp(suffix=_SUFFIX, dir=folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.path = Path(path)
            # A cleaner can have taken it between the two calls
            if self.path.exists():
                break
            os.close(descriptor)
        self.file: IO[bytes] = os.fdopen(descriptor, "w+b")
        self.size = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes | bytearray) -> None:
        """Append *data*."""
        self.file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Removed before the lock goes with the file
        self.path.unlink(missing_ok=True)
        self.file.close()


class PackageStore:
    """The folder of published files."""

    def __init__(self, root: Path) -> None:
        """Use the existing folder *root*; its group and setgid bit hold for all files below."""
        self.root = root.resolve()
        self.incoming = self.root / INCOMING
        self.incoming.mkdir(mode=0o700, exist_ok=True)
        self._digests: dict[str, tuple[int, int, str]] = {}

    def receive(self) -> Incoming:
        """Return a new temporary file, to be used as a context manager."""
        return Incoming(self.incoming)

    def clean(self) -> int:
        """Remove the temporary files of processes that no longer live; return how many."""
        removed = 0
        for path in self.incoming.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
        return removed

    def publish(self, incoming: Incoming, name: DistributionName, *, overwrite: bool = False) -> Path:
        """Check *incoming* and put it in place as *name*; return its path.

        When it returns, the file is on disk and the next request sees it. Raises DistributionError
        when it is not what its name says, and AlreadyPublishedError, leaving the old file as it is,
        when there is one of that name or another spelling of it and *overwrite* is off.
        """
        incoming.file.flush()
        check_file(incoming.file, name)
        os.fchmod(incoming.file.fileno(), FILE_MODE)
        os.fsync(incoming.file.fileno())
        final = self.root / name.text
        with self._publishing():
            if overwrite:
                incoming.path.replace(final)
            else:
                existing = self._find(name)
                if existing:
                    raise AlreadyPublishedError(existing)
                try:
                    final.hardlink_to(incoming.path)
                except FileExistsError:
                    raise AlreadyPublishedError(name.text) from None
        self._remember(final, os.fstat(incoming.file.fileno()), f"sha256={incoming.sha256}")
        sync_folder(self.root)
        return final

    def remove(self, path: Path) -> None:
        """Remove a published file; nothing happens when it is gone already."""
        path.unlink(missing_ok=True)
        self._digests.pop(str(path), None)
        sync_folder(path.parent)

    def find_release(self, project: str, version: str) -> list[Path]:
        """Return the files of one release, whatever the spelling of *project* and *version*."""
        try:
            wanted = (canonicalize_name(project), Version(version))
        except InvalidVersion:
            return []
        found = []
        for path in self.files(project):
            with contextlib.suppress(DistributionError):
                name = parse_name(path.name)
                if (name.project, name.version) == wanted:
                    found.append(path)
        return sorted(found)

    def files(self, project: str = "") -> Iterator[Path]:
        """Yield the published files in all folders; with *project* at least those of that project."""
        initial = canonicalize_name(project)[:1]
        folders = [str(self.root)]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except (FileNotFoundError, PermissionError):
                # Gone meanwhile; or lost+found, where the packages have a file system of their own
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not initial or entry.name[:1].lower() == initial:
                    yield Path(entry.path)

    def digest(self, path: str) -> str:
        """Return ``sha256=<hexadecimal>`` of the file, computed once for each version of it."""
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            known = self._digests.get(path)
            if known and known[:2] == (status.st_size, status.st_mtime_ns):
                return known[2]
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return self._remember(Path(path), status, f"sha256={digest.hexdigest()}")

    def _remember(self, path: Path, status: os.stat_result, digest: str) -> str:
        self._digests[str(path)] = (status.st_size, status.st_mtime_ns, digest)
        return digest

    def _find(self, name: DistributionName) -> str | None:
        for path in self.files(name.project):
            # Parsing is slow: only what can be the same
            if canonicalize_name(path.name).startswith(f"{name.project}-"):
                with contextlib.suppress(DistributionError):
                    if parse_name(path.name).key == name.key:
                        return path.name
        return None

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[None]:
        """Let one publish at a time, of all threads and processes: seeding is another process."""
        with (self.incoming / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class DiskBackend(SimpleFileBackend):  # type: ignore[misc]
    """pypiserver's view of a PackageStore."""

    def __init__(self, config: Any, store: PackageStore) -> None:
        """*config* is pypiserver's RunConfig."""
        super().__init__(config)
        self.store = store

    def get_all_packages(self) -> Iterator[PkgFile]:
        """Return all distributions."""
        return self._packages("")

    def find_project_packages(self, project: str) -> Iterator[PkgFile]:
        """Return the distributions of *project* in any spelling."""
        wanted = canonicalize_name(project)
        return (package for package in self._packages(wanted) if package.pkgname_norm == wanted)

    def find_version(self, name: str, version: str) -> Iterator[PkgFile]:
        """Return the distributions of one release."""
        return (package for package in self.find_project_packages(name) if package.version == version)

    def exists(self, filename: str) -> bool:
        """Return whether a file of exactly this name is published."""
        return any(path.name == filename for path in self.store.files(filename[:1]))

    def add_package(self, filename: str, stream: IO[bytes]) -> None:
        """Publish *stream* as *filename*; see PackageStore.publish for what it raises."""
        name = parse_name(filename)
        with self.store.receive() as incoming:
            while chunk := stream.read(_CHUNK):
                incoming.write(chunk)
            self.store.publish(incoming, name)

    def remove_package(self, pkg: PkgFile) -> None:
        """Remove the file of *pkg*."""
        if pkg.fn is not None:
            self.store.remove(Path(pkg.fn))

    def digest(self, pkg: PkgFile) -> str | None:
        """Return the fragment for links to *pkg*; None when it is gone meanwhile."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if pkg.fn is not None:
                return self.store.digest(pkg.fn)
        return None

    def _packages(self, project: str) -> Iterator[PkgFile]:
        root = str(self.store.root)
        for path in self.store.files(project):
            guess = guess_pkgname_and_version(path.name)
            if guess is not None and not path.name.endswith(".asc"):
                yield PkgFile(
                    pkgname=guess[0],
                    version=guess[1],
                    fn=str(path),
                    root=root,
                    relfn=str(path.relative_to(root)),
                )


def sync_folder(folder: Path) -> None:
    """Bring new and removed names of *folder* to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
