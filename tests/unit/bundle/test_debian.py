"""Debian packages: apt resolves them from a repository of made packages, as if for a system that has nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyindex_bundle import debian
from pyindex_bundle.collect import Work
from pyindex_bundle.description import host
from pyindex_bundle.errors import BundleError

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb") and shutil.which("dpkg-scanpackages")),
    reason="needs Debian's tools",
)

HOST = host(
    {
        "name": "index1",
        "server": "pypiserver",
        "python": "3.11.2",
        "glibc": "2.36",
        "machine": "x86_64",
        "suite": "bookworm",
    }
)


def package(folder: Path, name: str, version: str = "1.0", depends: str = "", recommends: str = "") -> None:
    """Make a package, and the index of its folder anew."""
    control = folder.parent / f"{name}-{version}" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    text = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: made <made@example.org>\nDescription: made\n"
    text += f"Depends: {depends}\n" if depends else ""
    control.write_text(text + (f"Recommends: {recommends}\n" if recommends else ""))
    folder.mkdir(exist_ok=True)
    subprocess.run(["dpkg-deb", "--build", "-Zgzip", control.parents[1], folder], check=True, capture_output=True)
    scanned = subprocess.run(
        ["dpkg-scanpackages", "--multiversion", "."], cwd=folder, check=True, capture_output=True, text=True
    )
    (folder / "Packages").write_text(scanned.stdout)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    archive = tmp_path / "archive"
    package(archive, "front", depends="library", recommends="manual")
    package(archive, "library", depends="base (>= 1.0)")
    package(archive, "base")
    package(archive, "manual")
    return {"made.list": f"deb [trusted=yes] file:{archive} ./\n"}


def files(work: Work) -> list[str]:
    return sorted(path.name for path in (work.tree / HOST.packages_set).iterdir())


def test_takes_all_that_a_package_depends_on(work: Work, sources: dict[str, str]) -> None:
    """Also what this machine has already; nothing that is only recommended."""
    content = work.packages(HOST, ["front"], sources, refresh=False)
    assert files(work) == ["Packages", "base_1.0_all.deb", "front_1.0_all.deb", "library_1.0_all.deb"]
    assert content["packages"] == ["front"]


def test_stays_what_it_was_until_asked(work: Work, sources: dict[str, str], tmp_path: Path) -> None:
    work.packages(HOST, ["front"], sources, refresh=False)
    package(tmp_path / "archive", "base", "2.0")
    work.packages(HOST, ["front"], sources, refresh=False)
    assert "base_1.0_all.deb" in files(work)
    work.packages(HOST, ["front"], sources, refresh=True)
    assert files(work) == ["Packages", "base_2.0_all.deb", "front_1.0_all.deb", "library_1.0_all.deb"]


def test_puts_a_changed_folder_right(work: Work, sources: dict[str, str]) -> None:
    work.packages(HOST, ["front"], sources, refresh=False)
    (work.tree / HOST.packages_set / "base_1.0_all.deb").unlink()
    work.packages(HOST, ["front"], sources, refresh=False)
    assert "base_1.0_all.deb" in files(work)


def test_a_login_in_the_sources_is_for_nobody_else(work: Work) -> None:
    login = {"made.list": "deb [trusted=yes] http://ann:s3cret@127.0.0.1:1/debian ./\n"}
    kept = work.root / "apt" / "bookworm-x86_64" / "sources.list.d"
    kept.mkdir(parents=True)
    for name in login:
        (kept / name).touch(0o644)
    with pytest.raises(BundleError, match=r"127\.0\.0\.1") as raised:
        work.packages(HOST, ["front"], login, refresh=False)
    assert "s3cret" not in str(raised.value)
    assert {path.name: path.stat().st_mode & 0o777 for path in kept.iterdir()} == {"made.list": 0o600}


def test_names_what_there_is_not(work: Work, sources: dict[str, str]) -> None:
    with pytest.raises(BundleError, match="absent"):
        work.packages(HOST, ["front", "absent"], sources, refresh=False)


def test_another_suite_stands_in_the_controllers_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://mirror bookworm main\ndeb http://mirror bookworm-updates main\n")
    (tmp_path / "sources.list.d" / "more.sources").write_text("Types: deb\nSuites: bookworm-security\n")
    (tmp_path / "sources.list.d" / "old.list.save").write_text("deb http://elsewhere bookworm main\n")
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    found = debian.controller_sources("trixie", tmp_path, tmp_path / "os-release")
    assert found == {
        "sources.list": "deb http://mirror trixie main\ndeb http://mirror trixie-updates main\n",
        "more.sources": "Types: deb\nSuites: trixie-security\n",
    }


def test_says_what_to_do_on_a_controller_without_debian(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="bundle_apt_sources"):
        debian.controller_sources("trixie", tmp_path, tmp_path / "none")
