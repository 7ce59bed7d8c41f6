"""What should hold on a fleet, taken from its inventory and the roles' defaults, and the way to its hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import testinfra
import yaml

from .indexes import Devpi, Index, Pypiserver, User
from .machines import Machine

ROOT = Path(__file__).parents[2]
PLAYBOOK = Path(__file__).with_name("resolve.yml")

CONNECTION = [
    "ansible_connection",
    "ansible_host",
    "ansible_user",
    "ansible_port",
    "ansible_ssh_private_key_file",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
]


@dataclass(frozen=True)
class Account:
    """A user of a client host, and who that user is to the index (None: an index that asks nobody)."""

    name: str
    user: User | None
    upload: bool = False


@dataclass(eq=False)
class Client:
    """A client host, and what the inventory says of it."""

    machine: Machine
    variables: Mapping[str, Any] = field(repr=False)
    index: Index
    accounts: tuple[Account, ...]
    python_version: str
    """Of the Python that Ansible uses there: major.minor."""

    def __repr__(self) -> str:
        return self.machine.name

    def __getitem__(self, name: str) -> Any:
        """The value of a variable on this host; "" where it has none."""
        return self.variables[name]

    @property
    def levels(self) -> frozenset[str]:
        return frozenset(self["pip_client_levels"])

    @property
    def virtualenvs(self) -> list[str]:
        return list(self["pip_client_virtualenvs"])

    @property
    def uploaders(self) -> list[Account]:
        """Users of this host who have a .pypirc."""
        return [account for account in self.accounts if account.upload]


@dataclass(frozen=True)
class Fleet:
    """The hosts of an inventory."""

    inventory: Path
    indexes: list[Index]
    clients: list[Client]
    upstreams: list[Machine]
    """Hosts that stand for the public index (the lab's group `upstream`)."""
    folder: Path
    """Where the sockets of the persistent connections are."""

    def disconnect(self) -> None:
        """End the persistent connections; the next command makes a new one."""
        for socket in (path for path in self.folder.iterdir() if path.is_socket()):
            subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "-"], capture_output=True, check=False)


def ansible(inventory: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs, from the controller's environment, in the folder of the repository."""
    command = [str(Path(sys.executable).with_name(program)), "-i", str(inventory), *arguments]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def resolve(inventory: Path, folder: Path) -> Fleet:
    """Ask Ansible what the variables of an inventory come to. Raises RuntimeError with Ansible's words.

    `folder` (private, with a short path) holds the sockets of the connections until the end.
    """
    defaults = _defaults()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        (Path(scratch) / "defaults.yml").write_text(json.dumps({"all": {"vars": defaults}}), encoding="utf-8")
        (Path(scratch) / "hosts").mkdir()
        extra = ("-i", str(inventory), "-e", f"resolve_folder={scratch}/hosts", str(PLAYBOOK))
        done = ansible(Path(scratch) / "defaults.yml", "ansible-playbook", *extra)
        if done.returncode:
            raise RuntimeError(f"{inventory} could not be resolved:\n{done.stdout}\n{done.stderr}")
        hosts = {
            path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(Path(scratch).glob("hosts/*.json"))
        }
    return _fleet(inventory, hosts, folder)


def _defaults() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return found


def _fleet(inventory: Path, hosts: Mapping[str, Any], folder: Path) -> Fleet:
    if not hosts:
        raise RuntimeError(f"{inventory} has no host in the groups pypiserver, devpi_primary and clients")
    groups: dict[str, list[str]] = defaultdict(list, next(iter(hosts.values()))["groups"])
    connections = _connections(hosts, folder)
    machines = {
        name: Machine(name, testinfra.get_host(f"ansible://{name}?ansible_inventory={connections}"), host["python"])
        for name, host in hosts.items()
    }
    kinds: dict[str, Callable[..., Index]] = {"pypiserver": Pypiserver, "devpi_primary": Devpi}
    indexes = {
        name: _index(kind, machines[name], hosts[name]) for group, kind in kinds.items() for name in groups[group]
    }
    clients = []
    for name in groups["clients"]:
        variables = hosts[name]["variables"]
        index = indexes.get(variables["client_index_host"] or next(iter(indexes), ""))
        if index is None or variables["pip_client_state"] != "present":
            # It uses an index that is not of this fleet, or none
            continue
        accounts = tuple(_account(account, index) for account in variables["pip_client_users"])
        clients.append(Client(machines[name], variables, index, accounts, hosts[name]["python_version"]))
        index.clients.append(clients[-1])
    for index in indexes.values():
        others = [machine for machine in machines.values() if machine is not index.machine]
        local = Machine("localhost", testinfra.get_host("local://"), sys.executable)
        index.vantages = [client.machine for client in index.clients if client.machine is not index.machine]
        index.vantages = index.vantages or others or [local]
    upstreams = [machines[name] for name in groups["upstream"]]
    return Fleet(inventory, list(indexes.values()), clients, upstreams, folder)


def _index(kind: Callable[..., Index], machine: Machine, host: Mapping[str, Any]) -> Index:
    variables = host["variables"]
    trusted = variables["tls_trust_file"]
    authority = Path(trusted).read_text(encoding="utf-8") if trusted else ""
    address = variables["ansible_host"] or machine.name
    return kind(machine, variables, address, host["python_version"], authority)


def _account(account: Mapping[str, Any], index: Index) -> Account:
    if not account.get("username"):
        return Account(account["name"], None)
    rights = next((user.rights for user in index.users if user.name == account["username"]), frozenset())
    user = User(account["username"], account["password"], rights)
    return Account(account["name"], user, bool(account.get("upload")))


def _connections(hosts: Mapping[str, Any], folder: Path) -> Path:
    """An inventory for testinfra, which evaluates no templates: how to reach each host, and to become root there."""
    persistent = f"-o ControlMaster=auto -o ControlPersist=60s -o ControlPath={folder}/%C"
    found = {}
    for name, host in hosts.items():
        values = {key: host["variables"][key] for key in CONNECTION if host["variables"][key] != ""}
        values["ansible_ssh_common_args"] = f"{persistent} {values.get('ansible_ssh_common_args', '')}".strip()
        if "ansible_ssh_private_key_file" in values:
            values["ansible_ssh_private_key_file"] = str(Path(values["ansible_ssh_private_key_file"]).expanduser())
        if "ansible_port" in values:
            values["ansible_port"] = str(values["ansible_port"])
        values["ansible_become"] = values.get("ansible_user") != "root"
        found[name] = values
    path = folder / "connections.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"all": {"hosts": found}}), encoding="utf-8")
    return path
