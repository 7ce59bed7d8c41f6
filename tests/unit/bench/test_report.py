"""The report of a recorded run: a quick one, on a machine with much other work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.bench.peers.ratios import RATIOS
from tests.bench.peers.report import Report, number

RECORDED = Path(__file__).with_name("recorded.json")


@pytest.fixture
def results() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def rows(page: str, title: str) -> dict[str, list[str]]:
    """Return the rows of a table by their first cell."""
    [section] = re.findall(rf"^## {re.escape(title)}\n\n(.*?)\n\n", page + "\n\n", re.MULTILINE | re.DOTALL)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_tables_show_medians_of_the_rounds(results: list[dict[str, Any]]) -> None:
    page = Report(results).page()
    [series] = [
        one
        for one in results[0]["series"]
        if (one["target"], one["work"], one["figure"]) == ("limit", "simple-html", "requests_per_second")
    ]
    shown = rows(page, "Simple page, HTML (requests/s)")["the limit: nginx, finished files, TLS, no password"]
    assert shown == [number(sum(sorted(series["values"])[0:2]) / 2)]


def test_each_host_has_its_own_machine_and_versions(results: list[dict[str, Any]]) -> None:
    results += [{**results[0], "host": "index2"}]
    about: list[tuple[str, float, dict[str, str]]] = [
        ("2 x A, Debian 12", 0.5, {"nginx": "1.22.1", "pypiserver": "2.4.2"}),
        ("4 x B, Debian 13", 1.25, {"nginx": "1.26.3", "devpi-server": "6.20.3"}),
    ]
    for result, (machine, load, versions) in zip(results, about, strict=True):
        result.update(machine=machine, load_average=load, versions=versions)
    lines = Report(results).page().splitlines()
    assert [line for line in lines if "nginx 1." in line] == [
        "- index1: 2 x A, Debian 12. Load average before the run: 0.50. Versions: nginx 1.22.1, pypiserver 2.4.2.",
        "- index2: 4 x B, Debian 13. Load average before the run: 1.25. Versions: devpi-server 6.20.3, nginx 1.26.3.",
    ]


def test_counted_work_is_summed_over_the_rounds(results: list[dict[str, Any]]) -> None:
    table = rows(Report(results).page(), "A read right after an upload, under read load (2,000 files)")
    assert table["**pyindex.fleet**, pypiserver: TLS, bcrypt"] == ["0", "8"]


def test_targets_without_a_figure_are_not_in_the_table_but_among_the_reasons(results: list[dict[str, Any]]) -> None:
    page = Report(results).page()
    table = rows(page, "Uploads of new projects, 4 connections (uploads/s)")
    assert "proxpi, gunicorn, in front of the limit" not in table
    assert re.search(r"^- proxpi, gunicorn.*: upload \(2,000\).*: it takes no uploads$", page, re.MULTILINE)


def test_quick_run_says_that_it_proves_nothing(results: list[dict[str, Any]]) -> None:
    assert "**A quick run" in Report(results).page()
    full = [{**result, "quick": False} for result in results]
    assert "**A quick run" not in Report(full).page()


def test_run_that_lacks_figures_does_not_hold(results: list[dict[str, Any]]) -> None:
    report = Report(results)
    assert not report.holds()
    report.ratios = {ratio.key: (ratio.bound, "") for ratio in RATIOS}
    assert report.holds()


def test_everything_is_written(results: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "performance-cpu.svg").write_text("of an earlier run")
    report = Report(results)
    report.write(tmp_path)
    page = report.page()
    assert (tmp_path / "performance.md").read_text(encoding="utf-8") == page
    for name in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<svg")
    data = json.loads((tmp_path / "performance.json").read_text(encoding="utf-8"))
    assert data["ratios"].keys() == {ratio.key for ratio in RATIOS}
    assert all(value is not None or data["ratio_notes"][key] for key, value in data["ratios"].items())
    assert data["runs"][0]["series"] == results[0]["series"]


def test_no_login_is_in_what_is_written(results: list[dict[str, Any]], tmp_path: Path) -> None:
    Report(results).write(tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if "Basic " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0, "0"), (23337.4, "23,337"), (99.96, "100"), (1.234, "1.23"), (0.2, "0.2"), (0.0123, "0.0123")],
)
def test_numbers_have_the_digits_that_count(value: float | None, expected: str) -> None:
    assert number(value) == expected


def test_run_that_ended_in_its_midst_says_so_and_shows_what_it_has(results: list[dict[str, Any]]) -> None:
    results[0]["error"] = "it was ended before its time"
    report = Report(results)
    assert report.failed() == ["index1: it was ended before its time"]
    assert "**Not measured to the end.** index1: it was ended before its time" in report.page()
    assert rows(report.page(), "Simple page, HTML (requests/s)")


def test_failure_of_ours_is_named_and_that_of_a_peer_is_a_note(results: list[dict[str, Any]]) -> None:
    for series in results[0]["series"]:
        if series["work"] == "simple-html" and series["target"] in ("limit", "proxpi"):
            series.update(reason="502 under load", failed=True)
    report = Report(results)
    assert report.failed()
    assert all(said.startswith("limit, simple-html") for said in report.failed())
    assert not report.holds()
