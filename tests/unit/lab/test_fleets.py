"""The machines of the scenarios, and the inventory that the lab writes for them from the shipped examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository import ROOT, load

SCENARIOS = sorted(path.parent for path in ROOT.glob("molecule/*/fleet.yml"))
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[path.name for path in SCENARIOS])


def run(program: str, *arguments: str) -> str:
    """Run one of Ansible's programs and return what it prints."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def write(scenario: Path, inventory: Path) -> str:
    """Run the last part of create.yml, which needs no engine, and return its recap."""
    (inventory / ".ssh").mkdir(parents=True, exist_ok=True)
    given = {
        "fleet_inventory": str(inventory),
        "fleet_scenario": scenario.name,
        "__fleet_subnet": "198.19.0.",
        "__fleet_joined": {"stdout_lines": []},
    }
    said = run(
        "ansible-playbook",
        "--inventory=localhost,",
        f"--extra-vars=@{scenario / 'fleet.yml'}",
        f"--extra-vars={json.dumps(given)}",
        "--start-at-task=Write what the hosts are and how they are reached",
        "molecule/shared/create.yml",
    )
    return said.splitlines()[-2]


def variables(inventory: Path, host: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("ansible-inventory", f"--inventory={inventory}", f"--host={host}"))
    return found


@every_scenario
def test_hosts_do_not_collide(scenario: Path) -> None:
    hosts = load(scenario / "fleet.yml")["fleet_hosts"]
    names = [name for host in hosts for name in [host["name"], *host.get("aliases", [])]]
    assert len(set(names)) == len(names)
    assert len({host["octet"] for host in hosts}) == len(hosts)


@every_scenario
def test_the_inventory_is_written_once(scenario: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "fleet"
    assert "failed=0" in write(scenario, inventory)
    written = {path: path.read_bytes() for path in inventory.rglob("*") if path.is_file()}
    assert "changed=0" in write(scenario, inventory)
    assert {path: path.read_bytes() for path in inventory.rglob("*") if path.is_file()} == written

    groups = json.loads(run("ansible-inventory", f"--inventory={inventory}", "--list"))
    hosts = load(scenario / "fleet.yml")["fleet_hosts"]
    backends = {group for host in hosts for group in host["groups"]} & {"pypiserver", "devpi_primary"}
    assert set(groups["index"]["children"]) == backends


def test_an_example_comes_without_its_connection_and_its_vault(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet"
    write(ROOT / "molecule/default", inventory)
    example = ROOT / "inventories/example_devpi/group_vars"
    assert {
        path.relative_to(inventory / "group_vars/all").as_posix() for path in (inventory / "group_vars/all").iterdir()
    } == {"secrets.yml"}
    copied = inventory / "group_vars/devpi_primary/main.yml"
    assert copied.read_bytes() == (example / "devpi_primary/main.yml").read_bytes()

    index2 = variables(inventory, "index2")
    assert index2["ansible_user"] == "admin"
    assert index2["devpi_server_name"] == "index2.pyindex.test"
    declared = load(example / "all/vault.yml.example")
    assert {name for name in declared if len(str(index2[name])) == 24} == set(declared)
    # One CA for the fleet, by whichever name
    assert index2["vault_ca_passphrase"] == variables(inventory, "index1")["tls_ca_passphrase"]


def test_what_somebody_wrote_is_kept(tmp_path: Path) -> None:
    """An edit stays beside the file; secrets in use stay, and new ones join them."""
    inventory = tmp_path / "fleet"
    secrets = inventory / "group_vars/all/secrets.yml"
    secrets.parent.mkdir(parents=True)
    secrets.write_text("lab_reader_password: in-use\ntls_ca_passphrase: of-the-ca\n", encoding="utf-8")
    edited = inventory / "host_vars/index2.yml"
    edited.parent.mkdir()
    edited.write_text("mine: true\n", encoding="utf-8")
    write(ROOT / "molecule/default", inventory)

    index2 = variables(inventory, "index2")
    assert index2["lab_reader_password"] == "in-use"
    assert index2["vault_ca_passphrase"] == "of-the-ca"
    assert index2["vault_devpi_root_password"]
    assert edited.with_name("index2.yml~").read_text(encoding="utf-8") == "mine: true\n"
    assert "mine" not in index2
