"""Runs on an index host, read from standard input: listens on a TCP port for a moment."""

from __future__ import annotations

import socket
import time
from typing import Any


def main(job: dict[str, Any]) -> list[str]:
    """Listen on ``port`` on every address for ``seconds``; return the addresses that connected."""
    end = time.monotonic() + job["seconds"]
    callers = []
    with socket.create_server(("", job["port"])) as server:
        while (left := end - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                connection, address = server.accept()
            except OSError:  # the time is up
                break
            connection.close()
            callers.append(address[0])
    return callers
