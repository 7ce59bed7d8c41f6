"""Runs on a host of the fleet, read from standard input: tries to reach others."""

from __future__ import annotations

import socket
from typing import Any


def main(job: dict[str, Any]) -> list[str]:
    """Connect to each of ``addresses`` (address, port), waiting ``seconds``, and resolve ``name``; return what worked."""
    reached = []
    for address, port in job["addresses"]:
        try:
            socket.create_connection((address, port), job["seconds"]).close()
        except OSError:
            continue
        reached.append(address)
    try:
        socket.getaddrinfo(job["name"], 443)
    except socket.gaierror:
        return reached
    return [*reached, job["name"]]
