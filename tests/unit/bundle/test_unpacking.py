"""The role itself, on this machine: what it unpacks, and what it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyindex_bundle import archive, digests
from tests.unit.repository import ROOT

HOST = "index1"


class Site:
    """A bundle, a host (this machine) that gets its part of it, and a playbook that has nothing but the role."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "bundle.tar"
        self.on_host = folder / "disk" / "data"
        self.on_controller = folder / "seeds" / "mine"
        self.variables: dict[str, Any] = {
            "bundle_file": str(self.bundle),
            "bundle_server": "devpi",
            "bundle_python": sys.executable,
            "bundle_packages": [],
            "bundle_dir": str(self.on_host),
            "bundle_seed_dir": str(self.on_controller),
            "bundle_seed_on_controller": True,
            "bundle_seed_requirements": ["app"],
        }

    def pack(self, version: str) -> str:
        """Make the bundle one of wheels and a seed of *version*; return the SHA-256 of its manifest."""
        tree = self.folder / f"tree-{version}"
        sets = {
            "wheels/devpi": {"kind": "wheels", "made_for": []},
            f"seed/{HOST}": {"kind": "seed", "requirements": ["app"], "pythons": [python_minor()]},
        }
        for name in sets:
            (tree / name).mkdir(parents=True)
            (tree / name / f"app-{version}.whl").write_text(version)
        manifest = archive.describe(tree, sets)
        archive.write(tree, manifest, self.bundle)
        return digests.of_text(manifest.text())

    def deploy(self, umask: int = 0o022, **variables: Any) -> tuple[int, str]:
        """Run the role; return the code of the run and what was said."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        told = {**self.variables, **variables}
        inventory = {"all": {"hosts": {HOST: {**local, **told}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        role = {"ansible.builtin.import_role": {"name": "pyindex.fleet.bundle"}}
        shown = {"ansible.builtin.debug": {"msg": "{{ bundle_wheelhouse }} {{ bundle_seed_folder }}"}}
        (self.folder / "play.yml").write_text(
            yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [role, shown]}])
        )
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                f"--inventory={self.folder / 'hosts.yml'}",
                str(self.folder / "play.yml"),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        report = json.loads(done.stdout[done.stdout.index("{\n") :])
        results = [result for play in report["plays"] for task in play["tasks"] for result in task["hosts"].values()]
        failed = [part for result in results if result.get("failed") for part in (result, *result.get("results", []))]
        said = "\n".join(str(part.get("msg", "")) for part in [*failed, results[-1]])
        return done.returncode, said


def python_minor() -> str:
    return ".".join(map(str, sys.version_info[:2]))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_files_of_others_survive(site: Site) -> None:
    """Both folders may be any that a person names; only what a bundle has brought goes with the next one."""
    foreign = [
        site.on_host / "database",
        site.on_host / "wheels" / "devpi" / "mine.whl",
        site.on_controller / "mine.whl",
        site.on_controller / "folder" / "mine",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    site.on_host.chmod(0o711)
    site.pack("1.0")
    code, said = site.deploy()
    assert code == 0, said
    site.pack("2.0")
    code, said = site.deploy()
    assert code == 0, said
    assert [path.read_text() for path in foreign] == ["mine"] * len(foreign)
    assert site.on_host.stat().st_mode & 0o777 == 0o711
    wheelhouse, seed = (Path(path) for path in said.split())
    assert site.on_host in wheelhouse.parents
    assert site.on_controller in seed.parents
    for folder in (wheelhouse, seed):
        assert [path.name for path in folder.iterdir()] == ["app-2.0.whl"]


def test_a_service_can_read_what_was_unpacked_whatever_the_umask(site: Site) -> None:
    site.pack("1.0")
    code, said = site.deploy(umask=0o077)
    assert code == 0, said
    modes = {path.name: path.stat().st_mode & 0o777 for path in [site.on_host, *site.on_host.rglob("*")]}
    assert {name for name, mode in modes.items() if mode not in {0o755, 0o644}} == set(), modes
    assert modes["app-1.0.whl"] == 0o644


def test_another_bundle_than_the_one_that_was_made_is_refused(site: Site) -> None:
    made = site.pack("1.0")
    code, said = site.deploy(bundle_sha256=made.upper())
    assert code == 0, said
    before = sorted(site.folder.glob("[ds]*/**/*.whl"))
    other = site.pack("2.0")
    code, said = site.deploy(bundle_sha256=made)
    assert code != 0
    assert (
        f"{site.bundle} is another bundle than index_bundle_sha256 says: "
        f"the SHA-256 of its manifest is {other}, and has to be {made}." in said
    )
    assert sorted(site.folder.glob("[ds]*/**/*.whl")) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bundle_dir", "/"),
        ("bundle_dir", "/var"),
        ("bundle_dir", "data/bundle"),
        ("bundle_dir", "/var/lib/../../etc"),
        ("bundle_dir", "/srv/a b"),
        ("bundle_seed_dir", "/home"),
        ("bundle_seed_dir", "seeds/index1"),
        ("bundle_seed_dir", "/home/ann/../.."),
    ],
)
def test_a_path_that_is_no_folder_of_its_own_is_refused(site: Site, name: str, value: str) -> None:
    site.pack("1.0")
    site.variables[name] = value
    code, said = site.deploy()
    assert code != 0
    assert f'{name} is "{value}": it has to be an absolute path of at least two parts' in said
    assert not site.on_host.exists()
