"""Targets and locks: which files a Python on a machine takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from packaging.markers import default_environment
from packaging.tags import sys_tags

from pyindex_bundle import digests
from pyindex_bundle.__main__ import this_machine
from pyindex_bundle.errors import BundleError
from pyindex_bundle.locks import choose, pins
from pyindex_bundle.targets import Target
from tests.unit.bundle.made import BOOKWORM, OLD, TRIXIE, Index
from tests.unit.repository import ROOT

LOCKS = [*sorted(ROOT.glob("roles/*/files/requirements*.txt")), ROOT / "requirements.txt"]


def test_this_machine_takes_what_its_python_says() -> None:
    """Tags in the same order, and the same markers: what holds here holds for targets that nobody can ask."""
    target = this_machine()
    foreign = [tag for tag in dict.fromkeys(sys_tags()) if "musllinux" not in tag.platform]
    assert sorted(target.ranks, key=lambda tag: target.ranks[tag]) == foreign
    own = default_environment()
    told = {"platform_release", "platform_version"}
    assert {name: value for name, value in own.items() if name not in told} == {
        name: value for name, value in target.markers.items() if name not in told
    }


@pytest.mark.parametrize(
    "wrong", [("3.11", "2.36", "x86_64"), ("2.7.1", "2.36", "x86_64"), ("3.11.2", "musl", "x86_64")]
)
def test_versions_are_checked(wrong: tuple[str, str, str]) -> None:
    with pytest.raises(BundleError, match="such as"):
        Target(*wrong)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("target", [BOOKWORM, TRIXIE], ids=["bookworm", "trixie"])
def test_reads_every_lock_of_the_repository(path: str, target: Target) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = pins([text], target)
    assert found
    assert all(pin.hashes for pin in found)


def test_markers_are_judged_by_the_target(index: Index) -> None:
    index.wheel("a")
    index.wheel("b")
    lock = index.lock("a==1.0 ; python_full_version < '3.11.5'", "b==1.0 ; python_version >= '3.13'")
    assert [str(pin) for pin in pins([lock], BOOKWORM)] == ["a==1.0"]
    assert [str(pin) for pin in pins([lock], TRIXIE)] == ["b==1.0"]


@pytest.mark.parametrize("line", ["a==1.0", "a>=1 --hash=sha256:00", "--index-url x", "a @ file:///x"])
def test_refuses_what_is_no_lock(line: str) -> None:
    with pytest.raises(BundleError, match="a lock file has the line"):
        pins([line], BOOKWORM)


def test_chooses_what_pip_chooses(index: Index) -> None:
    """The same file as pip takes on a target, for wheels of several Pythons and C libraries."""
    for tag in (
        "py3-none-any",
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp311-cp311-manylinux_2_34_x86_64",
        "cp311-cp311-manylinux_2_39_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp313-cp313-manylinux_2_39_x86_64",
        "cp39-abi3-manylinux1_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
    ):
        index.wheel("a", tag=tag)
    lock = index.lock("a==1.0")
    for target in (BOOKWORM, TRIXIE, OLD, Target("3.12.1", "2.28", "aarch64")):
        [pin] = pins([lock], target)
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", "--no-deps"]
        command += ["--only-binary=:all:", "--ignore-installed", "--target", "/nowhere", *target.pip_options, "a"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        url = json.loads(done.stdout)["install"][0]["download_info"]["url"]
        assert choose(pin, digests.of_folder(index.folder), target) == url.rpartition("/")[2]
