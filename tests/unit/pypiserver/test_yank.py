"""Withdrawn releases (PEP 592): said on the pages, kept through everything, taken back."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from pyindex_pypiserver import unyank, yank, yanks
from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import sdist, wheel
from tests.unit.pypiserver.published import page, publish

WHEEL = "my_demo-1.0-py3-none-any.whl"
SDIST = "my_demo-1.0.tar.gz"
NEWER = "my_demo-1.1.tar.gz"


@pytest.fixture
def filled(store: PackageStore) -> PackageStore:
    publish(store, WHEEL, wheel("my_demo"))
    publish(store, SDIST, sdist("my_demo"))
    publish(store, NEWER, sdist("my_demo", "1.1"))
    return store


def command(store: PackageStore, *arguments: str, verb: str = "yank") -> int:
    folders = ["--packages-dir", str(store.root), "--pages-dir", str(store.publisher.pages)]
    return yank.main([*folders, *arguments], verb=verb)


def yanked(store: PackageStore) -> dict[str, str | bool]:
    return {name: file["yanked"] for name, file in page(store, "my-demo").items() if "yanked" in file}


def test_a_release_is_withdrawn_in_every_spelling_and_says_why(filled: PackageStore) -> None:
    assert command(filled, "My.Demo", "1.0.0", 'broken on <Windows> "XP"\nsee #3') == 0
    reason = 'broken on <Windows> "XP" see #3'
    assert yanked(filled) == {WHEEL: reason, SDIST: reason}
    html = (filled.publisher.simple / "my-demo.html").read_text()
    assert html.count('data-yanked="broken on &lt;Windows&gt; &quot;XP&quot; see #3"') == 2


def test_what_is_withdrawn_is_on_disk_when_the_command_ends(
    filled: PackageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, list[str]]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    command(filled, "my-demo", "1.0", "broken")
    # The folder, which is new, and the file in it, under its name
    assert any(name == "packages" and ".yanked" in entries for name, entries in synced)
    assert (".yanked", ["my-demo.json"]) in synced
    synced.clear()
    command(filled, "my-demo", "1.0", verb="unyank")
    assert (".yanked", []) in synced


def test_without_a_reason_it_is_withdrawn_too(filled: PackageStore) -> None:
    assert command(filled, "my-demo", "1.1") == 0
    assert yanked(filled) == {NEWER: True}
    assert (filled.publisher.simple / "my-demo.html").read_text().count('data-yanked=""') == 1


def test_it_stays_withdrawn_through_everything(filled: PackageStore) -> None:
    command(filled, "my-demo", "1.0", "broken")
    publish(filled, "my_demo-1.0-py2-none-any.whl", wheel("my_demo"))
    assert len(yanked(filled)) == 3
    reconcile(filled.publisher)
    shutil.rmtree(filled.publisher.pages)
    reconcile(filled.publisher, deep=True)
    assert set(yanked(filled).values()) == {"broken"}
    filled.remove([WHEEL, SDIST, "my_demo-1.0-py2-none-any.whl"])
    publish(filled, SDIST, sdist("my_demo"))
    assert yanked(filled) == {SDIST: "broken"}


def test_it_is_taken_back(filled: PackageStore, capsys: pytest.CaptureFixture[str]) -> None:
    command(filled, "my-demo", "1.0", "broken")
    command(filled, "my-demo", "1.1", "too")
    assert command(filled, "MY_DEMO", "1", verb="unyank") == 0
    assert yanked(filled) == {NEWER: "too"}
    assert command(filled, "my-demo", "1.1", verb="unyank") == 0
    assert yanked(filled) == {}
    assert list((filled.root / ".yanked").iterdir()) == []
    capsys.readouterr()
    assert command(filled, "my-demo", "1.1", verb="unyank") == 0
    assert capsys.readouterr().out == "my-demo 1.1 is not withdrawn, as it was before\n"


def test_the_same_again_changes_nothing(filled: PackageStore) -> None:
    command(filled, "my-demo", "1.0", "broken")
    before = (filled.publisher.simple / "my-demo.html").stat().st_mtime_ns
    assert command(filled, "my-demo", "1.0", "broken") == 0
    assert (filled.publisher.simple / "my-demo.html").stat().st_mtime_ns == before
    assert command(filled, "my-demo", "1.0", "another reason") == 0
    assert yanked(filled)[WHEEL] == "another reason"


@pytest.mark.parametrize(
    ("project", "version", "said"),
    [
        ("my-demo", "9", "there is no release '9' of 'my-demo' in this index"),
        ("other", "1.0", "there is no release '1.0' of 'other' in this index"),
        ("my-demo", "newest", "'newest' is no version"),
        ("../../etc", "1.0", "there is no release '1.0' of '../../etc' in this index"),
    ],
)
@pytest.mark.parametrize("verb", ["yank", "unyank"])
def test_what_is_not_there_is_said_so(
    filled: PackageStore, verb: str, project: str, version: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(filled, project, version, verb=verb) == 1
    assert capsys.readouterr().err == f"{verb}: {said}\n"
    assert yanked(filled) == {}


@pytest.mark.parametrize("content", [b"{ half", b"[]", b'{"1.0": 1}', b"\xff"])
def test_a_damaged_record_is_named_and_not_overwritten(
    filled: PackageStore, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    command(filled, "my-demo", "1.0", "broken")
    path = filled.root / ".yanked" / "my-demo.json"
    path.write_bytes(content)
    assert command(filled, "my-demo", "1.1") == 1
    assert re.search(r"my-demo\.json is (damaged|no object)", capsys.readouterr().err)
    assert path.read_bytes() == content
    assert "my-demo.json" in reconcile(filled.publisher).problems[0]


def test_what_a_restore_brings_is_published(filled: PackageStore) -> None:
    (filled.root / ".yanked").mkdir()
    (filled.root / ".yanked" / "my-demo.json").write_text(json.dumps({"1.0.0": "from a backup"}))
    reconcile(filled.publisher)
    assert yanked(filled) == {WHEEL: "from a backup", SDIST: "from a backup"}
    shutil.rmtree(filled.root / ".yanked")
    reconcile(filled.publisher)
    assert yanked(filled) == {}


def test_the_folders_come_from_the_environment(
    filled: PackageStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tmp_path in filled.root.parents
    monkeypatch.setenv("PYINDEX_PACKAGES_DIR", str(filled.root))
    monkeypatch.setenv("PYINDEX_PAGES_DIR", str(filled.publisher.pages))
    assert yank.main(["my-demo", "1.0"]) == 0
    assert len(yanked(filled)) == 2
    assert unyank.main(["my-demo", "1.0"]) == 0
    assert yanked(filled) == {}


def test_what_is_withdrawn_is_listed(filled: PackageStore, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--packages-dir", str(filled.root), "--pages-dir", str(filled.publisher.pages)]
    assert yanks.main(folders) == 0
    assert capsys.readouterr().out == ""
    command(filled, "my-demo", "1.1")
    command(filled, "my-demo", "1.0", "broken on \n Windows")
    capsys.readouterr()
    assert yanks.main(folders) == 0
    assert capsys.readouterr().out == "my-demo 1 broken on Windows\nmy-demo 1.1 (no reason given)\n"
    (filled.root / ".yanked" / "my-demo.json").write_text("{ half")
    assert yanks.main(folders) == 1
    assert "my-demo.json is damaged" in capsys.readouterr().err
