"""Measure how long publishing a whole packages folder takes: python3 -m host.reconcile COMMAND PACKAGES PAGES FILES RUNS

On an index host that nobody uses. Fills the folder, then runs COMMAND with no page and no record there, and again with
nothing to do, RUNS times each. Prints {"cold": [seconds], "unchanged": [seconds], "files": published}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import wheels
from .dataset import FILES_A_PROJECT

SERVICES = ("pypiserver-watch.service", "pypiserver.service", "pypiserver.socket")


def fill(packages: Path, files: int) -> None:
    """Put that many tiny wheels there, written to the disk."""
    for number in range(files):
        project, version = f"bench-{number // FILES_A_PROJECT:05}", f"1.{10 + number % FILES_A_PROJECT}"
        (packages / wheels.filename(project, version)).write_bytes(wheels.tiny(project, version))
    os.sync()


def seconds(command: str) -> float:
    """Run the command; return how long it took."""
    started = time.perf_counter()
    subprocess.run([command, "reconcile"], check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 1)


def main(command: str, packages: str, pages: str, files: str, runs: str) -> None:
    # What they publish by themselves is not what is measured
    subprocess.run(["systemctl", "stop", *SERVICES], check=True)
    fill(Path(packages), int(files))
    cold, unchanged = [], []
    for _run in range(int(runs)):
        # Not removed: for a while after many files were, ext4 takes five times as long to make new ones (docs/figures.md)
        aside = Path(tempfile.mkdtemp(dir=Path(pages).parent))
        for path in Path(pages).iterdir():
            path.rename(aside / path.name)
        os.sync()
        cold.append(seconds(command))
        unchanged.append(seconds(command))
    published = sum(1 for _page in Path(pages).glob("simple/bench-*.json")) * FILES_A_PROJECT
    print(json.dumps({"cold": cold, "unchanged": unchanged, "files": published}))


if __name__ == "__main__":
    main(*sys.argv[1:])
