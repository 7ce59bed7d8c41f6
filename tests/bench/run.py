"""Measure a running lab (`make up` first), print the figures as a table and write them to docs/figures.md.

    run.py [--runs N] [--clients N] [--up] [--no-write]

--up measures `make up` as well: the lab's hosts are removed first; the engine and the images stay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import devpi_plan, offline, reconcile  # noqa: E402 - it is found from the root
from tests.bench.peers.fleet import BenchError  # noqa: E402

BIN = Path(sys.executable).parent
LAB = ROOT / "inventories" / "lab"
PAGE = ROOT / "docs" / "figures.md"
FILES = 2000
FLEET = "bench"


@dataclass
class Figure:
    """One row of the table: what was measured, the result, and the most that it may be."""

    what: str
    value: float
    unit: str
    limit: float
    note: str = ""

    @property
    def row(self) -> str:
        verdict = "yes" if self.value <= self.limit else "**no**"
        return f"| {self.what} | {self.value:g} {self.unit} | {self.limit:g} {self.unit} | {verdict} | {self.note} |"


def run(*command: str | Path) -> str:
    """Run a program in the root of the repository and return what it prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def play(inventory: Path, *arguments: str, unchanged: bool = True) -> float:
    """Run site.yml and return its seconds; with `unchanged`, refuse a run that changed something."""
    started = time.perf_counter()
    output = run(BIN / "ansible-playbook", "-i", inventory, *arguments, "playbooks/site.yml")
    seconds = time.perf_counter() - started
    # TASK [...] up to the next one; a task that changes says so for each host
    blocks = re.split(r"^TASK ", output, flags=re.MULTILINE)[1:]
    changed = [block.splitlines()[0].strip(" *") for block in blocks if re.search(r"^changed: ", block, re.MULTILINE)]
    if unchanged and changed:
        raise BenchError(f"The fleet was not converged, or a role is not idempotent: {', '.join(changed)} changed it.")
    return seconds


def host_variables(inventory: Path, host: str) -> dict[str, Any]:
    variables: dict[str, Any] = json.loads(run(BIN / "ansible-inventory", "-i", inventory, "--host", host))
    return variables


def measure_converged(runs: int) -> Figure:
    """Measure site.yml with nothing to change."""
    times = [play(LAB) for _run in range(runs)]
    note = f"median of {runs}: {', '.join(f'{seconds:.1f}' for seconds in times)}; changed=0"
    return Figure("`site.yml` on the converged lab", round(statistics.median(times), 1), "s", 40, note)


@contextlib.contextmanager
def fleet(clients: int) -> Iterator[Path]:
    """Make a fleet of its own, as the tests do: an index like the lab's and `clients` clients. Give its inventory."""
    hosts = yaml.safe_load((ROOT / "molecule/default/fleet.yml").read_text(encoding="utf-8"))["fleet_hosts"]
    index, *_others = (host for host in hosts if "pypiserver" in host["groups"])
    like, *_others = (host for host in hosts if "clients" in host["groups"])
    clients_wanted = [{**like, "name": f"client{number}", "octet": 100 + number} for number in range(1, clients + 1)]
    known = {"fleet_name": FLEET, "fleet_scenario": "default", "fleet_hosts": [index, *clients_wanted]}
    arguments = ("-i", "localhost,", "-e", json.dumps(known))
    run(BIN / "ansible-playbook", *arguments, "molecule/shared/create.yml")
    try:
        yield ROOT / ".lab" / "fleets" / FLEET
    finally:
        run(BIN / "ansible-playbook", *arguments, "molecule/shared/destroy.yml")


def measure_clients(counts: Sequence[int], runs: int) -> Figure:
    """Measure site.yml with more and more clients; the slope of the regression line is one client's price."""
    times: dict[int, float] = {}
    with fleet(max(counts)) as inventory:
        play(inventory, unchanged=False)
        for count in counts:
            limit = ",".join(["pypiserver", *(f"client{number}" for number in range(1, count + 1))])
            times[count] = statistics.median(play(inventory, "--limit", limit) for _run in range(runs))
    slope = statistics.linear_regression(list(times), list(times.values())).slope
    note = "; ".join(f"{count} clients {seconds:.1f} s" for count, seconds in times.items())
    return Figure("each further client host in that run", round(slope, 2), "s", 3, note)


def measure_up(runs: int) -> Figure:
    """Measure `make up` when nothing is there but the images."""
    times = []
    for _run in range(runs):
        # What `make down` does, but for the engine and its images
        run(BIN / "ansible-playbook", "-i", "localhost,", "-e", "fleet_name=lab", "molecule/shared/destroy.yml")
        started = time.perf_counter()
        run("make", "up")
        times.append(time.perf_counter() - started)
    note = f"median of {runs}: {', '.join(f'{seconds:.0f}' for seconds in times)}; `.venv` and image there"
    return Figure("`make up` with the image built", round(statistics.median(times)), "s", 240, note)


def measure_memory(inventory: Path) -> Figure:
    """Measure the resident memory of all processes of the server with FILES files."""
    [index, *_others] = json.loads(run(BIN / "ansible-inventory", "-i", inventory, "--list"))["pypiserver"]["hosts"]
    defaults = yaml.safe_load((ROOT / "roles/pypiserver/defaults/main.yml").read_text(encoding="utf-8"))
    variables = {**defaults, **host_variables(inventory, index)}
    script = Path(__file__).with_name("resident_memory.py")
    arguments = f"pypiserver.service {variables['pypiserver_socket']} {variables['pypiserver_packages_dir']} {FILES}"
    called = f"{script} {arguments} executable=/usr/bin/python3"
    output = run(BIN / "ansible", "-i", inventory, "--become", "-m", "ansible.builtin.script", "-a", called, index)
    found = re.search(r'\{\\?"resident_mb\\?".*?\}', output)
    if found is None:
        raise BenchError(f"The index host gave no figures:\n{output[-3000:]}")
    result = json.loads(found[0].replace('\\"', '"'))
    if result["files"] < FILES:
        raise BenchError(f"The index had {result['files']} files, not {FILES}.")
    note = (
        f"{result['processes']} processes; {result['files']} files; a project's page in {result['simple_page_ms']} ms"
    )
    return Figure("resident memory of the server", result["resident_mb"], "MB", 100, note)


def machine() -> str:
    """Describe what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    cpu = f"{os.cpu_count()} x {model[1] if model else platform.machine()}"
    return f"{cpu}, {memory:.0f} GB of memory, {system}"


def versions() -> str:
    core = run(BIN / "ansible", "--version").splitlines()[0]
    server = re.search(
        r"^pypiserver==(\S+)",
        (ROOT / "roles/pypiserver/files/requirements.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    engine = run("docker", "version", "--format", "{{.Server.Version}}").strip()
    python = platform.python_version()
    return f"{core}, Python {python}, pypiserver {server[1] if server else '?'}, Docker Engine {engine}"


def page(figures: Sequence[Figure]) -> str:
    lines = [
        "# Measured figures",
        "",
        f"Written by `make bench` on {time.strftime('%Y-%m-%d')}. The lab's hosts and the controller share",
        f"one machine: {machine()}; {versions()}.",
        "",
        "| What | Measured | At most | Holds | How |",
        "| --- | --- | --- | --- | --- |",
        *(figure.row for figure in figures),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a running lab.")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median counts (3)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4], help="numbers of clients to try (1 2 4)")
    parser.add_argument("--up", action="store_true", help="measure `make up` too: the lab's hosts are made anew")
    parser.add_argument("--no-write", action="store_true", help="leave docs/figures.md as it is")
    options = parser.parse_args()
    if not LAB.is_dir() and not options.up:
        print("There is no lab: run `make up` first.", file=sys.stderr)
        return 2
    try:
        # The lab's own engine, where the machine runs none
        os.environ["DOCKER_HOST"] = run("molecule/shared/engine", "up").strip()
        figures = [measure_up(options.runs)] if options.up else []
        figures.append(measure_converged(options.runs))
        figures.append(measure_clients(options.clients, options.runs))
        figures.append(measure_memory(LAB))
        figures += [
            Figure(what, round(seconds, 1), "s", limit, note)
            for what, seconds, limit, note in devpi_plan.measure(options.runs) + reconcile.measure(options.runs)
        ]
        figures += [
            Figure(what, round(value, 2), unit, limit, note)
            for what, value, unit, limit, note in offline.measure(options.runs)
        ]
        result = page(figures)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    print(result)
    if not options.no_write:
        PAGE.write_text(result, encoding="utf-8")
    return 1 if any(figure.value > figure.limit for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
