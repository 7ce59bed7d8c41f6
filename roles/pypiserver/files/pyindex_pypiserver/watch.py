"""Publishes what appears in the packages folder, as it appears, and takes out what goes.

A service of its own beside the server, so that neither waits for the other. The kernel names each
file that was written, moved or removed (inotify), so a change costs the work for that file alone,
however many there are. A full reconcile runs at the start, when the kernel had more to say than it
could keep, when pages were removed by hand, and once in a while.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .publishing import Publisher, project_of
from .reconcile import parser_for, store_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import FrameType

# Events that follow each other are worked on together
SETTLE_SECONDS: Final = 0.3
TICK_SECONDS: Final = 1.0
RECONCILE_SECONDS: Final = 3600.0
# After a reconcile that failed
PAUSE_SECONDS: Final = 30.0
# More than these are faster done with several processes
_MANY: Final = 1000

_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED_FROM: Final = 0x40
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_Q_OVERFLOW: Final = 0x4000
_IN_IGNORED: Final = 0x8000
_IN_ONLYDIR: Final = 0x1000000
_EVENTS: Final = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_ONLYDIR
_HEADER: Final = struct.Struct("iIII")

log = logging.getLogger(__name__)


class Lost(Exception):  # noqa: N818 - nothing is wrong
    """There were more events than the kernel keeps, or the folder is another one: look at everything."""


class FolderEvents:
    """What happens to the names of one folder (inotify(7)), as a context manager.

    Four calls of the C library: the packages that wrap them start programs to find it, or bring
    threads and more along.
    """

    def __init__(self, folder: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0 or library.inotify_add_watch(self.descriptor, os.fsencode(folder), _EVENTS) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{os.strerror(number)} (inotify of {folder})")

    def wait(self, seconds: float) -> bool:
        """Wait for events; return whether there are any."""
        return bool(select.select([self.descriptor], [], [], seconds)[0])

    def read(self) -> Iterator[tuple[str, bool]]:
        """Yield the names that something happened to, and whether it was only their creation. Raises Lost."""
        try:
            data = os.read(self.descriptor, 2**20)
        except BlockingIOError:
            return
        while data:
            _watch, mask, _cookie, length = _HEADER.unpack_from(data)
            name = data[_HEADER.size : _HEADER.size + length].rstrip(b"\0")
            data = data[_HEADER.size + length :]
            if mask & (_IN_Q_OVERFLOW | _IN_IGNORED):
                raise Lost
            yield os.fsdecode(name), mask & _EVENTS == _IN_CREATE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self.descriptor)


class Watch:
    """The watch over one packages folder."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._reconciled = float("-inf")
        self._pause = TICK_SECONDS
        self._unsettled = True
        self._succeeded = False
        # Files that are still being written: when they were last looked at
        self._pending: dict[str, float] = {}

    def run(self) -> None:
        """Watch until the process ends."""
        while True:
            try:
                with FolderEvents(self.publisher.packages) as events:
                    # Nothing is missed between this and the first event
                    self.reconcile()
                    _tell("READY=1")
                    while True:
                        self.step(events)
            except Lost:
                log.warning("more changes at once than the kernel keeps: looking at everything")
            except OSError as error:
                # Folder gone, no inotify left, disk full: better late than never
                log.error("cannot watch, so all is looked at every %d s: %s", PAUSE_SECONDS, error)
                self.reconcile()
                _tell("READY=1")
                time.sleep(PAUSE_SECONDS)

    def step(self, events: FolderEvents) -> None:
        """Wait for changes at most a moment, and publish them."""
        names: set[str] = set()
        if events.wait(TICK_SECONDS):
            deadline = time.monotonic() + SETTLE_SECONDS
            while (left := deadline - time.monotonic()) > 0 and events.wait(left):
                for name, created in events.read():
                    if created and self._is_open_ended(name):
                        self._pending[name] = time.monotonic()
                    else:
                        names.add(name)
        now = time.monotonic()
        names.update(name for name, since in self._pending.items() if now - since >= 2 * TICK_SECONDS)
        if len(names) > _MANY or self._is_due(now):
            self._pending.clear()
            self.reconcile()
        elif names:
            self._unsettled = True
            self.publish(names)
        elif self._unsettled:
            self._unsettled = False
            self.publisher.compress_list()

    def publish(self, names: Iterable[str]) -> None:
        """Look at the files *names*."""
        projects: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            self._pending.pop(name, None)
            project = project_of(name)
            if project and name.isascii() and name.isprintable():
                projects[project].append(name)
        for project, members in projects.items():
            edit = self.publisher.refresh(project, sorted(members))
            for problem in edit.problems:
                log.warning("not published: %s", problem)
            for name in edit.changing:
                self._pending[name] = time.monotonic()
            if edit.added or edit.removed:
                log.info("project %s: %d files published, %d taken out", project, edit.added, edit.removed)

    def reconcile(self) -> None:
        """Look at everything, in another process: its memory is given back."""
        if self._succeeded and not self._can_write():
            # In a sandbox it cannot be made again: who starts this program does
            sys.exit(f"{self.publisher.pages} was removed or is read-only now: starting again")
        program = [sys.executable, "-m", f"{__package__}.reconcile"]
        folders = ["--packages-dir", str(self.publisher.packages), "--pages-dir", str(self.publisher.pages)]
        with subprocess.Popen([*program, *folders], stdin=subprocess.DEVNULL, process_group=0) as process:
            try:
                while process.poll() is None:
                    # A first one may take longer than a unit has for its start
                    _tell("EXTEND_TIMEOUT_USEC=60000000")
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(TICK_SECONDS)
            except BaseException:
                # With its workers: the next start does it again
                os.killpg(process.pid, signal.SIGKILL)
                raise
        self._reconciled = time.monotonic()
        self._pause = TICK_SECONDS
        if process.returncode in (0, 1):
            self._succeeded = True
        else:
            log.error("the reconcile failed (%d)", process.returncode)
            self._pause = PAUSE_SECONDS

    def _can_write(self) -> bool:
        with contextlib.suppress(OSError):
            self.publisher.pages.mkdir(mode=0o750, parents=True, exist_ok=True)
        return os.access(self.publisher.pages, os.W_OK)

    def _is_due(self, now: float) -> bool:
        if now - self._reconciled > RECONCILE_SECONDS:
            return True
        gone = not self.publisher.is_whole or not self.publisher.records.complete
        return gone and now - self._reconciled > self._pause

    def _is_open_ended(self, name: str) -> bool:
        """Return whether the new file *name* is one that is being written, and not a link to a finished one."""
        try:
            status = (self.publisher.packages / name).lstat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and time.time() - status.st_mtime < TICK_SECONDS


def _tell(message: str) -> None:
    """Tell systemd, if it asked for it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(message.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command until it is told to stop."""
    options = parser_for("watch", __doc__).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    Watch(store_for(options).publisher).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
