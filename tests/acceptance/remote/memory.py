"""Runs on an index host, read from standard input: how much memory a service's processes have, the page cache aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> int:
    """The resident memory of all processes of the control group ``group``, in bytes: what they have now, of which
    the next peak is counted (``begin``), or the sum of what each had at most since then."""
    total = 0
    for pid in Path(f"/sys/fs/cgroup{job['group']}/cgroup.procs").read_text().split():
        process = Path("/proc") / pid
        if job["begin"]:
            # proc(5): resets VmHWM
            (process / "clear_refs").write_text("5")
        wanted = "VmRSS:" if job["begin"] else "VmHWM:"
        lines = (process / "status").read_text().splitlines()
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))
    return total
