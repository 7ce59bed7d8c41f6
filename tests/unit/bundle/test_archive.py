"""The archive: the same bytes for the same content, and no byte of it can change unseen."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pyindex_bundle import archive
from pyindex_bundle.archive import Manifest
from pyindex_bundle.errors import BundleError

SEED: dict[str, Any] = {"kind": "seed", "requirements": ["c"], "pythons": ["3.13"]}
SETS: dict[str, dict[str, Any]] = {"wheels/x": {"kind": "wheels", "made_for": ["y"]}, "seed/index1": SEED}
FILES = {
    "wheels/x/a-1.0-py3-none-any.whl": b"a" * 700,
    "wheels/x/b.whl": b"",
    f"seed/index1/{'c' * 120}.whl": b"c" * 512,
}


def tree(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return archive.describe(tree(tmp_path / "tree"), SETS)


@pytest.fixture
def bundle(tmp_path: Path, manifest: Manifest) -> Path:
    archive.write(tmp_path / "tree", manifest, tmp_path / "bundle.tar")
    return tmp_path / "bundle.tar"


def test_the_same_content_makes_the_same_bytes(tmp_path: Path, bundle: Path) -> None:
    """Whenever, wherever and in which order the files were made."""
    other = tmp_path / "other"
    for name in reversed(FILES):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(FILES[name])
        (other / name).chmod(0o600)
        os.utime(other / name, (1, 1))
    again = tmp_path / "again.tar"
    assert archive.write(other, archive.describe(other, {name: SETS[name] for name in reversed(SETS)}), again)
    assert again.read_bytes() == bundle.read_bytes()


def test_is_left_alone_when_nothing_changed(tmp_path: Path, bundle: Path, manifest: Manifest) -> None:
    before = bundle.stat()
    assert not archive.write(tmp_path / "tree", manifest, bundle)
    assert bundle.stat().st_mtime_ns == before.st_mtime_ns
    bundle.write_bytes(bundle.read_bytes()[:-9000])
    assert archive.write(tmp_path / "tree", manifest, bundle)
    assert archive.verify(bundle) == manifest


def test_people_can_read_it_with_tar(tmp_path: Path, bundle: Path) -> None:
    subprocess.run(["tar", "-xf", bundle, "-C", tmp_path / "tree"], check=True)
    data = json.loads((tmp_path / "tree" / "manifest.json").read_text())
    assert data["format"] == 1
    assert data["files"]["wheels/x/b.whl"]["size"] == 0


def test_every_changed_byte_is_found(bundle: Path) -> None:
    """Whichever it is: in a file, in a header, in the manifest, in what fills up between them."""
    good = bundle.read_bytes()
    unseen = []
    for place in range(0, len(good), 13):
        bundle.write_bytes(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
        try:
            archive.verify(bundle)
        except BundleError:
            continue
        unseen.append(place)
    assert unseen == []


def test_names_what_is_damaged(bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes().replace(b"a" * 700, b"a" * 699 + b"b"))
    with pytest.raises(BundleError, match=r"not as it was made: wheels/x/a-1\.0-py3-none-any\.whl is damaged\. Copy"):
        archive.verify(bundle)


def test_names_what_is_missing(bundle: Path) -> None:
    subprocess.run(["tar", "--delete", "-f", bundle, "wheels/x/a-1.0-py3-none-any.whl"], check=True)
    with pytest.raises(BundleError, match=r": wheels/x/a-1\.0-py3-none-any\.whl is missing\."):
        archive.verify(bundle)


def test_names_what_does_not_belong_to_it(bundle: Path) -> None:
    """Neither a further file nor one that would be written elsewhere."""
    with tarfile.open(bundle, "a") as file:
        file.addfile(tarfile.TarInfo("../../etc/cron.d/evil"), io.BytesIO())
    with pytest.raises(BundleError, match=r"\.\./\.\./etc/cron\.d/evil does not belong to it"):
        archive.verify(bundle)


@pytest.mark.parametrize("cut", [0, 100, 600, 3000])
def test_a_part_of_it_is_no_bundle(bundle: Path, cut: int) -> None:
    bundle.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(BundleError, match=r"bundle|is missing"):
        archive.verify(bundle)


def test_says_when_another_version_has_made_it(bundle: Path) -> None:
    text = b'{"format": 2}'
    with tarfile.open(bundle, "w", format=tarfile.GNU_FORMAT) as file:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        file.addfile(member, io.BytesIO(text))
    with pytest.raises(BundleError, match="of format 2"):
        archive.verify(bundle)


@pytest.mark.parametrize(
    ("sets", "files"),
    [
        ([], {}),
        ({"seed/x": None}, {}),
        ({"seed/x": {"kind": "seed"}}, {}),
        ({"seed/x": {**SEED, "kind": "other"}}, {}),
        ({"seed/x": {**SEED, "requirements": "c"}}, {}),
        ({"../x": SEED}, {}),
        ({"seed/x": SEED}, []),
        ({"seed/x": SEED}, {"seed/x/a": None}),
        ({"seed/x": SEED}, {"seed/x/a": {"size": "1", "sha256": "0"}}),
        ({"seed/x": SEED}, {"seed/x/..": {"size": 1, "sha256": "0"}}),
        ({"seed/x": SEED}, {"seed/y/a": {"size": 1, "sha256": "0"}}),
        ({"seed/x": SEED}, {"seed/x/deep/a": {"size": 1, "sha256": "0"}}),
        ({"seed/x": SEED}, {"/seed/x/a": {"size": 1, "sha256": "0"}}),
    ],
)
def test_a_manifest_that_no_build_writes_is_damaged(bundle: Path, sets: Any, files: Any) -> None:
    """Also one with the right checksum: names lead nowhere else, and types are those that are counted on."""
    text = Manifest(sets, files).text().encode()
    with tarfile.open(bundle, "w", format=tarfile.GNU_FORMAT) as file:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        file.addfile(member, io.BytesIO(text))
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        archive.verify(bundle)


def test_a_part_holds_what_one_host_needs(bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "part.tar"
    archive.part(bundle, ["wheels/x", "packages/none"], output)
    with tarfile.open(output) as file:
        assert file.getnames() == ["wheels", "wheels/x", "wheels/x/a-1.0-py3-none-any.whl", "wheels/x/b.whl"]
    assert output.stat().st_mode & 0o777 == 0o600


def test_parts_say_who_may_read_their_folders_and_are_the_same_each_time(bundle: Path, tmp_path: Path) -> None:
    """Whatever the umask is: services read what root has unpacked."""
    first, again = tmp_path / "first.tar", tmp_path / "again.tar"
    archive.part(bundle, ["wheels/x", "seed/index1"], first)
    os.umask(0o077)
    archive.part(bundle, ["seed/index1", "wheels/x"], again)
    assert first.read_bytes() == again.read_bytes()
    with tarfile.open(first) as file:
        folders = [(member.name, member.mode) for member in file if member.isdir()]
    assert folders == [("seed", 0o755), ("seed/index1", 0o755), ("wheels", 0o755), ("wheels/x", 0o755)]


def test_extracts_what_is_not_there(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seed"
    assert archive.extract(bundle, ["wheels/x"], folder)
    assert not archive.extract(bundle, ["wheels/x"], folder)
    (folder / "b.whl").write_bytes(b"changed")
    (folder / "old.whl").write_bytes(b"")
    assert archive.extract(bundle, ["wheels/x"], folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a-1.0-py3-none-any.whl": b"a" * 700,
        "b.whl": b"",
    }
