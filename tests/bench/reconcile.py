"""Measure how long `pypiserver-index reconcile` takes with 200,000 files, on an index host of its own.

python -m tests.bench.reconcile [RUNS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.peers.fleet import BIN, ROOT, BenchError, defaults, index_hosts, own_fleet, pack

FILES = 200_000
COLD_LIMIT, UNCHANGED_LIMIT = 60, 5  # seconds
FOLDER = "/var/lib/pyindex-bench"


def ansible(inventory: Path, host: str, module: str, arguments: str) -> str:
    """Run a module on a host; return the standard output of what it ran."""
    command: list[str | Path] = [
        BIN / "ansible",
        "-i",
        inventory,
        host,
        "--become",
        "-m",
        f"ansible.builtin.{module}",
        "-a",
        arguments,
    ]
    environment = os.environ | {
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"ansible {module} failed:\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}")
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    return str(report["plays"][0]["tasks"][0]["hosts"][host].get("stdout", ""))


def on_host(inventory: Path, runs: int) -> dict[str, Any]:
    """Run the host's part; return what it has measured."""
    ((host, variables),) = index_hosts(inventory, ["pypiserver"]).items()
    known = defaults() | variables
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "host.tar.gz"
        pack(archive)
        ansible(inventory, host, "file", f"path={FOLDER} state=directory mode=0755")
        ansible(inventory, host, "unarchive", f"src={archive} dest={FOLDER}")
    paths = " ".join(
        str(known[name]) for name in ("pypiserver_command", "pypiserver_packages_dir", "pypiserver_pages_dir")
    )
    found = json.loads(
        ansible(inventory, host, "command", f"chdir={FOLDER} python3 -m host.reconcile {paths} {FILES} {runs}")
    )
    if found["files"] != FILES:
        raise BenchError(f"{found['files']} of {FILES} files were published")
    return dict(found)


def measure(runs: int = 3) -> list[tuple[str, float, float, str]]:
    """Return what was measured, the median in seconds, the most that it may be, and how."""
    with own_fleet(["pypiserver"], keep=False) as inventory:
        found = on_host(inventory, runs)
    return [
        (
            f"{what}, {FILES:,} files",
            statistics.median(found[kind]),
            limit,
            f"median of {runs}: {', '.join(f'{one:.1f}' for one in found[kind])}; {how}",
        )
        for what, kind, limit, how in (
            ("`pypiserver-index reconcile`", "cold", COLD_LIMIT, "no page and no record there before"),
            ("`pypiserver-index reconcile`, nothing changed", "unchanged", UNCHANGED_LIMIT, "every file looked at"),
        )
    ]


if __name__ == "__main__":
    for what, seconds, limit, note in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(f"{what}: {seconds:.1f} s (at most {limit} s); {note}")
