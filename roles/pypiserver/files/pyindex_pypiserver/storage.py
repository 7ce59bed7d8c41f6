"""Files of the index on disk: a file is there completely or not at all.

What arrives is written to a temporary file in the same file system, checked, synchronised and
then linked to its final name, which never replaces a file (unless overwriting is allowed, and
then by rename). The pages of its project follow before anybody is told. The folder of temporary
files is never served: its name has a dot.
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

from .disk import sync_folder
from .distributions import DistributionName, check_file, parse_name
from .publishing import FILE_MODE, INCOMING, Edit, Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType


_SUFFIX: Final = ".part"
_CHUNK: Final = 2**20
_BATCH: Final = 1000

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
    """The folder of packages, and the pages that show what is in it."""

    def __init__(self, root: Path, pages_dir: Path) -> None:
        """Use the existing folder *root* for packages and *pages_dir*, which may not exist yet, for pages.

        Group and setgid bit of each hold for all files below.
        """
        self.root = root.resolve()
        self.incoming = self.root / INCOMING
        self.incoming.mkdir(mode=0o700, exist_ok=True)
        self.publisher = Publisher(self.root, pages_dir.resolve())

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
        """Check *incoming*, put it in place as *name* and publish it; return its path.

        When it returns, file and pages are on disk and the next request sees them; when it raises,
        nothing is changed. Raises DistributionError when it is not what its name says, and
        AlreadyPublishedError when there is one of that name or another spelling of it and
        *overwrite* is off.
        """
        incoming.file.flush()
        metadata = check_file(incoming.file, name)
        os.fchmod(incoming.file.fileno(), FILE_MODE)
        os.fsync(incoming.file.fileno())
        final = self.root / name.text
        with self.publisher.edit(name.project) as edit:
            twin = edit.twin(name)
            if twin is not None and not overwrite:
                raise AlreadyPublishedError(twin.name)
            with self._placed(incoming, final, edit, overwrite=overwrite):
                edit.put(name, os.fstat(incoming.file.fileno()), incoming.sha256, metadata)
                if twin is not None and twin.name != name.text:
                    edit.drop(twin.name)
                edit.commit()
            if twin is not None and twin.name != name.text:
                (self.root / twin.name).unlink(missing_ok=True)
        return final

    def remove(self, names: Sequence[str]) -> None:
        """Remove published files of one project: from the pages first, then from the disk."""
        with self.publisher.edit(parse_name(names[0]).project) as edit:
            for name in names:
                edit.drop(name)
            edit.commit()
            try:
                for name in names:
                    (self.root / name).unlink(missing_ok=True)
                sync_folder(self.root)
            except OSError:
                for name in names:
                    edit.restore(name)
                raise

    def find_release(self, project: str, version: str) -> list[str]:
        """Return the published files of one release, whatever the spelling of *project* and *version*."""
        try:
            wanted = Version(version)
        except InvalidVersion:
            return []
        records = self.publisher.records.published(canonicalize_name(project))
        return sorted(record.name for record in records if Version(record.version) == wanted)

    def files(self) -> Iterator[str]:
        """Yield the names of all files, published or not."""
        with os.scandir(self.root) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    yield entry.name

    @contextlib.contextmanager
    def _placed(self, incoming: Incoming, final: Path, edit: Edit, *, overwrite: bool) -> Iterator[None]:
        """Have *incoming* in its place; when the body fails, all is put back as it was."""
        former = incoming.path.with_suffix(f".former{_SUFFIX}") if overwrite and final.exists() else None
        placed = False
        try:
            if former is None:
                try:
                    final.hardlink_to(incoming.path)
                except FileExistsError:
                    raise AlreadyPublishedError(final.name) from None
            else:
                former.hardlink_to(final)
                _make_later(incoming.path, final)
                incoming.path.replace(final)
            placed = True
            sync_folder(self.root)
            yield
        except BaseException:
            if placed and former is not None:
                former.replace(final)
            elif placed:
                final.unlink(missing_ok=True)
            if placed:
                edit.restore(final.name)
            raise
        finally:
            if former is not None:
                former.unlink(missing_ok=True)


def _make_later(new: Path, old: Path) -> None:
    """Give *new* a later second than *old*: the web server tells files apart by it."""
    second = old.stat().st_mtime_ns // 10**9 + 1
    if new.stat().st_mtime_ns < second * 10**9:
        os.utime(new, ns=(second * 10**9, second * 10**9))


class DiskBackend(SimpleFileBackend):  # type: ignore[misc]
    """pypiserver's view of a PackageStore: what the records say, without a look at the files."""

    def __init__(self, config: Any, store: PackageStore) -> None:
        """*config* is pypiserver's RunConfig."""
        super().__init__(config)
        self.store = store

    def get_all_packages(self) -> Iterator[PkgFile]:
        """Return all distributions."""
        last = ""
        while names := self.store.publisher.records.published_names(last, _BATCH):
            for name, _unused in names:
                yield self._package(name)
            last = name

    def find_project_packages(self, project: str) -> Iterator[PkgFile]:
        """Return the distributions of *project* in any spelling."""
        for record in self.store.publisher.records.published(canonicalize_name(project)):
            yield self._package(record.name)

    def find_version(self, name: str, version: str) -> Iterator[PkgFile]:
        """Return the distributions of one release."""
        return (package for package in self.find_project_packages(name) if package.version == version)

    def exists(self, filename: str) -> bool:
        """Return whether a file of exactly this name is published."""
        record = self.store.publisher.records.file(filename)
        return record is not None and record.problem is None

    def add_package(self, filename: str, stream: IO[bytes]) -> None:
        """Publish *stream* as *filename*; see PackageStore.publish for what it raises."""
        name = parse_name(filename)
        with self.store.receive() as incoming:
            while chunk := stream.read(_CHUNK):
                incoming.write(chunk)
            self.store.publish(incoming, name)

    def remove_package(self, pkg: PkgFile) -> None:
        """Remove the file of *pkg*."""
        self.store.remove([pkg.relfn])

    def digest(self, pkg: PkgFile) -> str | None:
        """Return the fragment for links to *pkg*; None when it is gone meanwhile."""
        record = self.store.publisher.records.file(pkg.relfn)
        return None if record is None else f"sha256={record.sha256}"

    def _package(self, name: str) -> PkgFile:
        # A published name has one
        project, version = guess_pkgname_and_version(name)
        return PkgFile(
            pkgname=project, version=version, fn=str(self.store.root / name), root=str(self.store.root), relfn=name
        )
