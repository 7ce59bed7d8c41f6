"""The example inventories: complete, and made of variables that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pyindex.fleet.plugins.filter.unknown_variables import explain, read_options
from tests.unit.repository import ROOT, load

EXAMPLES = sorted(ROOT.glob("inventories/example_*"))
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])


def listed(example: Path) -> dict[str, Any]:
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    done = subprocess.run([program, "-i", str(example), "--list"], cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@every_example
def test_the_vault_has_the_secrets_that_are_used(example: Path) -> None:
    used = {
        name
        for path in example.rglob("*.yml")
        for name in re.findall(r"\bvault_\w+", re.sub(r"(?m)^\s*#.*$", "", path.read_text(encoding="utf-8")))
    }
    declared = load(example / "group_vars/all/vault.yml.example")
    assert used == set(declared)
    assert set(declared.values()) == {""}, "an example has no secret"


@every_example
def test_every_group_that_has_variables_has_hosts(example: Path) -> None:
    groups = listed(example)
    empty = [
        path.name
        for path in example.glob("group_vars/*")
        if path.name != "all" and not groups.get(path.name, {}).get("hosts")
    ]
    assert not empty


@every_example
def test_every_variable_is_one_of_a_role(example: Path) -> None:
    options = read_options(ROOT / "roles")
    hosts = listed(example)["_meta"]["hostvars"]
    names = {name for variables in hosts.values() for name in variables if not name.startswith(("ansible_", "vault_"))}
    assert not explain(names, options)
    prefixes = tuple(f"{role}_" for role in options)
    assert not [name for name in names if not name.startswith(prefixes)]


@every_example
def test_folders_beside_the_hosts_are_hidden(example: Path) -> None:
    """Ansible reads every other file below an inventory as one more inventory."""
    texts = [path.read_text(encoding="utf-8") for path in example.rglob("*.yml")]
    named = [name for text in texts for name in re.findall(r"inventory_dir(?: *~ *'| *}})/([^'\"/ ]+)", text)]
    assert not [name for name in named if not name.startswith(".")]
