"""`build_bundle.yml` as people run it: hosts that answer, hosts that do not, and what is said of a mistake.

pip is the real one, with a folder in place of an index; this machine stands for the host that can be asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyindex_bundle import archive
from tests.unit.bundle.made import Index
from tests.unit.repository import ROOT

LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
# Nobody listens there
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}
SAID = {"pypiserver_server_name": "pypi.example.org", "bundle_packages": []}


class Site:
    """An inventory, the index that is its internet, and the playbooks that run for it."""

    def __init__(self, folder: Path) -> None:
        self.index = Index(folder / "index")
        self.index.wheel("server")
        self.lock = folder / "lock.txt"
        self.lock.write_text(self.index.lock("server==1.0"))
        self.inventory = folder / "hosts.yml"
        self.bundle = folder / ".bundle" / "bundle.tar"
        self.output = ""

    def hosts(self, **hosts: dict[str, Any]) -> None:
        listed = {name: {**SAID, "pypiserver_requirements_file": str(self.lock), **own} for name, own in hosts.items()}
        self.inventory.write_text(yaml.safe_dump({"pypiserver": {"hosts": listed}}))

    def build(self, *arguments: str) -> tuple[dict[str, Any], str]:
        """Run the playbook; return what became of each host, and all messages."""
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index.folder),
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory)]
        # The controller's own wheels are not in this index
        command += ["-e", f"bundle_controller_requirements_file={self.lock}", str(ROOT / "playbooks/build_bundle.yml")]
        command += arguments
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        self.output = done.stdout + done.stderr
        report = json.loads(done.stdout[done.stdout.index("{\n") :])
        results = [result for play in report["plays"] for task in play["tasks"] for result in task["hosts"].values()]
        failed = [part for result in results if result.get("failed") for part in (result, *result.get("results", []))]
        told = [result.get("msg", "") for result in results]
        return report["stats"], "\n".join([*told, *(part.get("stderr", "") for part in failed)])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_makes_one_archive_for_hosts_that_answer_and_hosts_that_are_described(site: Site) -> None:
    """... and the same archive again, without asking the index."""
    site.hosts(here=LOCAL, away={**AWAY, "bundle_target": {"suite": "trixie"}})
    stats, said = site.build()
    assert {name: (entry["failures"], entry["unreachable"]) for name, entry in stats.items()} == {
        "here": (0, 0),
        "away": (0, 0),
    }, said
    manifest = archive.verify(site.bundle)
    assert sorted(manifest.files) == [
        "controller/server-1.0-py3-none-any.whl",
        "wheels/pypiserver/server-1.0-py3-none-any.whl",
    ]
    made_for = manifest.sets["wheels/pypiserver"]["made_for"]
    assert "Python 3.13.5 on x86_64 with glibc 2.41" in made_for
    assert len(made_for) == 2
    assert f"{site.bundle}: 1 MB, 2 files, for away, here" in said
    before = site.bundle.read_bytes()
    for path in site.index.folder.iterdir():
        path.unlink()
    stats, said = site.build()
    assert sum(entry["changed"] for entry in stats.values()) == 0
    assert site.bundle.read_bytes() == before


def test_names_a_host_that_does_not_answer_and_is_not_described(site: Site) -> None:
    site.hosts(here=LOCAL, away=AWAY)
    stats, said = site.build()
    assert stats["away"]["failures"] == 1
    assert "away cannot be asked what it is" in said
    assert "bundle_target: {suite: bookworm}" in said
    assert "Not described: away" in said
    assert not site.bundle.exists()


def test_names_a_package_that_has_no_wheel_for_a_host(site: Site) -> None:
    site.index.wheel("native", tag="cp311-cp311-manylinux_2_17_x86_64")
    site.lock.write_text(site.index.lock("server==1.0", "native==1.0"))
    site.hosts(away={**AWAY, "bundle_target": {"python": "3.12.1", "glibc": "2.34", "machine": "x86_64"}})
    stats, said = site.build()
    assert stats["away"]["failures"] == 1
    assert "native==1.0" in said
    assert "(for Python 3.12.1 on x86_64 with glibc 2.34)" in said
    assert not site.bundle.exists()


@pytest.mark.parametrize("works", [True, False], ids=["works", "fails"])
def test_a_login_in_the_package_sources_is_not_printed(site: Site, works: bool) -> None:
    """... and what is wrong is said all the same."""
    secret = "s3cret-of-the-mirror"
    host = {**AWAY, "bundle_apt_sources": {"trixie": f"deb http://ann:{secret}@mirror trixie main"}}
    site.hosts(away={**host, "bundle_target": {"suite": "trixie"}})
    if not works:
        (site.index.folder / "server-1.0-py3-none-any.whl").unlink()
    stats, said = site.build("-vvv")
    assert secret not in site.output
    assert stats["away"]["failures"] == (0 if works else 1)
    assert ("server==1.0" in said) is not works
