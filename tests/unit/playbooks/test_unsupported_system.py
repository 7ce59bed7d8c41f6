"""A host of a system that no role has data for: it is named, and nothing is changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.repository import ROOT

FACTS = {
    "ansible_os_family": "Suse",
    "ansible_distribution": "openSUSE Leap",
    "ansible_distribution_major_version": "15",
    "ansible_pkg_mgr": "zypper",
}


@pytest.mark.parametrize("role", ["nginx", "pip_client", "python_service"])
def test_the_system_is_named(role: str, tmp_path: Path) -> None:
    tasks = [
        {"ansible.builtin.set_fact": {**FACTS, "cacheable": True}},
        {"ansible.builtin.import_role": {"name": f"pyindex.fleet.{role}", "tasks_from": "set_vars"}},
    ]
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "--inventory=localhost,",
            "--connection=local",
            str(play),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    said = " ".join(done.stdout.replace("'", "").split())
    assert "openSUSE Leap is not supported: this role knows the Debian and RedHat families" in said
    assert "changed=0" in said
