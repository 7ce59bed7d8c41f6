"""Measure the deployed indexes against others and against plain files, and write docs/performance.* (`--help`)."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from pathlib import Path

from .fleet import ROOT, BenchError, measure, own_fleet, say
from .host.schedule import WORKS
from .report import Report

# With a devpi host in the fleet devpi's peers are measured there, beside ours
OTHERS = ["pyindex-pypiserver", "pypiserver-bare", "pypiserver-nginx", "proxpi", "simple-repository-server"]
DEVPIS = ["pyindex-devpi", "devpi-bare", "devpi-nginx"]
TARGETS = ["limit", *OTHERS, *DEVPIS]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 files and two rounds: to see that it works")
    parser.add_argument(
        "--inventory", type=Path, help="measure this fleet; without: make one, and remove it afterwards"
    )
    parser.add_argument("--keep", action="store_true", help="leave the own fleet there, for the next run")
    parser.add_argument("--works", nargs="+", default=[], choices=[work.name for work in WORKS], help="only these")
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS, help="only these")
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="numbers of files (2000 20000 200000)")
    parser.add_argument("--publish", default="", help="command on the host that publishes what was put into the folder")
    parser.add_argument("--json", type=Path, help="keep the raw figures in this file")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of performance.md (docs)")
    options = parser.parse_args()
    # A fleet of our own is removed also then
    signal.signal(signal.SIGTERM, lambda *_about: sys.exit(143))
    whole = not (options.quick or options.works or options.sizes or options.targets != TARGETS)
    if not whole and options.docs == ROOT / "docs":
        parser.error("only a whole run goes into docs: give another folder, with --docs")
    if any(size % 20 or size < 40 for size in options.sizes):
        parser.error("the numbers of files must be multiples of 20, from 40 on")
    peers = {
        group: [name for name in names if name in options.targets]
        for group, names in {"limit": ["limit"], "pypiserver": OTHERS, "devpi": DEVPIS}.items()
    }
    # A host that has nothing but the limit to measure is left alone
    groups = [
        group for group, names in {"pypiserver": peers["pypiserver"], "devpi_primary": peers["devpi"]}.items() if names
    ]
    started = time.monotonic()
    try:
        with (
            contextlib.nullcontext(options.inventory)
            if options.inventory
            else own_fleet(groups, keep=options.keep) as inventory
        ):
            results, silent = measure(
                inventory,
                groups,
                peers,
                works=options.works,
                sizes=options.sizes,
                quick=options.quick,
                publish=options.publish,
                # A fleet that is removed needs no tidying
                clean=options.keep or options.inventory is not None,
            )
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    report = Report(results)
    report.write(options.docs)
    print(report.page())
    say(f"{time.monotonic() - started:.0f} s")
    for host in silent:
        say(f"{host} has given no figures")
    return 1 if silent or report.failed() or (whole and not report.holds()) else 0


if __name__ == "__main__":
    sys.exit(main())
