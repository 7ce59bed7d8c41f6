"""Rounds are interleaved, bounded, and one bad target does not stop the others."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.peers.host.bench import FULL, QUICK, Bench, FigureError
from tests.bench.peers.host.dataset import Dataset
from tests.bench.peers.host.measure import Book
from tests.bench.peers.host.schedule import WORKS, Work, measure
from tests.bench.peers.host.targets import Target

LIMITS = replace(QUICK, rounds=3, sizes=(2000, 20_000))
TARGETS = [Target(key=key, title=key, simple_url="http://127.0.0.1/simple/") for key in "abc"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(LIMITS, Dataset(tmp_path, 2000), tmp_path, tmp_path, tmp_path, tmp_path)


def silent(_text: str) -> None:
    pass


def test_rounds_are_interleaved_and_begin_with_another_target_each(bench: Bench) -> None:
    done: list[str] = []

    def work(_bench: Bench, target: Target) -> dict[str, float]:
        done.append(target.key)
        return {"seconds": 1}

    measure(bench, TARGETS, [Work("w", work)], Book(), silent)
    assert "".join(done) == "abcbcacab"


def test_target_that_fails_is_left_out_and_keeps_its_reason(bench: Bench) -> None:
    def work(_bench: Bench, target: Target) -> dict[str, float]:
        if target.key == "b":
            raise FigureError("no whole file")
        return {"seconds": 1}

    book = Book()
    measure(bench, TARGETS, [Work("w", work)], book, silent)
    assert book.reason("b", "w", 2000) == "no whole file"
    assert [one.target for one in book if one.failed] == ["b"]
    for key in "ac":
        series = book.find(key, "w", 2000, "seconds")
        assert series
        assert len(series.values) == 3


def test_peer_may_try_a_round_once_more_but_not_ours(bench: Bench) -> None:
    tries: list[str] = []

    def work(_bench: Bench, target: Target) -> dict[str, float]:
        tries.append(target.key)
        # The third time of each of them, and what "c" does from then on
        if tries.count(target.key) == 3 or (target.key == "c" and tries.count("c") > 3):
            raise FigureError("502 in the first burst")
        return {"seconds": 1}

    ours = replace(TARGETS[0], deployed="pypiserver.service")
    book = Book()
    measure(bench, [ours, *TARGETS[1:]], [Work("w", work)], book, silent)
    assert {series.target: len(series.values) for series in book} == {"a": 2, "b": 3, "c": 2}
    assert [one.target for one in book if one.failed] == ["a", "c"]
    assert [tries.count(key) for key in "abc"] == [3, 4, 4]


def test_slow_peer_has_fewer_rounds_and_ours_has_all(bench: Bench) -> None:
    bench.limits = replace(LIMITS, peer_seconds=0)
    ours = replace(TARGETS[0], deployed="pypiserver.service")
    book = Book()
    measure(bench, [ours, TARGETS[1]], [Work("w", lambda _bench, _target: {"seconds": 1})], book, silent)
    rounds = [len(series.values) for series in book]
    assert rounds == [3, 1]
    assert book.reason("b", "w", 2000) == "1 of 3 rounds: it takes too long"


def test_peer_that_a_figure_is_against_has_more_time(bench: Bench) -> None:
    bench.limits = replace(LIMITS, peer_seconds=0, deciding_seconds=60)
    book = Book()
    work = Work("w", lambda _bench, _target: {"seconds": 1}, against=(("a", 2000), ("b", 20_000), ("c", None)))
    measure(bench, TARGETS, [work], book, silent)
    assert {series.target: len(series.values) for series in book} == {"a": 3, "b": 1, "c": 3}


def test_bare_pypiserver_has_all_rounds_of_uploads_at_200000_files(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr("tests.bench.peers.host.schedule.time.monotonic", lambda: now[0])

    def slow(_bench: Bench, _target: Target) -> dict[str, float]:
        now[0] += 25
        return {"uploads_per_second": 0.35}

    bench.limits, bench.data = FULL, Dataset(bench.folder, 200_000)
    [uploads] = [replace(work, do=slow) for work in WORKS if work.name == "uploads"]
    bare = replace(TARGETS[0], key="pypiserver-bare", upload_url="http://127.0.0.1/")
    book = Book()
    measure(bench, [bare], [uploads], book, silent)
    series = book.find("pypiserver-bare", "uploads", 200_000, "uploads_per_second")
    assert series
    assert (len(series.values), series.reason) == (5, "")


def test_nothing_begins_after_the_end_of_the_run(bench: Bench) -> None:
    bench.began = time.monotonic() - LIMITS.total_seconds - 1
    book = Book()
    measure(bench, TARGETS, [Work("w", lambda _bench, _target: {"seconds": 1})], book, silent)
    assert {book.reason(key, "w", 2000) for key in "abc"} == {"the time of the run was over"}


def test_towards_the_end_only_what_figures_come_from_is_measured(bench: Bench) -> None:
    bench.limits = replace(LIMITS, peers_until_seconds=0, total_seconds=600)
    bench.began = time.monotonic() - 1
    ours = replace(TARGETS[0], deployed="pypiserver.service")
    work = Work("w", lambda _bench, _target: {"seconds": 1}, against=(("b", 2000),))
    book = Book()
    measure(bench, [ours, *TARGETS[1:]], [work], book, silent)
    assert {series.target for series in book if series.values} == {"a", "b"}
    assert book.reason("c", "w", 2000) == "the time of the run was over"


def test_work_is_only_done_where_it_makes_sense(bench: Bench) -> None:
    uploads = Work("uploads", lambda _bench, _target: {"uploads": 1}, needs="uploads")
    small = Work("small", lambda _bench, _target: {"uploads": 1}, sizes="smallest")
    book = Book()
    measure(bench, TARGETS[:1], [uploads], book, silent)
    assert book.reason("a", "uploads", 2000) == "it takes no uploads"
    bench.data = Dataset(bench.folder, 20_000)
    measure(bench, TARGETS[:1], [small], book, silent)
    assert book.find("a", "small", 20_000, "uploads") is None
