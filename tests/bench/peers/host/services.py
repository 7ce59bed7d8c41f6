"""Servers as systemd units: start, stop, kill; their CPU time and memory as the kernel counts them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

UNITS = Path("/run/systemd/system")
ADMINISTRATOR = Path("/etc/systemd/system")
CGROUPS = Path("/sys/fs/cgroup")
ACCOUNT = "pyindex-bench"
LONGEST_SECONDS = 120

UNIT = """\
[Unit]
Description=Benchmark: {name}
StartLimitIntervalSec=0

[Service]
User={user}
WorkingDirectory={folder}
Environment=HOME={folder}/state
{environment}
ExecStart={command}
LimitNOFILE=16384
TimeoutStopSec=5
"""


class ServiceError(Exception):
    """A unit did not do what it was told; the message holds its last words."""


@dataclass(frozen=True)
class Service:
    """A unit of the benchmark's own. Texts may hold {names} that a run fills in."""

    name: str
    command: str
    user: str = ACCOUNT
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    """Where it takes connections on 127.0.0.1, where another service passes requests on to it."""

    @property
    def unit(self) -> str:
        return f"bench-{self.name}.service"

    def write(self, folder: Path, values: Mapping[str, str]) -> None:
        environment = "\n".join(
            f'Environment="{key}={value.format_map(values)}"' for key, value in self.environment.items()
        )
        text = UNIT.format(
            name=self.name,
            user=self.user,
            folder=folder,
            environment=environment,
            command=self.command.format_map(values),
        )
        UNITS.mkdir(parents=True, exist_ok=True)
        (UNITS / self.unit).write_text(text)


def systemctl(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", *arguments], capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"systemctl {' '.join(arguments)} was not done after {LONGEST_SECONDS} s") from error
    if done.returncode:
        raise ServiceError(f"systemctl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def reload() -> None:
    systemctl("daemon-reload")


def start(units: Iterable[str]) -> None:
    """Have units started, and do not wait until they are."""
    if names := list(units):
        systemctl("start", "--no-block", *names)


def start_in_turn(services: Iterable[Service], seconds: float) -> None:
    """Start services, each one when the one before it takes connections, has ended, or has had its time.

    An nginx that is asked before that keeps the address of its backend for dead, in each of its workers by itself: when
    the backend is there, a worker that was not asked meanwhile still answers the first burst of requests with 502.
    """
    end = time.monotonic() + seconds
    for service in services:
        # Not in the background: it has ended when it is not active afterwards
        systemctl("start", service.unit)
        while service.port and not _connects(service.port) and active(service.unit) and time.monotonic() < end:
            time.sleep(0.02)


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def revive(unit: str) -> None:
    """Start a unit that was killed a moment ago. Not `start`: it does nothing while the unit still seems to live."""
    systemctl("reset-failed", unit)
    systemctl("restart", unit)


def stop(units: Iterable[str]) -> None:
    if names := [unit for unit in units if active(unit)]:
        systemctl("stop", *names)


def kill(unit: str) -> None:
    """End all processes of a unit at once, as a failing machine would."""
    systemctl("kill", "--signal=SIGKILL", "--kill-who=all", unit)


def active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def words(unit: str) -> str:
    """Return the last words of a unit."""
    done = subprocess.run(
        ["journalctl", "--no-pager", "--quiet", "--lines=3", "--output=cat", "--unit", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def deployed() -> list[str]:
    """Return the running services of what is deployed here, whatever they are called: nginx, and all whose unit
    somebody has put into /etc/systemd/system. Those of the system and of the benchmark are elsewhere.
    """
    listed = systemctl("list-units", "--type=service", "--state=running", "--plain", "--no-legend").splitlines()
    names = [line.split()[0] for line in listed if line.strip()]
    shown = systemctl("show", "--property=Id,FragmentPath", *names) if names else ""
    return sorted(
        known["Id"]
        for known in (dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n"))
        if known.get("Id") == "nginx.service" or known.get("FragmentPath", "").startswith(f"{ADMINISTRATOR}/")
    )


def _group(unit: str) -> Path:
    return CGROUPS / systemctl("show", "--property=ControlGroup", "--value", unit).strip().lstrip("/")


def cpu_seconds(units: Iterable[str]) -> float:
    """Return the CPU time that all processes of the units have used, those that have ended included.

    For processes that live it is the sum of /proc/PID/task/*/schedstat, to the microsecond.
    """
    total = 0
    for unit in units:
        for line in (_group(unit) / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec "):
                total += int(line.split()[1])
    return total / 1e6


def processes(units: Iterable[str]) -> list[int]:
    found = []
    for unit in units:
        # Units may have groups of their own below
        for path in _group(unit).rglob("cgroup.procs"):
            found += [int(word) for word in path.read_text().split()]
    return found


def memory_mb(units: Iterable[str]) -> float:
    """Return the proportional set size of all processes of the units: what they share counts once."""
    total = 0
    for pid in processes(units):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def settle(units: Iterable[str], seconds: float = 30) -> None:
    """Wait until the units are nearly idle, or the time is over."""
    names, end, before = list(units), time.monotonic() + seconds, -1.0
    while time.monotonic() < end:
        now = cpu_seconds(names)
        if before >= 0 and now - before < 0.01:
            return
        before = now
        time.sleep(0.5)
