"""Which files are uploaded, and which are not what their name says."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from packaging.version import Version

from ansible_collections.pyindex.fleet.plugins.module_utils import _devpi_files as disk
from tests.unit.pypiserver.made import gzip_of, metadata, sdist, sdist_members, tar_of, wheel, wheel_members, zip_of


@pytest.mark.parametrize(
    ("name", "project", "version", "python"),
    [
        ("demo-1.0-py3-none-any.whl", "demo", "1.0", "py3"),
        (
            "My_Demo.x-1.0+local.1-2-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "my-demo-x",
            "1.0+local.1",
            "cp311",
        ),
        ("my-demo-1.0rc1.tar.gz", "my-demo", "1.0rc1", "source"),
        ("demo-2!1.0.post1.zip", "demo", "2!1.0.post1", "source"),
        ("my-demo-1.0.doc.zip", "my-demo", "1.0", ""),
    ],
)
def test_names(name: str, project: str, version: str, python: str) -> None:
    found = disk.candidate(f"/srv/{name}")
    assert (found.project, found.version, found.python, found.filename) == (project, version, python, name)
    assert found.action == (disk.DOCUMENTATION if name.endswith(".doc.zip") else disk.FILE)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("demo.whl", "its name is not one of a wheel"),
        ("demo-1.0-py3-none-any-x-y.whl", "its name is not one of a wheel"),
        ("demo.tar.gz", "its name has no version in it"),
        ("-1.0.tar.gz", "its name has other characters"),
        ('demo"-1.0.tar.gz', "its name has other characters"),
        ("demo-1.0\r\n.tar.gz", "its name has other characters"),
        ("demö-1.0.tar.gz", "its name has other characters"),
        (f"{'d' * 250}-1.0.tar.gz", "its name has other characters"),
        ("demo-1.0.tar.bz2", "it is neither a wheel (.whl) nor a source distribution"),
    ],
)
def test_names_of_nothing(name: str, reason: str) -> None:
    with pytest.raises(disk.BrokenFileError) as caught:
        disk.candidate(f"/srv/{name}")
    assert reason in str(caught.value)


def reason(path: Path, content: bytes) -> str:
    """Return why a file of that name and content is refused; an empty string when it is not."""
    path.write_bytes(content)
    try:
        with disk.open_file(str(path)) as file:
            disk.fields_of(file, disk.candidate(str(path)))
    except disk.BrokenFileError as error:
        return str(error)
    return ""


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_wheels(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    stored = zip_of({**wheel_members(), "demo/data": b"PAYLOAD" * 100}, compression=0)
    assert reason(path, wheel()) == ""
    assert reason(path, b"") == "it is damaged or truncated: File is not a zip file"
    assert reason(path, wheel()[:-30]) == "it is damaged or truncated: File is not a zip file"
    assert (
        reason(path, flipped(stored, stored.index(b"PAYLOAD")))
        == "it is damaged: the checksum of demo/data in it is wrong"
    )
    assert reason(path, wheel("other")) == "its metadata say project 'other', its name says 'demo'"
    assert reason(path, wheel("demo", "1.1")) == "its metadata say version '1.1', its name says '1.0'"
    assert reason(path, zip_of({"demo.py": b""})) == "it has 0 files *.dist-info/METADATA, not one"
    two = {**wheel_members(), "more-1.0.dist-info/METADATA": b""}
    assert reason(path, zip_of(two)) == "it has 2 files *.dist-info/METADATA, not one"
    huge = {"demo-1.0.dist-info/METADATA": metadata("demo", "1.0") + b"x" * (9 << 20)}
    assert reason(path, zip_of(huge)) == "its metadata are larger than 8388608 bytes"
    assert "its metadata say project ''" in reason(path, zip_of({"demo-1.0.dist-info/METADATA": b"\xff\xfe\x00"}))


def test_source_distributions(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    assert reason(path, sdist()) == ""
    assert reason(path, b"not gzip").startswith("it is damaged or truncated: Not a gzipped file")
    assert reason(path, gzip_of(b"not tar at all" * 100)).startswith("it is damaged or truncated")
    assert reason(path, sdist()[:-4]).startswith("it is damaged or truncated: Compressed file ended before")
    assert reason(path, flipped(sdist(), -6)).startswith("it is damaged or truncated: CRC check failed")
    assert reason(path, tar_of({"demo-1.0/setup.py": b""})) == "there is no PKG-INFO in its top folder"
    assert reason(path, tar_of({f"./{name}": content for name, content in sdist_members().items()})) == ""
    assert reason(path, tar_of(sdist_members(), tarfile.GNU_FORMAT)) == ""
    zipped = tmp_path / "demo-1.0.zip"
    assert reason(zipped, zip_of(sdist_members())) == ""


def test_documentation(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.doc.zip"
    assert reason(path, zip_of({"index.html": b"", "sub/page.html": b""})) == ""
    assert reason(path, zip_of({"html/index.html": b""})).startswith("there is no index.html at its top")
    assert reason(path, b"PK") == "it is damaged or truncated: File is not a zip file"


def test_what_is_no_file(tmp_path: Path) -> None:
    def of(name: str) -> str:
        with pytest.raises(disk.BrokenFileError) as caught:
            disk.open_file(str(tmp_path / name))
        return str(caught.value)

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert of("gone") == "it is not there (any more)"
    assert of("link") == "it is a link to nowhere"
    assert of("folder") == of("pipe") == "it is not a regular file"
    assert of("loop") == "it cannot be read: Too many levels of symbolic links"


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b-1.0.tar.gz", "a-1.0-py3-none-any.whl", "a-1.0.doc.zip", "notes.txt", "a-1.0.tar.gz.asc"):
        (tmp_path / name).touch()
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    (deeper / "c-1.0.tar.gz").touch()
    (tmp_path / "folder-1.0.zip").symlink_to(deeper)
    (tmp_path / "elsewhere").symlink_to(deeper)

    def names(recursive: bool) -> list[str]:
        return [one.filename for one in disk.find([], str(tmp_path), recursive, []).candidates]

    flat = ["a-1.0-py3-none-any.whl", "a-1.0.doc.zip", "b-1.0.tar.gz"]
    assert names(recursive=False) == flat
    # Links to folders are not followed
    assert names(recursive=True) == [*flat, "c-1.0.tar.gz"]
    skipped = disk.find([], str(tmp_path), False, []).skipped
    assert [Path(path).name for path in skipped] == ["a-1.0.tar.gz.asc", "notes.txt"]
    # ... but what is named has to be a distribution
    assert disk.find([str(tmp_path / "notes.txt")], "", True, []).broken


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0", "1.0.0"),
        ("1.0RC1", "1.0.c1"),
        ("v1.0-alpha", "1.0a0"),
        ("1.0-1", "1.0.post1"),
        ("1.0-r4", "1.0.rev4"),
        ("1.0.dev", "1.0dev0"),
        ("1.0+abc-1", "1.0+ABC.1"),
        ("0!1.0", "1"),
        ("01.02", "1.2"),
    ],
)
def test_versions_that_are_the_same(one: str, other: str) -> None:
    assert Version(one) == Version(other)
    assert disk.normalize_version(one) == disk.normalize_version(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.1"), ("1.0", "1.0a1"), ("1.0", "1!1.0"), ("1.0", "1.0+a"), ("10", "1")]
)
def test_versions_that_are_not(one: str, other: str) -> None:
    assert Version(one) != Version(other)
    assert disk.normalize_version(one) != disk.normalize_version(other)
