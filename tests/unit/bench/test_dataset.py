"""The data of the benchmark, and the pages of the limit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.bench.peers.host import wheels
from tests.bench.peers.host.clients import links
from tests.bench.peers.host.dataset import SAMPLE, Dataset, File, html_page, normalise


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    extras = tmp_path / "extras"
    extras.mkdir()
    (extras / "Real_Package-2.0-py3-none-any.whl").write_bytes(wheels.padded("real-package", "2.0", 1000))
    made = Dataset(tmp_path / "data", 40)
    made.make(extras)
    return made


def test_every_file_is_on_its_page(data: Dataset) -> None:
    listed = 0
    for folder in data.files.iterdir():
        url = f"https://index.test/simple/{folder.name}/"
        found = links((data.simple / folder.name / "index.html").read_bytes(), url)
        as_json = json.loads((data.simple / folder.name / "index.json").read_text())
        assert (
            found.keys() == {path.name for path in folder.iterdir()} == {file["filename"] for file in as_json["files"]}
        )
        for path in folder.iterdir():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert found[path.name] == f"https://index.test/files/{folder.name}/{path.name}#sha256={digest}"
        listed += len(found)
    # Two projects of 20, a small and a large file, one real package
    assert listed == 43


def test_project_list_names_all_projects(data: Dataset) -> None:
    as_json = json.loads((data.simple / "index.json").read_text())
    assert {project["name"] for project in as_json["projects"]} == {path.name for path in data.files.iterdir()}
    assert data.last() == "bench-00001"


def test_metadata_of_real_packages_is_there(data: Dataset) -> None:
    [path] = (data.metadata / "real-package").iterdir()
    assert path.name == "Real_Package-2.0-py3-none-any.whl.metadata"
    assert path.read_bytes() == wheels.metadata("real-package", "2.0")


def test_data_that_is_there_is_not_made_again(data: Dataset, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in data.distributions()}
    data.make(tmp_path / "extras")
    assert {path: path.stat().st_mtime_ns for path in data.distributions()} == before


def test_pages_contain_no_unescaped_requirement() -> None:
    file = File("a-1-py3-none-any.whl", "0" * 64, 1, "0" * 64, '>=3"><script>', "2026-01-01T00:00:00Z")
    assert "<script>" not in html_page("a", [file])


@pytest.mark.parametrize(("name", "expected"), [("Real_Package", "real-package"), ("a.-_b", "a-b")])
def test_names_are_normalised(name: str, expected: str) -> None:
    assert normalise(name) == expected


def test_sample_is_spread_over_all_projects(tmp_path: Path) -> None:
    sample = Dataset(tmp_path, 200_000).sample()
    assert len(sample) == len(set(sample)) == SAMPLE
    assert sample[-1] > "bench-09900"
    assert len(Dataset(tmp_path, 2000).sample()) == 100
