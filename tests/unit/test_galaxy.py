"""The collection as people get it: built, installed elsewhere, run by its name."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.repository import ROLE_IDS, ROOT, files, load

BIN = Path(sys.executable).parent
# What an installed collection needs, and what Galaxy shows
TOP = {"CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "changelogs", "docs", "meta", "playbooks"}
TOP |= {"plugins", "requirements.in", "requirements.txt", "roles"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("galaxy")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Return a function that runs one of Ansible's programs as on a machine without this checkout."""

    settings_file = folder / "ansible.cfg"
    settings_file.touch()

    def call(program: str, *arguments: str | Path, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
            "ANSIBLE_CONFIG": str(settings_file),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
        }
        return subprocess.run(
            [BIN / program, *arguments], cwd=cwd, env=settings, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture(scope="module")
def tarball(folder: Path, run: Run) -> Path:
    built = run("ansible-galaxy", "collection", "build", "--output-path", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    galaxy = load(ROOT / "galaxy.yml")
    return folder / f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"


@pytest.fixture(scope="module")
def installed(folder: Path, run: Run, tarball: Path) -> Path:
    arguments = [
        "collection",
        "install",
        "--offline",
        "--no-deps",
        "--collections-path",
        folder / "collections",
        tarball,
    ]
    done = run("ansible-galaxy", *arguments)
    assert done.returncode == 0, done.stderr
    return folder / "collections" / "ansible_collections" / "pyindex" / "fleet"


@pytest.fixture(scope="module")
def contents(tarball: Path) -> set[str]:
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive if member.isfile()}


def test_tarball_holds_only_files_of_the_repository(contents: set[str]) -> None:
    """Neither what `make up` wrote nor a secret that lies about."""
    tracked = {str(path.relative_to(ROOT)) for path in files()}
    assert contents - tracked == {"FILES.json", "MANIFEST.json"}


def test_tarball_leaves_out_what_only_a_checkout_needs(contents: set[str]) -> None:
    assert {name.split("/")[0] for name in contents} == TOP


def test_tarball_is_complete(contents: set[str]) -> None:
    parts = ("meta", "playbooks", "plugins", "roles")
    wanted = {str(path.relative_to(ROOT)) for path in files() if path.relative_to(ROOT).parts[0] in parts}
    assert wanted <= contents


@pytest.mark.parametrize("playbook", sorted(path.stem for path in ROOT.glob("playbooks/*.yml")))
def test_installed_playbooks_can_be_run_by_name(installed: Path, run: Run, playbook: str) -> None:
    inventory = ROOT / "inventories" / "example_pypiserver"
    checked = run("ansible-playbook", "-i", inventory, "--syntax-check", f"pyindex.fleet.{playbook}")
    assert checked.returncode == 0, checked.stderr
    assert str(installed / "playbooks" / f"{playbook}.yml") in checked.stdout


def test_installed_site_lists_its_tasks(installed: Path, run: Run) -> None:
    inventory = ROOT / "inventories" / "example_pypiserver"
    listed = run("ansible-playbook", "-i", inventory, "--list-tasks", "pyindex.fleet.site")
    assert listed.returncode == 0, listed.stderr
    for role in ("tls", "nginx", "htpasswd", "pypiserver", "firewall", "pip_client"):
        assert f"pyindex.fleet.{role}" in listed.stdout or f" {role} : " in listed.stdout
    assert installed.is_dir()


def test_installed_roles_document_themselves(installed: Path, run: Run) -> None:
    listed = run("ansible-doc", "--type", "role", "--list", "pyindex.fleet")
    assert listed.returncode == 0, listed.stderr
    assert [name for name in ROLE_IDS if f"pyindex.fleet.{name}" not in listed.stdout] == []
    assert installed.is_dir()
