"""The lab's public index: what it is made of, and its pages."""

from __future__ import annotations

import hashlib
import html.parser
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.lab.loading import load_program


class Links(html.parser.HTMLParser):
    """The anchors of a page: their attributes by their text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str | None]] = {}
        self.attributes: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.attributes = dict(attrs)

    def handle_data(self, data: str) -> None:
        if self.attributes is not None:
            self.found[data] = self.attributes
            self.attributes = None


@pytest.fixture(scope="module")
def gather() -> ModuleType:
    return load_program("upstream/gather.py")


@pytest.fixture(scope="module")
def publish() -> ModuleType:
    return load_program("upstream/publish.py")


@pytest.fixture
def files(tmp_path: Path, gather: ModuleType) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    gather.write_wheel(folder, "pyindex-demo", "1.0")
    gather.write_wheel(folder, "pyindex-demo", "2.0", 1)
    source = tmp_path / "Other.Project-0.1"
    source.mkdir()
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: Other.Project\nVersion: 0.1\n", encoding="utf-8")
    with tarfile.open(folder / "Other.Project-0.1.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    return folder


def page(folder: Path, project: str = "") -> tuple[dict[str, dict[str, str | None]], dict[str, Any]]:
    """Return the links and the JSON of a published page."""
    links = Links()
    links.feed((folder / "simple" / project / "index.html").read_text(encoding="utf-8"))
    return links.found, json.loads((folder / "simple" / project / "index.json").read_text(encoding="utf-8"))


def test_made_up_wheels_are_the_same_each_time_and_can_be_installed(tmp_path: Path, gather: ModuleType) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        made.append(gather.write_wheel(folder, "pyindex-demo", "1.0", 1))
    assert made[0].read_bytes() == made[1].read_bytes()
    assert made[0].stat().st_size > gather.MB

    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, f"--target={target}", str(made[0])], check=True)
    assert '"1.0"' in (target / "pyindex_demo" / "__init__.py").read_text(encoding="utf-8")


def test_both_kinds_of_page_say_the_same(files: Path, publish: ModuleType) -> None:
    publish.publish(files.parent)
    links, content = page(files.parent, "pyindex-demo")
    assert content["name"] == "pyindex-demo"
    assert content["versions"] == ["1.0", "2.0"]
    assert list(links) == [file["filename"] for file in content["files"]]
    for file in content["files"]:
        digest = hashlib.sha256((files / file["filename"]).read_bytes()).hexdigest()
        metadata = hashlib.sha256((files / f"{file['filename']}.metadata").read_bytes()).hexdigest()
        assert file["hashes"] == {"sha256": digest}
        assert file["core-metadata"] == {"sha256": metadata}
        assert file["size"] == (files / file["filename"]).stat().st_size
        assert links[file["filename"]] == {
            "href": f"../../files/{file['filename']}#sha256={digest}",
            "data-requires-python": ">=3.9",
            "data-core-metadata": f"sha256={metadata}",
        }


def test_names_are_normalized_and_listed(files: Path, publish: ModuleType) -> None:
    publish.publish(files.parent)
    links, content = page(files.parent)
    assert content["projects"] == [{"name": "other-project"}, {"name": "pyindex-demo"}]
    assert {name: link["href"] for name, link in links.items()} == {
        "other-project": "other-project/",
        "pyindex-demo": "pyindex-demo/",
    }
    [described] = page(files.parent, "other-project")[1]["files"]
    assert described.keys() == {"filename", "url", "hashes", "size", "upload-time"}


def test_publishing_again_follows_the_files(files: Path, publish: ModuleType) -> None:
    publish.publish(files.parent)
    (files / "Other.Project-0.1.tar.gz").unlink()
    (files / "pyindex_demo-1.0-py3-none-any.whl").rename(files / "pyindex_new-1.0-py3-none-any.whl")
    publish.publish(files.parent)
    assert {path.name for path in (files.parent / "simple").iterdir() if path.is_dir()} == {
        "pyindex-demo",
        "pyindex-new",
    }
    assert {path.name for path in files.parent.iterdir()} >= {"files", "simple"}
    assert not [path for path in files.parent.iterdir() if path.name.startswith("simple.")]
