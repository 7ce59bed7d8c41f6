"""docs/performance.md, .json and the plots, from what the hosts have measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import plots
from .host.measure import Book, Series
from .ratios import OURS_AND_LIMIT, RATIOS, Figures, evaluate

ORDER = [
    "limit",
    "pyindex-pypiserver",
    "pyindex-devpi",
    "pypiserver-bare",
    "pypiserver-nginx",
    "devpi-bare",
    "devpi-nginx",
    "proxpi",
    "simple-repository-server",
]
# Work, figure: title of the table, unit; a column for each number of files
BY_SIZE = [
    ("simple-html", "requests_per_second", "Simple page, HTML", "requests/s"),
    ("simple-html", "p99_ms", "Simple page, HTML: p99", "ms"),
    ("simple-html", "cpu_us", "Simple page, HTML: CPU time", "µs a request, all serving processes"),
    ("simple-json", "requests_per_second", "Simple page, JSON", "requests/s"),
    ("simple-json", "p99_ms", "Simple page, JSON: p99", "ms"),
    ("simple-json", "cpu_us", "Simple page, JSON: CPU time", "µs a request, all serving processes"),
    ("project-list", "requests_per_second", "Project list, HTML", "requests/s"),
    ("upload", "upload_ms", "One upload, 20 KB", "ms"),
    ("uploads", "uploads_per_second", "Uploads of new projects, 4 connections", "uploads/s"),
    ("memory", "memory_mb", "Memory of all serving processes", "MB, shared pages counted once"),
]
# Work: title, and its columns as figure and title
AT_ONE_SIZE = [
    (
        "download-20k",
        "Download of 20 KB",
        [("requests_per_second", "requests/s"), ("p99_ms", "p99 ms"), ("cpu_us", "CPU µs")],
    ),
    (
        "download-5m",
        "Download of 5 MB",
        [("requests_per_second", "requests/s"), ("p99_ms", "p99 ms"), ("cpu_us", "CPU µs")],
    ),
    ("pip-install", "`pip install`, no cache", [("seconds", "seconds"), ("packages", "packages")]),
    ("uv-install", "`uv pip install`, no cache", [("seconds", "seconds"), ("packages", "packages")]),
    ("start", "Start of the server until a page is there", [("seconds", "seconds")]),
    (
        "good-user",
        "A good user while wrong passwords flood in",
        [
            ("p99_ms", "p99 ms"),
            ("requests_per_second", "requests/s"),
            ("wrong_passwords_per_second", "wrong passwords/s"),
        ],
    ),
]
COUNTED = [
    (
        "upload-then-read",
        "A read right after an upload, under read load",
        [("stale_reads", "stale answers"), ("reads_after_upload", "of rounds")],
    ),
    (
        "kills",
        "SIGKILL of the server during uploads",
        [("lost", "lost"), ("broken", "broken"), ("kills", "kills"), ("answered", "uploads answered 200")],
    ),
]
PLOTS = [
    ("performance-pages.svg", "simple-html", "requests_per_second", "Simple page (HTML)", "requests/s"),
    ("performance-cpu.svg", "simple-html", "cpu_us", "CPU time of a simple page (HTML)", "µs a request"),
    ("performance-uploads.svg", "uploads", "uploads_per_second", "Uploads of new projects", "uploads/s"),
]
HOW = """\
`python -m tests.bench.peers` makes a host for pypiserver and one for devpi, deploys `site.yml` on them, and measures on
one host after the other. Ours ask for a password for everything, with bcrypt or devpi's own hashes at rest. The limit
is nginx with finished pages and files of the same names, the same TLS policy and certificate, and no password. Peers
run as their own documentation says, without the TLS and the password that ours have where it says nothing of them.

- **Rounds.** Each round measures every target once, in turning order, so that what disturbs the machine disturbs all.
  Tables show medians over the rounds; performance.json has every value. A peer that takes too long has fewer rounds.
  A round of a peer that fails is tried once more; one of ours or of the limit is not.
- **Load** comes from wrk on the index host itself: 16 connections that stay open, no pipelining, pages of 1,000 projects in turn
  (20 files each). A round takes 2 seconds for ours and the limit, 1 second for a peer. Percentiles are corrected for
  coordinated omission. A server that takes more than 0.25 s for a page is asked by two clients, one request after the
  other, as wrk's connections would only wait.
- **wrk shares the processors** with the servers, and takes more of them than the limit does. That draws ratios of
  speeds towards 1. It does not touch CPU time: what the kernel counts for the control groups of all services that
  serve, nginx and what checks the passwords included.
- **Answers are checked.** Pages, lists and files are compared with the data before a load; under load every status
  counts, and the bytes must be those of such answers. An error of ours or of the limit leaves its figure out.
- **Uploads** are of new projects, over 4 connections, and listed afterwards. A read after an upload asks for the page as soon as the
  upload is answered, in HTML and JSON by turns, while 4 connections read other pages.
- **Wrong passwords** come over 8 connections with the name of a real user, each from an address that was not seen
  before, at most 25 a second each, while the good user reads over 4 connections as fast as possible.
- **Kills** are SIGKILL to all processes of the server while 4 connections upload; afterwards every file that is listed
  is compared with what was sent, and every upload that was answered 200 must be there.
- **Installs** are of real packages with an empty cache, from the pages to the finished folder.
- **Start** is from the start of a server that was stopped until a page is there. The nginx of a peer is started when
  its backend takes connections: one that was asked before answers 502 for 10 seconds.
- **devpi** is filled by uploads, so with the smallest number of files only: its pages cost by the files of a project.
"""


def number(value: float | None) -> str:
    """Write a figure with three digits that count."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _column in head)} |"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


class Report:
    """One run on one or several hosts."""

    def __init__(self, results: Sequence[dict[str, Any]]) -> None:
        self.results = results
        self.books = {result["host"]: Book.load(result["series"]) for result in results}
        self.sizes = tuple(results[0]["limits"]["sizes"])
        self.quick = any(result["quick"] for result in results)
        self.titles = {key: title for result in results for key, title in result["targets"].items()}
        self.ratios = evaluate(Figures(self.books, self.sizes, self.quick))

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (host, target, title) of everything measured, in the order of the tables."""
        times = Counter(key for result in self.results for key in result["targets"])
        found = [
            (result["host"], key, f"{title} ({result['host']})" if times[key] > 1 else title)
            for result in self.results
            for key, title in result["targets"].items()
        ]
        return sorted(found, key=lambda row: (ORDER.index(row[1]), row[0]))

    def cell(
        self, host: str, target: str, work: str, files: int, figure: str, of: Callable[[Series], float | None]
    ) -> str:
        series = self.books[host].find(target, work, files, figure)
        return number(of(series)) if series and series.values else "-"

    # The page ------------------------------------------------------------------------------------

    def page(self) -> str:
        return "\n".join(
            [
                *self.head(),
                *self.wanted(),
                *(f"![{title}]({name})" for name, _work, _figure, title, _unit in PLOTS if self.plot(name)),
                "",
                *self.by_size(),
                *self.at_one_size(),
                *self.missing(),
                "## How",
                "",
                HOW,
            ]
        )

    def head(self) -> list[str]:
        first = self.results[0]
        minutes = sum(result["seconds"] for result in self.results) / 60
        rounds = first["limits"]["rounds"]
        lines = ["# Performance", ""]
        lines.append(
            f"Written by `make bench`: one run of {minutes:.0f} minutes, begun on {first['started']}, {rounds} rounds."
        )
        lines.append("")
        # Each host has a system of its own, and with it other versions of nginx and Python
        for result in self.results:
            named = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
            lines.append(
                f"- {result['host']}: {result['machine']}. "
                f"Load average before the run: {result['load_average']:.2f}. Versions: {named}."
            )
        lines.append("")
        for said in dict.fromkeys(self.failed()):
            lines += [f"**Not measured to the end.** {' '.join(said.split())[:400]}", ""]
        if self.quick:
            lines += ["**A quick run: it shows that the benchmark works, and proves no figure.**", ""]
        return lines

    def wanted(self) -> list[str]:
        rows = []
        for ratio in RATIOS:
            value, note = self.ratios[ratio.key]
            verdict = "not measured" if value is None else "yes" if ratio.holds(value) else "**no**"
            rows.append([ratio.what, number(value), ratio.wanted, verdict, note.replace("|", "/")[:200]])
        return ["## Figures to reach", "", *table(["What", "Measured", "To reach", "Holds", "Note"], rows)]

    def by_size(self) -> list[str]:
        lines = []
        for work, figure, title, unit in BY_SIZE:
            rows = [
                [label, *(self.cell(host, target, work, n, figure, lambda one: one.median) for n in self.sizes)]
                for host, target, label in self.rows()
            ]
            lines += self.section(f"{title} ({unit})", [f"{n:,} files" for n in self.sizes], rows)
        return lines

    def at_one_size(self) -> list[str]:
        lines = []
        for works, of in ((AT_ONE_SIZE, _median), (COUNTED, _total)):
            for work, title, columns in works:
                rows = [
                    [label, *(self.cell(host, target, work, self.sizes[0], figure, of) for figure, _title in columns)]
                    for host, target, label in self.rows()
                ]
                lines += self.section(f"{title} ({self.sizes[0]:,} files)", [name for _figure, name in columns], rows)
        return lines

    def section(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        """Return a table, without the targets that have no figure in it."""
        measured = [row for row in rows if any(cell != "-" for cell in row[1:])]
        return [f"## {title}", "", *table(["", *columns], measured)] if measured else []

    def missing(self) -> list[str]:
        lines = []
        for host, target, label in self.rows():
            reasons: dict[str, list[str]] = {}
            for one in self.books[host]:
                if one.target == target and one.reason:
                    reasons.setdefault(one.reason, []).append(f"{one.work} ({one.files:,})")
            for reason, works in reasons.items():
                words = " ".join(reason.split()).replace("|", "/")[:300]
                lines.append(f"- {label}: {', '.join(dict.fromkeys(works))}: {words}")
        return ["## Not measured, or in fewer rounds", "", *lines, ""] if lines else []

    # Plots and data ------------------------------------------------------------------------------

    def plot(self, name: str) -> str:
        """Return a plot; '' = nothing was measured for it."""
        [(work, figure, title, unit)] = [(w, f, t, u) for plot, w, f, t, u in PLOTS if plot == name]
        lines = []
        for host, target, label in self.rows():
            found = [(n, self.books[host].find(target, work, n, figure)) for n in self.sizes]
            points = [(float(n), one.median) for n, one in found if one and one.median]
            lines.append(plots.Line(label.replace("*", "").replace("`", ""), points))
        return plots.draw(title, unit, lines) if any(line.points for line in lines) else ""

    def data(self) -> dict[str, Any]:
        return {
            "ratios": {key: value for key, (value, _note) in self.ratios.items()},
            "ratio_notes": {key: note for key, (_value, note) in self.ratios.items() if note},
            "to_reach": {ratio.key: ratio.wanted for ratio in RATIOS},
            "runs": [
                {key: value for key, value in result.items() if key != "series"} | {"series": self.books[host].dump()}
                for host, result in zip(self.books, self.results, strict=True)
            ],
        }

    def failed(self) -> list[str]:
        """Return what kept a host, or a server of ours or the limit, from being measured to the end."""
        hosts = [f"{result['host']}: {result['error']}" for result in self.results if result["error"]]
        return hosts + [
            f"{one.target}, {one.work}, {one.files:,} files: {one.reason}"
            for book in self.books.values()
            for one in book
            if one.reason and one.failed and one.target in OURS_AND_LIMIT
        ]

    def holds(self) -> bool:
        """Return whether every figure was measured and is what is to be reached."""
        values = [(ratio, self.ratios[ratio.key][0]) for ratio in RATIOS]
        return all(value is not None and ratio.holds(value) for ratio, value in values)

    def write(self, folder: Path) -> None:
        """Write performance.md, performance.json and the plots into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, *_about in PLOTS:
            plot = self.plot(name)
            if plot:
                (folder / name).write_text(plot, encoding="utf-8")
            else:
                # Of an earlier run, which measured more
                (folder / name).unlink(missing_ok=True)
        (folder / "performance.md").write_text(self.page(), encoding="utf-8")
        (folder / "performance.json").write_text(json.dumps(self.data(), indent=1) + "\n", encoding="utf-8")


def _median(series: Series) -> float | None:
    return series.median


def _total(series: Series) -> float | None:
    return sum(series.values)
