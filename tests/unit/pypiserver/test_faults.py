"""Faults of the machine below the index: a disk that is full or read-only, a clock that is set back, two at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pyindex_pypiserver import yank
from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import sdist, wheel
from tests.unit.pypiserver.published import leftovers, page, publish, shown

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
YEAR = 365 * 86400

# A disk of its own, in a namespace that goes with the process: no right on the machine is needed
ON_A_SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c"]
SMALL_DISK = """
import errno, os, subprocess, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import sdist, wheel
from tests.unit.pypiserver.published import leftovers, publish, shown

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
(disk / "packages").mkdir()
store = PackageStore(disk / "packages", disk / "pages")
reconcile(store.publisher)
publish(store, "other-1.0.tar.gz", sdist("other"))

def leave(size):
    \"\"\"Fill the disk up to *size* bytes.\"\"\"
    (disk / "filler").unlink(missing_ok=True)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "filler").write_bytes(bytes(max(0, free - size)))
"""


def on_a_small_disk(tmp_path: Path, script: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    probe = subprocess.run([*ON_A_SMALL_DISK[:-2], "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("this machine makes no namespaces")
    result = subprocess.run(
        [*ON_A_SMALL_DISK, SMALL_DISK + script, str(disk), *sys.path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_disk_that_is_really_full_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """From no space at all, a block more each time, until there is enough: every step of an upload fails once."""
    on_a_small_disk(
        tmp_path,
        """
for name, data in (("demo-1.0-py3-none-any.whl", wheel()), ("demo-1.1.tar.gz", sdist("demo", "1.1"))):
    before, refused = shown(store), 0
    for blocks in range(200):
        leave(4096 * blocks)
        try:
            publish(store, name, data)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            refused += 1
            assert shown(store) == before, blocks
            assert sorted(store.files()) == sorted(before)
            assert leftovers(store) == [], blocks
        else:
            break
    assert refused > 3
    assert sorted(shown(store)) == sorted([*before, name])
before = shown(store)
for blocks in range(200):
    leave(4096 * blocks)
    try:
        store.remove(["other-1.0.tar.gz"])
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        assert shown(store) == before, blocks
    else:
        break
assert sorted(shown(store)) == ["demo-1.0-py3-none-any.whl", "demo-1.1.tar.gz"]
""",
    )


def test_a_reconcile_on_a_full_disk_publishes_when_there_is_space(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path,
        """
for number in range(30):
    (store.root / f"p{number}-1.tar.gz").write_bytes(sdist(f"p{number}", "1"))
refused = 0
for blocks in (0, 1, 3, 9, 27, 300):
    leave(4096 * blocks)
    try:
        reconcile(store.publisher, processes=1)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        refused += 1
    else:
        break
assert refused
assert len(shown(store)) == 31
assert leftovers(store) == []
""",
    )


def test_a_disk_that_becomes_read_only_refuses_and_goes_on_later(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path,
        """
before = shown(store)
store.publisher.records.close()
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
for action in (lambda: publish(store, "demo-1.1.tar.gz", sdist("demo", "1.1")), lambda: store.remove(list(before))):
    try:
        action()
    except OSError as error:
        assert error.errno in (errno.EROFS, errno.EACCES), error
    else:
        raise AssertionError("it is not refused")
subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
assert shown(store) == before
publish(store, "demo-1.1.tar.gz", sdist("demo", "1.1"))
assert len(shown(store)) == 2
""",
    )


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Shifts the clock that the index reads, and the times that its disk gives to what is received."""
    real_time, real_ns, real_sync = time.time, time.time_ns, os.fsync

    def shift(seconds: int) -> None:
        def sync(descriptor: int) -> None:
            if f"/{'.incoming'}/" in os.readlink(f"/proc/self/fd/{descriptor}"):  # noqa: PTH115
                os.utime(descriptor, (real_time() + seconds, real_time() + seconds))
            real_sync(descriptor)

        monkeypatch.setattr(time, "time", lambda: real_time() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + seconds * 10**9)
        monkeypatch.setattr(os, "fsync", sync)

    return shift


def times(store: PackageStore) -> dict[str, float]:
    """Return when each page and metadata file says it was modified."""
    paths = [*store.publisher.simple.iterdir(), *store.publisher.metadata.iterdir()]
    return {str(path): path.stat().st_mtime for path in paths}


def test_a_clock_that_is_set_back_makes_nothing_older(store: PackageStore, set_clock: Callable[[int], None]) -> None:
    """A cache that asks whether something is newer would keep what it has."""
    publish(store, WHEEL, wheel())
    uploaded = page(store, "demo")[WHEEL]["upload-time"]
    folders = ["--packages-dir", str(store.root), "--pages-dir", str(store.publisher.pages)]
    actions: list[Callable[[], object]] = [
        lambda: publish(store, SDIST, sdist()),
        lambda: publish(store, "new-1.0.tar.gz", sdist("new")),
        lambda: publish(store, WHEEL, wheel(more={"demo/more.py": b"x"}), overwrite=True),
        lambda: yank.main([*folders, "demo", "1.0", "broken"]),
        lambda: store.remove(["new-1.0.tar.gz"]),
        lambda: reconcile(store.publisher, deep=True),
    ]
    for shift in (-YEAR, -2 * YEAR, 0, -1):
        set_clock(shift)
        for number, action in enumerate(actions):
            before, file = times(store), (store.root / WHEEL).stat().st_mtime
            contents = {path: Path(path).read_bytes() for path in before}
            if shift in (-YEAR, 0) or number > 1:
                action()
            else:
                (store.root / f"demo-{number + 3}{abs(shift)}.tar.gz").write_bytes(
                    sdist("demo", f"{number + 3}{abs(shift)}")
                )
                reconcile(store.publisher)
            for path, moment in times(store).items():
                if path in before and Path(path).read_bytes() != contents[path]:
                    assert int(moment) > int(before[path]), (shift, number, path)
            assert (store.root / WHEEL).stat().st_mtime >= file
            shown(store)
        if shift == -YEAR:
            # What was uploaded under this clock has the time of this clock
            [moment] = [file["upload-time"] for name, file in page(store, "demo").items() if name == SDIST]
            assert datetime.fromisoformat(moment) < datetime.fromisoformat(uploaded)
            store.remove([SDIST])
        assert json.loads((store.publisher.simple / "_list.json").read_bytes())["projects"]
    report = reconcile(store.publisher)
    assert (report.published, report.withdrawn, report.repaired, report.problems) == (0, 0, 0, [])
    assert leftovers(store) == []


AT_ONCE = """
import pathlib, sys, time
sys.path[:0] = sys.argv[3:]
from pyindex_pypiserver.storage import AlreadyPublishedError, PackageStore
from tests.unit.pypiserver.made import wheel
from tests.unit.pypiserver.published import publish
root, who = pathlib.Path(sys.argv[1]), sys.argv[2]
store = PackageStore(root / "packages", root / "pages")
data = wheel(more={"demo/who.py": who.encode()})
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    try:
        publish(store, f"demo-1.0-{number}-py3-none-any.whl", data)
    except AlreadyPublishedError:
        print("refused", flush=True)
    else:
        print("stored", flush=True)
"""


def test_of_uploads_of_one_name_from_several_processes_exactly_one_wins(store: PackageStore) -> None:
    command = [sys.executable, "-c", AT_ONCE, str(store.root.parent)]
    processes = [
        subprocess.Popen([*command, str(who), *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for who in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    results = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        results.append(process.communicate()[0].split())
        assert process.returncode == 0
    assert all(sorted(answers) == ["refused", "refused", "stored"] for answers in zip(*results, strict=True))
    contents = [hashlib.sha256(wheel(more={"demo/who.py": b"%d" % who})).hexdigest() for who in range(3)]
    found = shown(store)
    for number, answers in enumerate(zip(*results, strict=True)):
        winner = answers.index("stored")
        assert found[f"demo-1.0-{number}-py3-none-any.whl"] == contents[winner]
    assert leftovers(store) == []


def test_a_folder_of_packages_that_is_gone_takes_nothing_out(store: PackageStore) -> None:
    """It may be a disk that is not mounted."""
    publish(store, WHEEL, wheel())
    moved = store.root.with_name("elsewhere")
    store.root.rename(moved)
    with pytest.raises(OSError, match="No such file"):
        reconcile(store.publisher)
    moved.rename(store.root)
    assert list(shown(store)) == [WHEEL]
    shutil.rmtree(store.publisher.pages)
    reconcile(store.publisher)
    assert list(shown(store)) == [WHEEL]
