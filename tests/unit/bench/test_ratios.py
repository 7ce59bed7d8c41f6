"""The figures to reach are worked out as the issue names them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.peers.host.measure import Book
from tests.bench.peers.ratios import DEVPI, LIMIT, OURS, RATIOS, Figures, evaluate

SIZES = (2_000, 20_000, 200_000)


def index_book() -> Book:
    """A run on pypiserver's host: ours has 0.8 of the limit's speed, 0.72 at its worst."""
    book = Book()
    for files in SIZES:
        for work in ("simple-html", "simple-json"):
            worst = (work, files) == ("simple-json", 200_000)
            speed = 14_400 if worst else 16_000
            # The median counts, not the round that somebody disturbed
            for factor in (1, 0.1, 1.0):
                book.add(LIMIT, work, files, {"requests_per_second": 20_000 * factor, "p99_ms": 6, "cpu_us": 20})
                ours = {"requests_per_second": speed * factor, "p99_ms": 9 if worst else 8, "cpu_us": 30}
                book.add(OURS, work, files, ours)
        book.add("pypiserver-bare", "simple-html", files, {"requests_per_second": 2, "p99_ms": 900, "cpu_us": 54_000})
        book.add(OURS, "uploads", files, {"uploads_per_second": 30})
        book.add("pypiserver-bare", "uploads", files, {"uploads_per_second": 0.4})
    for target, factor in ((LIMIT, 1.0), (OURS, 0.95)):
        book.add(target, "download-5m", 2_000, {"requests_per_second": 160 * factor})
        book.add(target, "pip-install", 2_000, {"seconds": 3 / factor})
        book.add(target, "uv-install", 2_000, {"seconds": 1 / factor})
    book.add(OURS, "good-user", 2_000, {"p99_ms": 4.75})
    for _round in range(5):
        book.add(OURS, "upload-then-read", 2_000, {"stale_reads": 1, "reads_after_upload": 100})
    book.add(OURS, "kills", 2_000, {"lost_or_broken": 0, "kills": 100})
    return book


def devpi_book() -> Book:
    book = Book()
    for work, speed in (("simple-html", 12_000), ("simple-json", 9_000)):
        book.add(DEVPI, work, 2_000, {"requests_per_second": speed})
        book.add("devpi-bare", work, 2_000, {"requests_per_second": 300})
    book.add(DEVPI, "good-user", 2_000, {"p99_ms": 4.5})
    return book


def figures(**books: Book) -> Figures:
    return Figures(books, SIZES)


def test_all_ratios_of_a_whole_run() -> None:
    found = {key: value for key, (value, _note) in evaluate(figures(one=index_book(), two=devpi_book())).items()}
    assert found == pytest.approx(
        {
            "simple_page_tls_auth_vs_limit": 0.72,
            "simple_page_vs_bare_pypiserver_20000": 8000,
            "simple_page_200000_vs_2000": 0.9,
            "simple_page_cpu_vs_limit": 1.5,
            "simple_page_p99_ms": 9,
            "devpi_simple_page_vs_bare": 30,
            "download_vs_limit": 0.95,
            "uv_install_time_vs_limit": 1 / 0.95,
            "pip_install_time_vs_limit": 1 / 0.95,
            "uploads_200000_vs_bare": 75,
            "good_user_p99_under_bad_logins_ms": 4.75,
            "stale_reads": 5,
            "lost_or_broken_after_kills": 0,
        }
    )


@pytest.mark.parametrize(("devpi_ms", "worse"), [(4.5, OURS), (21.2, DEVPI)])
def test_good_user_is_the_one_of_ours_who_waits_longer(devpi_ms: float, worse: str) -> None:
    devpi = drop(devpi_book(), work="good-user")
    devpi.add(DEVPI, "good-user", 2_000, {"p99_ms": devpi_ms})
    value, note = evaluate(figures(one=index_book(), two=devpi))["good_user_p99_under_bad_logins_ms"]
    assert value == max(devpi_ms, 4.75)
    assert note.startswith(f"worst: {worse};")


def test_verdicts_know_their_direction() -> None:
    verdicts = {ratio.key: (ratio.holds(ratio.bound + 0.1), ratio.holds(ratio.bound - 0.1)) for ratio in RATIOS}
    assert verdicts["simple_page_tls_auth_vs_limit"] == (True, False)
    assert verdicts["simple_page_cpu_vs_limit"] == (False, True)
    assert all(ratio.holds(ratio.bound) for ratio in RATIOS)


def drop(book: Book, **wanted: Any) -> Book:
    return Book(one for one in book if any(getattr(one, name) != value for name, value in wanted.items()))


@pytest.mark.parametrize(
    ("missing", "key", "reason"),
    [
        ({"files": 200_000, "target": OURS}, "simple_page_tls_auth_vs_limit", "200000 files: not measured"),
        ({"files": 20_000, "target": "pypiserver-bare"}, "simple_page_vs_bare_pypiserver_20000", "not measured"),
        ({"work": "simple-json", "target": OURS}, "simple_page_p99_ms", "simple-json, 2000 files"),
        ({"target": OURS}, "download_vs_limit", "pyindex-pypiserver was not measured"),
        ({"target": DEVPI}, "good_user_p99_under_bad_logins_ms", "pyindex-devpi was not measured"),
    ],
)
def test_what_was_not_measured_has_no_value_but_a_reason(missing: dict[str, Any], key: str, reason: str) -> None:
    value, note = evaluate(figures(one=drop(index_book(), **missing)))[key]
    assert value is None
    assert reason in note


def test_reason_of_the_run_is_passed_on() -> None:
    book = drop(index_book(), work="simple-json", target=OURS)
    book.skip(OURS, "simple-json", 2_000, "it answers HTML only")
    assert evaluate(figures(one=book))["simple_page_p99_ms"][1].endswith("it answers HTML only")


def test_fewer_rounds_than_asked_for_prove_nothing() -> None:
    book = drop(index_book(), work="kills")
    book.add(OURS, "kills", 2_000, {"lost_or_broken": 0, "kills": 40})
    assert evaluate(figures(one=book))["lost_or_broken_after_kills"] == (None, "only 40 of 100 rounds were done")
    quick = evaluate(Figures({"one": book}, SIZES, quick=True))
    assert quick["lost_or_broken_after_kills"] == (0, "of 40")


def test_targets_are_compared_on_one_host_only() -> None:
    found = evaluate(figures(one=index_book(), two=drop(devpi_book(), target="devpi-bare")))
    assert found["devpi_simple_page_vs_bare"][0] is None


@pytest.mark.parametrize("target", [OURS, LIMIT])
def test_ours_and_the_limit_prove_nothing_when_a_round_failed(target: str) -> None:
    book = index_book()
    book.skip(target, "simple-html", 2_000, "3 of 900 answers were errors", failed=True)
    value, note = evaluate(figures(one=book))["simple_page_tls_auth_vs_limit"]
    assert value is None
    assert "after 3 rounds: 3 of 900 answers were errors" in note


def test_peer_may_have_fewer_rounds() -> None:
    book = index_book()
    book.skip("pypiserver-bare", "simple-html", 20_000, "2 of 5 rounds: it takes too long")
    assert evaluate(figures(one=book))["simple_page_vs_bare_pypiserver_20000"][0] == 8000
