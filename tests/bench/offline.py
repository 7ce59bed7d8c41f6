"""Measure the deployment of both servers from a bundle against the connected one, and building the bundle again.

python -m tests.bench.offline [RUNS]

Each round has two new fleets with the index hosts of the scenario `airgap`, one on a network without a way out and one on
a network like any other, and deploys one after the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.bench.peers.fleet import ROOT, BenchError, ansible_playbook

SCENARIO = ROOT / "molecule" / "airgap"
AIRGAP, CONNECTED = "bench-airgap", "bench-connected"
RATIO_LIMIT, AGAIN_LIMIT = 1.5, 20  # times; seconds


@contextlib.contextmanager
def fleet(name: str, *, internal: bool) -> Iterator[Path]:
    """Make the scenario's index hosts, and give their inventory."""
    described = yaml.safe_load((SCENARIO / "fleet.yml").read_text(encoding="utf-8"))
    hosts = [host for host in described["fleet_hosts"] if "clients" not in host["groups"]]
    known = {"fleet_name": name, "fleet_scenario": "airgap", "fleet_hosts": hosts, "fleet_internal": internal}
    arguments = ("-i", "localhost,", "-e", json.dumps(known))
    inventory = ROOT / ".lab" / "fleets" / name
    try:
        ansible_playbook(*arguments, "molecule/shared/create.yml")
        ansible_playbook("-i", inventory, "molecule/shared/prepare.yml")
        yield inventory
    finally:
        ansible_playbook(*arguments, "molecule/shared/destroy.yml")


def timed(inventory: Path, known: dict[str, str], playbook: str) -> float:
    """Run a playbook; return its seconds."""
    started = time.perf_counter()
    ansible_playbook("-i", inventory, "-e", json.dumps(known), playbook)
    return time.perf_counter() - started


def unpack_seed(bundle: Path, folder: Path) -> Path:
    """Take what devpi is filled with out of the bundle: the connected fleet publishes the same."""
    subprocess.run(["tar", "-xf", bundle, "-C", folder, "seed/index2"], check=True)
    return folder / "seed" / "index2"


def measure(runs: int = 3) -> list[tuple[str, float, str, float, str]]:
    """Return what was measured, the median, its unit, the most that it may be, and how."""
    engine = subprocess.run([ROOT / "molecule/shared/engine", "up"], capture_output=True, text=True, check=False)
    if engine.returncode:
        raise BenchError(f"no container engine:\n{engine.stderr}")
    os.environ["DOCKER_HOST"] = engine.stdout.strip()
    airgap: list[float] = []
    connected: list[float] = []
    again: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle.tar"
        carried = {"index_bundle": str(bundle), "bundle_work_dir": f"{scratch}/work"}
        for _run in range(runs):
            with fleet(AIRGAP, internal=True) as inside, fleet(CONNECTED, internal=False) as outside:
                # The first time it is made, and afterwards measured
                seconds = timed(inside, carried, "playbooks/build_bundle.yml")
                if airgap:
                    again.append(seconds)
                airgap.append(timed(inside, carried, "playbooks/deploy_index.yml"))
                seed = unpack_seed(bundle, Path(scratch))
                known = {"index_bundle": "", "devpi_seed_from": str(seed)}
                connected.append(timed(outside, known, "playbooks/deploy_index.yml"))
                if len(airgap) == runs:
                    again.append(timed(inside, carried, "playbooks/build_bundle.yml"))
    ratios = [one / other for one, other in zip(airgap, connected, strict=True)]
    pairs = "; ".join(f"{one:.0f} against {other:.0f} s" for one, other in zip(airgap, connected, strict=True))
    return [
        (
            "both servers from a bundle, without a way out, against the connected deployment",
            statistics.median(ratios),
            "times",
            RATIO_LIMIT,
            f"`deploy_index.yml` on new hosts; median of {runs}: {pairs}",
        ),
        (
            "`build_bundle.yml` again, nothing changed",
            statistics.median(again),
            "s",
            AGAIN_LIMIT,
            f"median of {len(again)}: {', '.join(f'{one:.1f}' for one in again)}",
        ),
    ]


if __name__ == "__main__":
    for what, value, unit, limit, note in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(f"{what}: {value:.2f} {unit} (at most {limit} {unit}); {note}")
