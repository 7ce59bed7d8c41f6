"""docs/performance.* is what the last recorded run has measured, whole, and as today's report shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.peers.ratios import RATIOS
from tests.bench.peers.report import PLOTS, Report

DOCS = Path(__file__).parents[3] / "docs"
# The table of the figures to reach (issue: the fast path): key, direction, bound
WANTED = {
    "simple_page_tls_auth_vs_limit": ">= 0.7",
    "simple_page_vs_bare_pypiserver_20000": ">= 5000",
    "simple_page_200000_vs_2000": ">= 0.9",
    "simple_page_cpu_vs_limit": "<= 1.6",
    "simple_page_p99_ms": "<= 20",
    "devpi_simple_page_vs_bare": ">= 50",
    "download_vs_limit": ">= 0.9",
    "uv_install_time_vs_limit": "<= 1.15",
    "pip_install_time_vs_limit": "<= 1.15",
    "uploads_200000_vs_bare": ">= 60",
    "good_user_p99_under_bad_logins_ms": "<= 10",
    "stale_reads": "<= 0",
    "lost_or_broken_after_kills": "<= 0",
}


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))
    return found


def test_figures_to_reach_are_those_of_the_issue() -> None:
    assert {ratio.key: ratio.wanted for ratio in RATIOS} == WANTED


def test_recorded_run_has_every_figure_to_reach(data: dict[str, Any]) -> None:
    assert data["ratios"].keys() == WANTED.keys()
    assert not [key for key, value in data["ratios"].items() if value is None]
    assert not [run["host"] for run in data["runs"] if run["quick"] or run["error"]]


def test_page_plots_and_ratios_are_what_the_recorded_series_give(data: dict[str, Any]) -> None:
    report = Report(data["runs"])
    again = "write them anew, as Report(runs of performance.json).write(docs) does"
    assert report.data() == data, again
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == report.page(), again
    for name, *_about in PLOTS:
        assert (DOCS / name).read_text(encoding="utf-8") == report.plot(name), again
