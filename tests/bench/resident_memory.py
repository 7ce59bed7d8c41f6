"""Run on an index host, as root: fill the index with small wheels, use it, and measure the server's memory.

    resident_memory.py UNIT SOCKET PACKAGES_DIR FILES

Prints one JSON object: {"resident_mb": of all processes of the unit, "processes": N, "files": in the index,
"simple_page_ms": median of one project's page}. Takes away the wheels that it made.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

PROJECTS = 100
WARM_UP = 20


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket that nginx uses."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def make_wheel(folder: Path, project: str, version: str) -> Path:
    """Make the smallest wheel there is (PEP 427)."""
    info = f"{project}-{version}.dist-info"
    path = folder / f"{project}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "".join(f"{info}/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")))
    return path


def get(path: str, page: str) -> float:
    """Ask for a page; return the seconds until all of it was there."""
    connection = UnixConnection(path)
    started = time.perf_counter()
    connection.request("GET", page)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"GET {page} was answered {answer.status} {answer.reason}")
    return time.perf_counter() - started


def resident_kib(unit: str) -> list[int]:
    """Return the resident set of each process of a unit, as the kernel counts it (VmRSS)."""
    shown = subprocess.run(
        ["systemctl", "show", "--property=ControlGroup", "--value", unit], check=True, capture_output=True, text=True
    ).stdout.strip()
    sizes = []
    for pid in Path(f"/sys/fs/cgroup{shown}/cgroup.procs").read_text().split():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                sizes.append(int(line.split()[1]))
    return sizes


def main(unit: str, server_socket: str, packages_dir: str, wanted: str) -> None:
    packages = Path(packages_dir)
    there = sum(1 for path in packages.rglob("*") if path.is_file())
    made: list[Path] = []
    try:
        for number in range(max(0, int(wanted) - there)):
            made.append(make_wheel(packages, f"benchmark_{number % PROJECTS}", f"1.{number // PROJECTS}"))
        for path in made:
            shutil.chown(path, packages.owner(), packages.group())
        # Fresh, so that nothing of earlier work is counted
        subprocess.run(["systemctl", "restart", unit], check=True)
        pages = ["/simple/", *(f"/simple/benchmark-{number}/" for number in range(WARM_UP))]
        times = [get(server_socket, page) for page in pages]
        sizes = resident_kib(unit)
    finally:
        for path in made:
            path.unlink()
    result = {
        "resident_mb": round(sum(sizes) / 1024, 1),
        "processes": len(sizes),
        "files": there + len(made),
        "simple_page_ms": round(statistics.median(times[1:]) * 1000, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
