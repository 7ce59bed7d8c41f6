"""The firewall of an index host, seen from another host."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .indexes import Index

PROGRAM = Path(__file__).parent / "remote" / "ports.py"
LISTENER = Path(__file__).parent / "remote" / "listen.py"
# Where services of this kind listen, asked for or not
USUAL = [21, 23, 25, 53, 80, 110, 111, 139, 443, 445, 631, 2049, 2375, 3128, 3141, 3306, 5000, 5432, 6379]
USUAL += [8000, 8080, 8081, 8443, 8888, 9000, 9090, 9100, 9200, 11211]


def scan(index: Index) -> set[int]:
    """The TCP ports of `index` that can be connected to from elsewhere: of the usual ones and of those that something
    listens on."""
    listening = index.machine.check("ss", "--no-header", "--listening", "--tcp", "--numeric").splitlines()
    heard = {int(line.split()[3].rpartition(":")[2]) for line in listening}
    ports = sorted({*USUAL, *heard, *declared(index), *ssh(index)})
    job = {"address": index.address, "ports": ports, "seconds": 2}
    return set(index.vantages[0].program(PROGRAM, job))


@pytest.fixture(scope="session")
def open_ports(index: Index) -> set[int]:
    """The same, once."""
    return scan(index)


def declared(index: Index) -> set[int]:
    """What the inventory opens to everybody."""
    rules = [rule for rule in index["firewall_rules"] or [] if not rule.get("sources")]
    own = {int(rule["port"]) for rule in rules if rule.get("protocol", "tcp") == "tcp"}
    return own | {port for port in (index.http_port, index.https_port) if port}


def ssh(index: Index) -> set[int]:
    return {int(port) for port in index["firewall_ssh_ports"]}


def tolerated(index: Index) -> set[int]:
    """Ports of which the inventory says nothing for everybody: open to some hosts, or somebody else's."""
    rules = [rule for rule in index["firewall_rules"] or [] if rule.get("sources")]
    return {int(rule["port"]) for rule in rules} | {int(port) for port in index["acceptance_other_open_ports"] or []}


def test_declared_ports_are_open(index: Index, open_ports: set[int]) -> None:
    """Clients reach the index, and the controller keeps its way in."""
    assert declared(index) | ssh(index) <= open_ports


def test_other_ports_are_closed(index: Index, open_ports: set[int]) -> None:
    """Nothing else answers, whatever listens there (variable acceptance_other_open_ports: what somebody else opened)."""
    if index["firewall_provider"] == "none":
        pytest.skip("firewall_provider is none: somebody else decides on the ports")
    assert not open_ports - declared(index) - ssh(index) - tolerated(index)


def test_a_new_listener_is_not_reachable(index: Index) -> None:
    """It is the firewall that closes ports: something that starts to listen is reached from the host itself only."""
    if index["firewall_provider"] == "none":
        pytest.skip("firewall_provider is none: somebody else decides on the ports")
    port = 20000 + secrets.randbelow(9999)
    with ThreadPoolExecutor() as pool:
        callers = pool.submit(index.machine.program, LISTENER, {"port": port, "seconds": 5})
        while not index.machine.program(PROGRAM, {"address": "127.0.0.1", "ports": [port], "seconds": 1}):
            assert not callers.done(), "it did not listen"
        from_elsewhere = index.vantages[0].program(PROGRAM, {"address": index.address, "ports": [port], "seconds": 2})
    assert from_elsewhere == []
    assert set(callers.result()) == {"127.0.0.1"}
