"""Measure how long one Ansible task takes to apply a plan of 20 users and 60 indexes to a real devpi-server.

python tests/bench/devpi_plan.py [RUNS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.devpi_server import Server  # noqa: E402 - it is found from the root

USERS, INDEXES_EACH = 20, 3
FIRST_LIMIT, SECOND_LIMIT = 30, 5  # seconds


def plan() -> dict[str, Any]:
    """Return a plan in which the indexes of each user stand on each other, and those of all on one mirror."""
    users = [
        {"name": f"user{number}", "password": f"password-{number}", "email": f"user{number}@example.org"}
        for number in range(USERS)
    ]
    indexes: list[dict[str, Any]] = [
        {"name": "root/upstream", "type": "mirror", "mirror_url": "http://127.0.0.1:9/simple/"}
    ]
    for user in users:
        bases = ["root/upstream"]
        for name in ("staging", "dev", "test")[:INDEXES_EACH]:
            index = f"{user['name']}/{name}"
            indexes.append({"name": index, "bases": bases, "volatile": name != "staging", "title": index})
            bases = [index]
    # The mirror is one of the 60
    return {"users": users, "indexes": indexes[: USERS * INDEXES_EACH][::-1]}


def apply(server: Server, arguments: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Run the module once as Ansible does; return the seconds, Ansible's own start included, and its result."""
    given = {**arguments, "unix_socket": server.socket, "password": server.password}
    started = time.perf_counter()
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            *("localhost", "--connection", "local", "--module-name", "pyindex.fleet.devpi_plan"),
            *("--extra-vars", f"ansible_python_interpreter={sys.executable}", "--args", json.dumps(given)),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    result: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])
    return seconds, result


def measure(runs: int = 3) -> list[tuple[str, float, float, str]]:
    """Return what was measured, the median in seconds, the most that it may be, and how; each run on a new server."""
    first, second = [], []
    for _run in range(runs):
        server = Server()
        try:
            seconds, result = apply(server, plan())
            if len(result["actions"]) != USERS + USERS * INDEXES_EACH:
                raise RuntimeError(f"The plan was not applied as a whole: {result['actions']}")
            first.append(seconds)
            seconds, result = apply(server, plan())
            if result["changed"]:
                raise RuntimeError(f"The second run changed something: {result['actions']}")
            second.append(seconds)
        finally:
            server.stop()
    what = f"a devpi plan of {USERS} users and {USERS * INDEXES_EACH} indexes"
    return [
        (f"{what}, applied", statistics.median(first), FIRST_LIMIT, _note(first)),
        (f"{what}, again", statistics.median(second), SECOND_LIMIT, f"{_note(second)}; changed=0"),
    ]


def _note(times: list[float]) -> str:
    return f"one task, `ansible` itself included; median of {len(times)}: {', '.join(f'{one:.1f}' for one in times)}"


if __name__ == "__main__":
    for what, seconds, limit, note in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(f"{what}: {seconds:.1f} s (at most {limit} s); {note}")
