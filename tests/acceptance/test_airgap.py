"""A fleet without a way out: nothing on any host has tried to reach anybody outside, from its deployment on."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .indexes import Index
from .kinds import RECORDED
from .machines import Machine

pytestmark = RECORDED

# After every other test
LAST = 3
CALLER = Path(__file__).parent / "remote" / "call.py"


def hosts(index: Index) -> Sequence[Machine]:
    """The index host and the clients that use it."""
    return (index.machine, *(client.machine for client in index.clients))


def take_record(machine: Machine, path: str) -> list[dict[str, Any]]:
    """What the host has sent outside since this was asked last."""
    lines = machine.check("sh", "-c", 'cat "$1" && : >"$1"', "sh", path).splitlines()
    return [json.loads(line) for line in lines]


def package_sources(machine: Machine) -> list[tuple[str, int]]:
    """Where the host's own apt would download from: address, as the controller resolves it, and port."""
    found = []
    for site in sorted(set(machine.check("apt-get", "indextargets", "--format", "$(SITE)").split())):
        url = urlsplit(site)
        port = url.port or socket.getservbyname(url.scheme)
        found += [
            (str(address[0]), port)
            for *_kind, address in socket.getaddrinfo(url.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
        ]
    return sorted(set(found))


@pytest.mark.place(LAST)
def test_nobody_has_asked_outside(index: Index, run_id: str) -> None:
    """Neither a connection nor a DNS question: deployment, services, pip, uv and twine. Then each host is made to try
    it, which gets it nowhere and is on record, so that no record means that nobody tried."""
    path = str(index["acceptance_outward_record"])
    records = {machine.name: take_record(machine, path) for machine in hosts(index)}
    assert records == {name: [] for name in records}
    for machine in hosts(index):
        sources = package_sources(machine)
        assert sources
        for source in sources:
            # From here it can be reached: there is something to be kept from
            socket.create_connection(source, 10).close()
        name = f"pyindex-acceptance-{run_id}.example"
        assert machine.program(CALLER, {"addresses": sources, "name": name, "seconds": 1}) == []
        seen = take_record(machine, path)
        assert {
            (packet["address"], packet["port"]) for packet in seen if packet["protocol"] == socket.IPPROTO_TCP
        } == set(sources)
        assert name in {packet.get("question") for packet in seen}
