"""Runs on a host of the fleet, read from standard input: says which TCP ports of another host can be connected to."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main(job: dict[str, Any]) -> list[int]:
    """Return those of ``ports`` at ``address`` that accept a connection within ``seconds``."""

    def accepts(port: int) -> bool:
        try:
            socket.create_connection((job["address"], port), job["seconds"]).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        found = pool.map(lambda port: (port, accepts(port)), job["ports"])
        return [port for port, is_open in found if is_open]
