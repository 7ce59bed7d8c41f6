"""The watch: what appears in the packages folder is published within two seconds, what goes is taken out."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from pyindex_pypiserver.watch import FolderEvents, Lost, Watch
from tests.unit.pypiserver.made import sdist, wheel
from tests.unit.pypiserver.published import page, projects, publish, shown

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
# What is promised, and what a loaded machine may take besides
PROMISED_SECONDS = 2.0
PATIENCE_SECONDS = 30.0


@pytest.fixture
def watching(store: PackageStore, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A watch as systemd runs it, ready."""
    publish(store, SDIST, sdist())
    reconcile(store.publisher)
    address = str(tmp_path / "notify")
    command = [sys.executable, "-m", "pyindex_pypiserver.watch", "--packages-dir", str(store.root)]
    command += ["--pages-dir", str(store.publisher.pages)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NOTIFY_SOCKET": address}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(PATIENCE_SECONDS)
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            message = b""
            while message != b"READY=1":
                message = channel.recv(200)
                assert message in (b"READY=1", b"EXTEND_TIMEOUT_USEC=60000000")
            yield process
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0


def wait_for(what: Callable[[], bool]) -> float:
    """Return the seconds until *what* holds."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_SECONDS:
        try:
            if what():
                return time.monotonic() - began
        except (OSError, KeyError, AssertionError):
            pass
        time.sleep(0.02)
    pytest.fail("it is never published")


@pytest.mark.usefixtures("watching")
def test_what_appears_is_published_and_what_goes_is_taken_out(store: PackageStore) -> None:
    def is_listed(name: str) -> Callable[[], bool]:
        return lambda: name in page(store, "demo")

    # Moved here, as rsync does it
    other = store.root.parent / "other"
    other.write_bytes(wheel())
    other.rename(store.root / WHEEL)
    moved = wait_for(is_listed(WHEEL))
    # Written here, bit by bit
    with (store.root / "demo-2.0.tar.gz").open("wb") as file:
        data = sdist("demo", "2.0")
        file.write(data[:50])
        file.flush()
        time.sleep(0.5)
        file.write(data[50:])
    written = wait_for(is_listed("demo-2.0.tar.gz"))
    # Linked here
    other.write_bytes(sdist("demo", "3.0"))
    (store.root / "demo-3.0.tar.gz").hardlink_to(other)
    linked = wait_for(is_listed("demo-3.0.tar.gz"))
    # Removed
    (store.root / WHEEL).unlink()
    removed = wait_for(lambda: WHEEL not in page(store, "demo"))
    # Overwritten in place
    (store.root / SDIST).write_bytes(sdist(more={"demo-1.0/new": b"x"}))
    size = (store.root / SDIST).stat().st_size
    overwritten = wait_for(lambda: page(store, "demo")[SDIST]["size"] == size)
    # The whole project
    for name in list(page(store, "demo")):
        (store.root / name).unlink()
    gone = wait_for(lambda: not (store.publisher.simple / "demo.html").exists() and projects(store) == [])
    times = [moved, written, linked, removed, overwritten, gone]
    # Half of them: the machine may be busy
    assert sorted(times)[2] < PROMISED_SECONDS, times
    assert shown(store) == {}


@pytest.mark.usefixtures("watching")
def test_pages_that_are_removed_by_hand_come_back(store: PackageStore) -> None:
    shutil.rmtree(store.publisher.pages / "simple")
    wait_for(lambda: list(shown(store)) == [SDIST])
    shutil.rmtree(store.publisher.pages)
    wait_for(lambda: list(shown(store)) == [SDIST])


@pytest.mark.usefixtures("watching")
def test_many_at_once_are_published_and_none_is_forgotten(store: PackageStore) -> None:
    for number in range(300):
        (store.root / f"p{number % 20}-{number}.tar.gz").write_bytes(sdist(f"p{number % 20}", str(number)))
    wait_for(lambda: len(shown(store)) == 301)


@pytest.mark.usefixtures("watching")
def test_uploads_beside_it_are_published_once(store: PackageStore) -> None:
    publish(store, WHEEL, wheel())
    before = (store.publisher.simple / "demo.html").stat().st_mtime_ns
    (store.root / "last-1.0.tar.gz").write_bytes(sdist("last"))
    wait_for(lambda: "last-1.0.tar.gz" in page(store, "last"))
    assert (store.publisher.simple / "demo.html").stat().st_mtime_ns == before


def test_a_killed_watch_starts_again(store: PackageStore, watching: subprocess.Popen[bytes]) -> None:
    # It is a program without children and state; the fixture ends it
    assert watching.poll() is None
    children = Path(f"/proc/{watching.pid}/task/{watching.pid}/children")
    assert not children.exists() or children.read_text() == ""
    assert list(shown(store)) == [SDIST]
    os.kill(watching.pid, signal.SIGCONT)


def test_more_events_than_the_kernel_keeps_lead_to_a_look_at_everything(
    store: PackageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FolderEvents(store.root) as events:
        overflow = b"\xff\xff\xff\xff" + (0x4000).to_bytes(4, "little") + bytes(8)
        monkeypatch.setattr(os, "read", lambda *_unused: overflow)
        with pytest.raises(Lost):
            list(events.read())


def test_many_changes_at_once_are_left_to_a_reconcile(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(store.publisher)
    watch._reconciled = time.monotonic()
    calls = []
    monkeypatch.setattr("pyindex_pypiserver.watch._MANY", 3)
    monkeypatch.setattr(watch, "reconcile", lambda: calls.append("reconcile"))
    monkeypatch.setattr(watch, "publish", lambda names: calls.append(f"publish {len(names)}"))
    with FolderEvents(store.root) as events:
        for number in range(5):
            (store.root / f"demo-{number}.tar.gz").write_bytes(b"x")
        watch.step(events)
        (store.root / "demo-9.tar.gz").write_bytes(b"x")
        watch.step(events)
    assert calls == ["reconcile", "publish 1"]


def test_a_folder_of_pages_that_it_cannot_make_again_ends_it(
    store: PackageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sandbox the folder's name leads to nothing once it was removed, until the service starts again."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    folder = tmp_path / "sandbox"
    watch = Watch(PackageStore(store.root, folder / "pages").publisher)
    watch.reconcile()
    shutil.rmtree(folder)
    folder.write_text("no folder can be made in a file")
    with pytest.raises(SystemExit, match="was removed or is read-only now: starting again"):
        watch.reconcile()


def test_a_folder_of_pages_that_never_could_be_written_does_not_end_it(
    store: PackageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would start again and again."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (tmp_path / "file").touch()
    watch = Watch(PackageStore(store.root, tmp_path / "file" / "pages").publisher)
    watch.reconcile()
    assert watch._pause > 1


def test_a_long_list_is_compressed_when_all_is_quiet(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyindex_pypiserver.publishing._MAX_COMPRESSED_AT_ONCE", 1000)
    for number in range(70):
        publish(store, f"project{number}-1.tar.gz", sdist(f"project{number}", "1"))
    copy = store.publisher.simple / "_list.html.gz"
    assert not copy.exists()
    watch = Watch(store.publisher)
    watch._reconciled = time.monotonic()
    with FolderEvents(store.root) as events:
        watch.step(events)
    assert copy.exists()
    assert len(shown(store)) == 70
    assert not store.publisher.list_differs()


def test_hidden_and_odd_names_are_passed_over(store: PackageStore) -> None:
    before = set(store.publisher.simple.iterdir())
    Watch(store.publisher).publish([".incoming", ".x-1.0.tar.gz", "b\udcff-1.tar.gz", "notes.txt", "a b-1.tar.gz"])
    assert projects(store) == []
    assert set(store.publisher.simple.iterdir()) == before


def test_a_file_that_is_damaged_is_named_once(store: PackageStore, caplog: pytest.LogCaptureFixture) -> None:
    (store.root / SDIST).write_bytes(b"nonsense")
    Watch(store.publisher).publish([SDIST])
    assert [record.message for record in caplog.records] == [
        f"not published: {SDIST} is no gzip archive, which a .tar.gz is"
    ]
