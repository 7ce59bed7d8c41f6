"""What `deploy_index.yml` gives to the server's role where there is a bundle, as Ansible itself works it out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.repository import ROOT, load

PLAYBOOK = ROOT / "playbooks/deploy_index.yml"


def given(name: str, folder: Path, inventory: dict[str, Any]) -> Any:
    """Return the value that the first play gives to the variable *name*."""
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"index1": inventory}}}))
    play = load(PLAYBOOK)[0]
    files = [str(PLAYBOOK.parent / path) for path in play["vars_files"]]
    tasks = [{"ansible.builtin.debug": {"var": name}}]
    (folder / "play.yml").write_text(
        yaml.safe_dump(
            [{"hosts": "all", "gather_facts": False, "vars": play["vars"], "vars_files": files, "tasks": tasks}]
        )
    )
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory={folder / 'hosts.yml'}",
            str(folder / "play.yml"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    return report["plays"][0]["tasks"][0]["hosts"]["index1"][name]


def test_the_bundle_that_is_expected_is_told_to_the_role(tmp_path: Path) -> None:
    assert given("bundle_sha256", tmp_path, {"index_bundle_sha256": "a" * 64}) == "a" * 64


@pytest.mark.parametrize(
    ("inventory", "source"),
    [
        ({"bundle_digest": "0123456789abcdef"}, "0123456789abcdef"),
        ({"bundle_digest": ""}, ""),
        ({"bundle_digest": "", "pypiserver_seed_source": "mine"}, "mine"),
    ],
    ids=["bundle", "no_bundle", "own"],
)
def test_another_bundle_is_looked_at_for_newer_releases(tmp_path: Path, inventory: dict[str, Any], source: str) -> None:
    """Without this the releases of a new bundle would not be published; of the same one nothing is asked again."""
    assert given("pypiserver_seed_source", tmp_path, inventory) == source
