"""The records of the index: a cache, so damage to it costs the time to read the files again and nothing else."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyindex_pypiserver import reconcile as reconcile_module
from pyindex_pypiserver import records
from pyindex_pypiserver.app import Index, Settings
from pyindex_pypiserver.reconcile import main, reconcile
from pyindex_pypiserver.storage import PackageStore
from pyindex_pypiserver.watch import PAUSE_SECONDS, TICK_SECONDS, Watch
from tests.unit.pypiserver.made import sdist
from tests.unit.pypiserver.published import publish, shown
from tests.unit.pypiserver.test_app import Client

PAGE = 4096
COUNT = 40


@pytest.fixture
def filled(store: PackageStore) -> PackageStore:
    """A store whose records take several pages of the database, closed: what is in its file is what is read."""
    for number in range(COUNT):
        (store.root / f"p{number}-1.0.tar.gz").write_bytes(sdist(f"p{number}"))
    reconcile(store.publisher)
    store.publisher.records.close()
    assert store.publisher.records.path.stat().st_size > 6 * PAGE
    return store


def names(store: PackageStore) -> set[str]:
    return set(shown(store))


def overwrite(path: Path, start: int, stop: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    stop = len(data) if stop is None else stop
    data[start:stop] = b"\xa5" * (stop - start)
    path.write_bytes(data)


def table_of(path: Path, name: str) -> None:
    """Overwrite the pages of one table or index."""
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.close()
    overwrite(path, (page - 1) * PAGE, page * PAGE)


def last_leaf(path: Path) -> None:
    """Overwrite what is read last of the table of files: much of it was read by then."""
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'file'").fetchone()
    connection.close()
    # The rightmost child, in the header of an inner page of an index tree
    data = path.read_bytes()
    assert data[(root - 1) * PAGE] == 2
    page = int.from_bytes(data[(root - 1) * PAGE + 8 : (root - 1) * PAGE + 12], "big")
    overwrite(path, (page - 1) * PAGE, page * PAGE)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "all behind the header": lambda path: overwrite(path, 100),
    "all behind the first page": lambda path: overwrite(path, PAGE),
    "files": lambda path: table_of(path, "file"),
    "last files": last_leaf,
    "files by project": lambda path: table_of(path, "file_of_project"),
    "projects": lambda path: table_of(path, "project"),
    "list": lambda path: table_of(path, "listed_project"),
    "state": lambda path: table_of(path, "state"),
    "cut off": lambda path: os.truncate(path, PAGE),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_reconcile_heals_damaged_records(filled: PackageStore, damage: str) -> None:
    before = names(filled)
    DAMAGES[damage](filled.publisher.records.path)
    (filled.root / "new-1.0.tar.gz").write_bytes(sdist("new"))
    assert reconcile(filled.publisher).problems == []
    assert filled.publisher.records.complete
    assert names(filled) == {*before, "new-1.0.tar.gz"}
    again = reconcile(filled.publisher)
    assert (again.files, again.published, again.repaired, again.problems) == (COUNT + 1, 0, 0, [])


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_an_upload_is_stored_and_listed_where_records_are_damaged(filled: PackageStore, damage: str) -> None:
    before = names(filled)
    DAMAGES[damage](filled.publisher.records.path)
    settings = Settings(packages_dir=filled.root, pages_dir=filled.publisher.pages)
    client = Client(Index(settings, filled))
    new = {"p7-2.0.tar.gz": sdist("p7", "2.0"), "new-1.0.tar.gz": sdist("new")}
    for name, data in new.items():
        assert client.upload(name, data).status == 200
    assert client.upload("p7-1.0.tar.gz", sdist("p7")).status == 409
    assert names(filled) == {*before, *new}
    assert reconcile(filled.publisher).problems == []
    assert names(filled) == {*before, *new}


def test_many_that_find_the_damage_at_once_make_one_new_database(filled: PackageStore) -> None:
    before = names(filled)
    overwrite(filled.publisher.records.path, PAGE)
    stores = [PackageStore(filled.root, filled.publisher.pages) for _unused in range(8)]
    new = {f"new{number}-1.0.tar.gz": sdist(f"new{number}") for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, stores, new.keys(), new.values()))
    assert names(filled) == {*before, *new}
    assert {record.name for number in range(8) for record in filled.publisher.records.published(f"new{number}")} == {
        *new
    }


def test_a_locked_database_is_not_taken_for_damaged(
    filled: PackageStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(records, "_BUSY_SECONDS", 0.1)
    path = filled.publisher.records.path
    inode = path.stat().st_ino
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    assert main(["--packages-dir", str(filled.root), "--pages-dir", str(filled.publisher.pages)]) == 2
    assert "database is locked" in caplog.text
    connection.execute("ROLLBACK")
    connection.close()
    assert path.stat().st_ino == inode
    assert filled.publisher.records.complete


def test_a_reconcile_that_crashes_is_no_success(
    store: PackageStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def crash(*_unused: object, **_options: object) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(reconcile_module, "_find_differences", crash)
    assert main(["--packages-dir", str(store.root), "--pages-dir", str(store.publisher.pages)]) == 2
    assert capsys.readouterr().out == ""
    assert "RuntimeError: a fault of the program" in caplog.text


def test_the_watch_does_not_take_a_crash_for_a_success(
    store: PackageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What every Python imports when it starts
    (tmp_path / "sitecustomize.py").write_text(
        "from pyindex_pypiserver.publishing import Publisher\n"
        "def crash(*_unused): raise RuntimeError('a fault of the program')\n"
        "Publisher.locked = crash\n"
    )
    watch = Watch(store.publisher)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    watch.reconcile()
    assert (watch._succeeded, watch._pause) == (False, PAUSE_SECONDS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    watch.reconcile()
    assert (watch._succeeded, watch._pause) == (True, TICK_SECONDS)
