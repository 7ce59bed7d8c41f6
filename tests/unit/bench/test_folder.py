"""The packages folder of a deployed index: filled with the data, emptied of it, and nobody else's files touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.peers.host import wheels
from tests.bench.peers.host.dataset import Dataset
from tests.bench.peers.host.prepare import Folder, PrepareError


def made(root: Path, count: int) -> Dataset:
    extras = root / "extras"
    extras.mkdir(exist_ok=True)
    (extras / "real-2.0-py3-none-any.whl").write_bytes(wheels.padded("real", "2.0", 100))
    data = Dataset(root / "data", count)
    data.make(extras)
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "packages").mkdir()
    return Folder(tmp_path / "packages", tmp_path / "published.txt")


def names(folder: Folder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def test_folder_holds_the_data_and_nothing_of_earlier_runs(folder: Folder, tmp_path: Path) -> None:
    few, many = made(tmp_path, 40), made(tmp_path, 80)
    for data in (few, many, few):
        folder.fill(data)
        (folder.path / "up6b01_00001-1.0-py3-none-any.whl").touch()
    folder.fill(few)
    assert names(folder) == {path.name for path in few.distributions()}
    for path in few.distributions():
        assert (folder.path / path.name).read_bytes() == path.read_bytes()


def test_folder_is_empty_afterwards_but_for_hidden_ones_of_the_server(folder: Folder, tmp_path: Path) -> None:
    (folder.path / ".incoming").mkdir()
    folder.fill(made(tmp_path, 40))
    folder.empty()
    assert names(folder) == {".incoming"}


def test_data_is_published_by_the_given_command(folder: Folder, tmp_path: Path) -> None:
    done = tmp_path / "done"
    Folder(folder.path, folder.record, f"ls {folder.path} > {done}").fill(made(tmp_path, 40))
    assert set(done.read_text().split()) == names(folder)


def test_folder_with_somebody_elses_packages_is_refused(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "theirs-1.0-py3-none-any.whl").touch()
    with pytest.raises(PrepareError, match="theirs"):
        folder.fill(made(tmp_path, 40))
    assert names(folder) == {"theirs-1.0-py3-none-any.whl"}
