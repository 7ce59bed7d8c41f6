"""Runs on an index host, read from standard input: kills the server while an upload is being written."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> bool:
    """Watch ``folder`` for ``seconds``; once a new file there is over ``bytes`` long, kill the processes of ``unit``
    with SIGKILL and return True."""
    folder, end = Path(job["folder"]), time.monotonic() + job["seconds"]
    before = set(folder.rglob("*"))
    while time.monotonic() < end:
        for path in set(folder.rglob("*")) - before:
            try:
                reached = path.is_file() and path.stat().st_size > job["bytes"]
            except FileNotFoundError:
                continue
            if reached:
                subprocess.run(["systemctl", "kill", "--signal=KILL", job["unit"]], check=True)
                return True
        time.sleep(0.005)
    return False
