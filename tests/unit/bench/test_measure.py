"""The book of figures and the statistics."""

from __future__ import annotations

import pytest

from tests.bench.peers.host.measure import Book, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([1], 99, 1), ([3, 1, 2], 50, 2), (list(range(1, 101)), 99, 99), (list(range(1, 101)), 100, 100), ([2, 1], 0, 1)],
)
def test_percentiles_are_of_the_nearest_rank(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_book_keeps_each_round_and_each_reason() -> None:
    book = Book()
    for value in (3.0, 1.0, 2.0):
        book.add("limit", "simple-html", 2000, {"requests_per_second": value, "p99_ms": 2 * value})
    book.skip("proxpi", "upload", 2000, "it takes no uploads")
    book.skip("limit", "simple-html", 2000, "3 of 5 rounds")
    copy = Book.load(book.dump())
    series = copy.find("limit", "simple-html", 2000, "p99_ms")
    assert series
    assert (series.values, series.median, series.reason) == ([6.0, 2.0, 4.0], 4.0, "3 of 5 rounds")
    assert copy.find("limit", "simple-html", 20_000, "p99_ms") is None
    assert copy.reason("proxpi", "upload", 2000) == "it takes no uploads"
    assert copy.reason("proxpi", "start", 2000) == ""
    assert len(list(copy)) == 3
