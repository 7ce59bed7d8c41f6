"""Reconcile: whatever happened to packages and pages, afterwards they agree, and only what differs was touched."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyindex_pypiserver import publishing
from pyindex_pypiserver import reconcile as reconcile_module
from pyindex_pypiserver.distributions import check_file
from pyindex_pypiserver.reconcile import Report, main, reconcile
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import metadata, sdist, wheel, wheel_members, zip_of
from tests.unit.pypiserver.published import leftovers, page, projects, publish, shown

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"


@pytest.fixture
def filled(store: PackageStore) -> PackageStore:
    """A store with some projects, published."""
    publish(store, WHEEL, wheel())
    publish(store, SDIST, sdist())
    for name in ("one", "two"):
        publish(store, f"{name}-1.0.tar.gz", sdist(name))
    reconcile(store.publisher)
    return store


def state(store: PackageStore) -> dict[str, tuple[int, int]]:
    """Everything that is published, by inode and time."""
    paths = [*store.publisher.simple.rglob("*"), *store.publisher.metadata.rglob("*")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths if path.is_file()}


def everything(store: PackageStore) -> list[str]:
    return sorted(shown(store))


ALL = [WHEEL, SDIST, "one-1.0.tar.gz", "two-1.0.tar.gz"]


def test_files_that_arrived_another_way_are_published(store: PackageStore) -> None:
    for number in range(30):
        (store.root / f"p{number % 7}-{number}.tar.gz").write_bytes(sdist(f"p{number % 7}", str(number)))
    (store.root / WHEEL).write_bytes(wheel())
    report = reconcile(store.publisher)
    assert (report.files, report.published, report.problems) == (31, 31, [])
    assert len(shown(store)) == 31
    assert projects(store) == ["demo", *(f"p{number}" for number in range(7))]
    assert store.publisher.records.complete


def test_nothing_is_touched_where_nothing_changed(filled: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(filled)
    monkeypatch.setattr(publishing, "check_file", None)
    report = reconcile(filled.publisher)
    assert (report.files, report.published, report.withdrawn, report.repaired) == (4, 0, 0, 0)
    assert state(filled) == before


def test_the_time_of_a_file_is_its_upload_time(store: PackageStore) -> None:
    (store.root / SDIST).write_bytes(sdist())
    os.utime(store.root / SDIST, ns=(0, 1_600_000_000_500_000_000))
    reconcile(store.publisher)
    assert page(store, "demo")[SDIST]["upload-time"] == "2020-09-13T12:26:40.500000Z"


def test_what_is_gone_or_another_is_shown_so(filled: PackageStore) -> None:
    (filled.root / "one-1.0.tar.gz").unlink()
    (filled.root / SDIST).unlink()
    data = wheel(more={"demo/more.py": b"x"})
    (filled.root / WHEEL).write_bytes(data)
    report = reconcile(filled.publisher)
    assert report.withdrawn == 2
    assert everything(filled) == [WHEEL, "two-1.0.tar.gz"]


def pages_of(store: PackageStore) -> Path:
    return store.publisher.pages


def link_elsewhere(path: Path) -> None:
    elsewhere = path.parents[1] / "elsewhere"
    elsewhere.mkdir()
    path.unlink()
    path.symlink_to(elsewhere)


def folder_for_a_page(pages: Path) -> None:
    (pages / "simple/demo.html").unlink()
    (pages / "simple/demo.html/x").mkdir(parents=True)


def remove_project(pages: Path) -> None:
    for path in (pages / "simple").glob("demo.*"):
        path.unlink()


def as_it_was_before(pages: Path) -> None:
    """Each page in a folder of its own, as earlier versions had them."""
    shutil.rmtree(pages / "simple")
    for folder in (pages / "simple", pages / "simple/demo", pages / "simple/old"):
        folder.mkdir()
        (folder / "index.html").write_text("old")


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "all gone": shutil.rmtree,
    "pages gone": lambda pages: shutil.rmtree(pages / "simple"),
    "metadata gone": lambda pages: shutil.rmtree(pages / "packages"),
    "one metadata file gone": lambda pages: (pages / f"packages/{WHEEL}.metadata").unlink(),
    "metadata overwritten": lambda pages: (pages / f"packages/{WHEEL}.metadata").write_bytes(b"Name: evil"),
    "foreign metadata": lambda pages: (pages / f"packages/{SDIST}.metadata").write_bytes(b"Name: evil"),
    "other foreign metadata": lambda pages: (pages / "packages/x-1-py3-none-any.whl.metadata").write_bytes(b"x"),
    "foreign file": lambda pages: (pages / "packages/x.html").write_bytes(b"x"),
    "foreign folder": lambda pages: (pages / "packages/.x").mkdir(),
    "project gone": remove_project,
    "page gone": lambda pages: (pages / "simple/demo.json").unlink(),
    "copy gone": lambda pages: (pages / "simple/demo.json.gz").unlink(missing_ok=True),
    "page cut off": lambda pages: os.truncate(pages / "simple/demo.html", 50),
    "page empty": lambda pages: os.truncate(pages / "simple/demo.json", 0),
    "page rewritten": lambda pages: (pages / "simple/demo.html").write_text("<a href='//evil/x'>x</a>"),
    "foreign copy": lambda pages: (pages / "simple/one.html.gz").write_bytes(b"x"),
    "foreign page": lambda pages: (pages / "simple/demo.txt").write_text("x"),
    "folder for a page": folder_for_a_page,
    "layout of before": as_it_was_before,
    "link for a project": lambda pages: link_elsewhere(pages / "simple/demo.html"),
    "foreign project": lambda pages: (pages / "simple/evil.html").write_text("x"),
    "foreign folder of pages": lambda pages: (pages / "simple/evil").mkdir(),
    "foreign odd project": lambda pages: (pages / "simple/<evil>").mkdir(),
    "left by a kill": lambda pages: (pages / "simple/.demo.html").write_text("half"),
    "left of the list by a kill": lambda pages: (pages / "simple/._list.json").write_text("half"),
    "left by another kill": lambda pages: (pages / f"packages/.{WHEEL}.metadata").write_text("half"),
    "list gone": lambda pages: (pages / "simple/_list.html").unlink(),
    "list rewritten": lambda pages: (pages / "simple/_list.json").write_text("{}"),
    "records gone": lambda pages: shutil.rmtree(pages / ".state"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_pages_that_are_damaged_missing_or_not_ours_are_repaired(filled: PackageStore, damage: str) -> None:
    before = shown(filled)
    DAMAGES[damage](pages_of(filled))
    reconcile(filled.publisher)
    assert shown(filled) == before
    assert leftovers(filled) == []
    assert {path.name for path in filled.publisher.metadata.iterdir()} == {f"{WHEEL}.metadata"}
    touched = state(filled)
    report = reconcile(filled.publisher)
    assert (report.published, report.withdrawn, report.repaired) == (0, 0, 0)
    assert state(filled) == touched


def test_a_damage_that_shows_neither_in_size_nor_time_is_found_by_looking_deep(filled: PackageStore) -> None:
    path = filled.publisher.simple / "demo.html"
    status, right = path.stat(), path.read_bytes()
    path.write_bytes(right.replace(b"demo", b"evil"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    reconcile(filled.publisher)
    assert path.read_bytes() != right
    reconcile(filled.publisher, deep=True)
    assert path.read_bytes() == right


def folder_with_a_file(path: Path) -> None:
    path.mkdir()
    (path / "in-1.0.tar.gz").write_bytes(sdist("in"))


NOT_PUBLISHED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "notes.txt": (lambda path: path.write_text("x"), "no distribution"),
    "demo-3.0.rpm": (lambda path: path.write_text("x"), "neither a wheel"),
    "demo-3.0.tar.gz": (lambda path: path.write_bytes(sdist()[:-20]), "damaged or truncated"),
    "demo-3.0.zip": (lambda path: path.write_bytes(b""), "no zip archive"),
    "demo-3.1-py3-none-any.whl": (lambda path: path.write_bytes(wheel()), "not what its name says"),
    "Demo-1.0-py3-none-any.whl": (
        lambda path: path.write_bytes(wheel("Demo")),
        f"is the same distribution as {WHEEL}, which is published",
    ),
    "link-1.0.tar.gz": (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
    "folder": (folder_with_a_file, "folder/"),
    "pipe-1.0.tar.gz": (os.mkfifo, "no file"),
    "d\xe4mo-1.0.tar.gz": (lambda path: path.write_bytes(sdist()), "odd characters"),
    "b\udcff-1.0.tar.gz": (lambda path: path.write_bytes(sdist()), "odd characters"),
    "line\nend-1.0.tar.gz": (lambda path: path.write_bytes(sdist()), "odd characters"),
    "two words-1.0.tar.gz": (lambda path: path.write_bytes(sdist()), "not allowed"),
}


@pytest.mark.parametrize("name", list(NOT_PUBLISHED), ids=ascii)
def test_what_cannot_be_published_is_named_in_one_line_each_time(
    filled: PackageStore, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, reason = NOT_PUBLISHED[name]
    make(filled.root / name)
    for _unused in range(2):
        assert main(["--packages-dir", str(filled.root), "--pages-dir", str(filled.publisher.pages)]) == 1
        output = capsys.readouterr()
        [line] = output.err.splitlines()
        assert reason in line
        assert line.isprintable()
        assert json.loads(output.out)["not_published"] == 1
    assert everything(filled) == ALL
    # Mended, it is published
    if name.startswith("demo-3.0.tar"):
        (filled.root / name).write_bytes(sdist("demo", "3.0"))
        assert reconcile(filled.publisher).problems == []
        assert name in shown(filled)


@pytest.mark.parametrize("name", [".hidden-1.0.tar.gz", ".incoming", ".seed", "lost+found"])
def test_hidden_files_and_folders_are_left_alone(filled: PackageStore, name: str) -> None:
    path = filled.root / name
    if name.endswith(".gz"):
        path.write_bytes(sdist("hidden"))
    else:
        path.mkdir(exist_ok=True)
        (path / "in-1.0.tar.gz").write_bytes(sdist("in"))
    assert reconcile(filled.publisher).problems == []
    assert everything(filled) == ALL
    assert path.exists()


def test_a_file_that_cannot_be_opened_is_named(filled: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (filled.root / "three-1.0.tar.gz").write_bytes(sdist("three"))
    real = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("three-1.0.tar.gz"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert reconcile(filled.publisher, processes=1).problems == [
            "three-1.0.tar.gz cannot be read: Permission denied"
        ]
    assert reconcile(filled.publisher).published == 1


def test_when_the_preferred_spelling_goes_the_other_one_is_published(filled: PackageStore) -> None:
    other = "Demo-1.0-py3-none-any.whl"
    (filled.root / other).write_bytes(wheel("Demo"))
    assert len(reconcile(filled.publisher).problems) == 1
    (filled.root / WHEEL).unlink()
    assert reconcile(filled.publisher).problems == []
    assert other in shown(filled)


def test_a_file_that_changes_while_it_is_read_is_left_for_later(
    filled: PackageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled.root / "three-1.0.tar.gz"
    path.write_bytes(sdist("three"))
    real = check_file

    def meanwhile(*arguments: Any) -> Any:
        os.utime(path, ns=(1, 1))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "check_file", meanwhile)
        report = reconcile(filled.publisher, processes=1)
    assert (report.changing, report.published) == (["three-1.0.tar.gz"], 0)
    assert everything(filled) == ALL


def test_it_may_run_beside_uploads_and_beside_itself(store: PackageStore) -> None:
    for number in range(60):
        (store.root / f"old{number % 9}-{number}.tar.gz").write_bytes(sdist(f"old{number % 9}", str(number)))
    store.publisher.records.set(complete=0)
    command = [sys.executable, "-m", "pyindex_pypiserver.reconcile", "--packages-dir", str(store.root)]
    command += ["--pages-dir", str(store.publisher.pages)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _unused in range(2)]
    number = 0
    while any(process.poll() is None for process in started) or number < 30:
        number += 1
        publish(store, f"old{number % 9}-9.{number}.tar.gz", sdist(f"old{number % 9}", f"9.{number}"))
        publish(store, f"new{number}-1.tar.gz", sdist(f"new{number}", "1"))
    assert [process.returncode for process in started] == [0, 0]
    assert len(shown(store)) == 60 + 2 * number
    assert store.publisher.records.complete
    report = reconcile(store.publisher)
    assert (report.published, report.withdrawn, report.repaired) == (0, 0, 0)


def test_a_database_that_is_swapped_meanwhile_is_not_taken_for_complete(
    filled: PackageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reconcile_module._check_projects

    def swap(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        shutil.rmtree(filled.publisher.pages)

    with monkeypatch.context() as patch:
        patch.setattr(reconcile_module, "_check_projects", swap)
        reconcile(filled.publisher)
    assert not filled.publisher.records.complete
    reconcile(filled.publisher)
    assert everything(filled) == ALL


def test_a_full_disk_is_said_so(
    filled: PackageStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_unused: Any, **_options: Any) -> Report:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reconcile_module, "reconcile", full)
    assert main(["--packages-dir", str(filled.root), "--pages-dir", str(filled.publisher.pages)]) == 2
    assert capsys.readouterr().err == "the index could not be reconciled: [Errno 28] No space left on device\n"


def test_it_waits_for_another_one(filled: PackageStore) -> None:
    done = threading.Event()

    def run() -> None:
        reconcile(filled.publisher)
        done.set()

    with filled.publisher.locked("reconcile"):
        thread = threading.Thread(target=run)
        thread.start()
        assert not done.wait(0.3)
    thread.join(30)
    assert done.is_set()


def test_metadata_that_is_no_utf_8_is_served_as_it_is(store: PackageStore) -> None:
    content = metadata("demo", "1.0") + b"\xff\xfe\x00"
    (store.root / WHEEL).write_bytes(zip_of(wheel_members(more={"demo-1.0.dist-info/METADATA": content})))
    assert reconcile(store.publisher).problems == []
    assert (store.publisher.metadata / f"{WHEEL}.metadata").read_bytes() == content
    assert WHEEL in shown(store)


def test_a_wheel_from_the_future_or_from_long_ago_is_published(store: PackageStore) -> None:
    for number, moment in enumerate((0, 2**33)):
        path = store.root / f"demo-{number}.tar.gz"
        path.write_bytes(sdist("demo", str(number)))
        os.utime(path, (moment, moment))
    assert reconcile(store.publisher).problems == []
    assert page(store, "demo")["demo-0.tar.gz"]["upload-time"] == "1970-01-01T00:00:00.000000Z"
    assert time.time() < 2**33
