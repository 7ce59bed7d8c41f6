"""The figures that the project wants to reach, from what has been measured (issue: the fast path)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .host.measure import Book

OURS, DEVPI, LIMIT = "pyindex-pypiserver", "pyindex-devpi", "limit"
# One of these that fails in one round gives no figure; a peer may
OURS_AND_LIMIT = (OURS, DEVPI, LIMIT)
PAGES = ("simple-html", "simple-json")
READS_AFTER_UPLOAD = 500
KILLS = 100


class MissingError(Exception):
    """A figure that a ratio needs was not measured; the message says which and why."""


@dataclass(frozen=True)
class Ratio:
    """A figure to reach."""

    key: str
    what: str
    bound: float
    at_least: bool
    of: Callable[[Figures], tuple[float, str]]
    """Gives the value and how it came about. Raises MissingError."""

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


@dataclass(frozen=True)
class Figures:
    """What one run has measured. Targets on different hosts are only compared with others on the same host."""

    books: dict[str, Book]
    """By host."""
    sizes: tuple[int, ...]
    """The numbers of files of the run, smallest first."""
    quick: bool = False
    """A quick run says what it has, though it is less than asked for."""

    def host_of(self, target: str) -> str:
        for host, book in self.books.items():
            if any(one.target == target and one.values for one in book):
                return host
        reasons = [one.reason for book in self.books.values() for one in book if one.target == target and one.reason]
        raise MissingError(f"{target} was not measured{': ' + reasons[0] if reasons else ''}")

    def values(self, target: str, work: str, files: int, figure: str, host: str = "") -> list[float]:
        book = self.books[host or self.host_of(target)]
        series = book.find(target, work, files, figure)
        if series is None or not series.values:
            reason = book.reason(target, work, files)
            raise MissingError(f"{target}, {work}, {files} files: {reason or 'not measured'}")
        if series.failed and target in OURS_AND_LIMIT:
            raise MissingError(f"{target}, {work}, {files} files, after {len(series.values)} rounds: {series.reason}")
        return series.values

    def median(self, target: str, work: str, files: int, figure: str, host: str = "") -> float:
        self.values(target, work, files, figure, host)
        series = self.books[host or self.host_of(target)].find(target, work, files, figure)
        assert series is not None and series.median is not None  # noqa: PT018
        return series.median

    def against(self, ours: str, other: str, work: str, files: int, figure: str) -> float:
        """Return the ratio of the medians of two targets on one host."""
        host = self.host_of(ours)
        return self.median(ours, work, files, figure, host) / self.median(other, work, files, figure, host)

    @property
    def few(self) -> int:
        return self.sizes[0]


def _worst(values: Iterable[tuple[float, str]], *, lowest: bool) -> tuple[float, str]:
    found = list(values)
    return min(found) if lowest else max(found)


def _pages(sizes: Sequence[int], value: Callable[[str, int], float]) -> list[tuple[float, str]]:
    return [(value(work, files), f"worst: {work}, {files:,} files") for work in PAGES for files in sizes]


def _page_speed(figures: Figures) -> tuple[float, str]:
    return _worst(
        _pages(figures.sizes, lambda work, n: figures.against(OURS, LIMIT, work, n, "requests_per_second")),
        lowest=True,
    )


def _page_cpu(figures: Figures) -> tuple[float, str]:
    found = _pages(figures.sizes, lambda work, n: figures.against(OURS, LIMIT, work, n, "cpu_us"))
    return _worst(found, lowest=False)


def _page_p99(figures: Figures) -> tuple[float, str]:
    found = _pages(figures.sizes, lambda work, n: figures.median(OURS, work, n, "p99_ms"))
    return _worst(found, lowest=False)


def _page_bare(figures: Figures) -> tuple[float, str]:
    value = figures.against(OURS, "pypiserver-bare", "simple-html", 20_000, "requests_per_second")
    return value, "HTML; bare pypiserver has no other"


def _page_flat(figures: Figures) -> tuple[float, str]:
    figure = "requests_per_second"
    found = [
        (figures.median(OURS, work, 200_000, figure) / figures.median(OURS, work, 2_000, figure), f"worst: {work}")
        for work in PAGES
    ]
    limit = figures.median(LIMIT, "simple-html", 200_000, figure) / figures.median(LIMIT, "simple-html", 2_000, figure)
    value, note = _worst(found, lowest=True)
    return value, f"{note}; the limit's own is {limit:.2f}"


def _devpi(figures: Figures) -> tuple[float, str]:
    figure = "requests_per_second"
    found = [
        (figures.against(DEVPI, "devpi-bare", work, figures.few, figure), f"worst: {work}, {figures.few:,} files")
        for work in PAGES
    ]
    return _worst(found, lowest=True)


def _download(figures: Figures) -> tuple[float, str]:
    return figures.against(OURS, LIMIT, "download-5m", figures.few, "requests_per_second"), ""


def _install(program: str) -> Callable[[Figures], tuple[float, str]]:
    return lambda figures: (figures.against(OURS, LIMIT, f"{program}-install", figures.few, "seconds"), "")


def _uploads(figures: Figures) -> tuple[float, str]:
    return figures.against(OURS, "pypiserver-bare", "uploads", 200_000, "uploads_per_second"), "each a new project"


def _good_user(figures: Figures) -> tuple[float, str]:
    found = [(figures.median(ours, "good-user", figures.few, "p99_ms"), f"worst: {ours}") for ours in (OURS, DEVPI)]
    value, note = _worst(found, lowest=False)
    return value, f"{note}; 4 connections of the good user, 8 of others"


def _counted(work: str, figure: str, count: str, wanted: int) -> Callable[[Figures], tuple[float, str]]:
    def total(figures: Figures) -> tuple[float, str]:
        done = sum(figures.values(OURS, work, figures.few, count))
        if done < wanted and not figures.quick:
            raise MissingError(f"only {done:.0f} of {wanted} rounds were done")
        return sum(figures.values(OURS, work, figures.few, figure)), f"of {done:.0f}"

    return total


RATIOS = [
    Ratio(
        "simple_page_tls_auth_vs_limit",
        "simple page, TLS + bcrypt user, against the limit",
        0.7,
        at_least=True,
        of=_page_speed,
    ),
    Ratio(
        "simple_page_vs_bare_pypiserver_20000",
        "the same against bare pypiserver, 20,000 files",
        5000,
        at_least=True,
        of=_page_bare,
    ),
    Ratio("simple_page_200000_vs_2000", "speed at 200,000 files against 2,000", 0.9, at_least=True, of=_page_flat),
    Ratio("simple_page_cpu_vs_limit", "CPU time of that page against the limit's", 1.6, at_least=False, of=_page_cpu),
    Ratio("simple_page_p99_ms", "p99 of that page with 16 connections, ms", 20, at_least=False, of=_page_p99),
    Ratio(
        "devpi_simple_page_vs_bare", "devpi simple page, TLS + user, against bare devpi", 50, at_least=True, of=_devpi
    ),
    Ratio("download_vs_limit", "download of 5 MB, TLS + user, against the limit", 0.9, at_least=True, of=_download),
    Ratio("uv_install_time_vs_limit", "uv pip install, against the limit", 1.15, at_least=False, of=_install("uv")),
    Ratio("pip_install_time_vs_limit", "pip install, against the limit", 1.15, at_least=False, of=_install("pip")),
    Ratio(
        "uploads_200000_vs_bare",
        "uploads with 200,000 files there, against bare pypiserver",
        60,
        at_least=True,
        of=_uploads,
    ),
    Ratio(
        "good_user_p99_under_bad_logins_ms",
        "a good user's p99 while wrong passwords flood in, ms",
        10,
        at_least=False,
        of=_good_user,
    ),
    Ratio(
        "stale_reads",
        "upload-then-read under read load, stale answers",
        0,
        at_least=False,
        of=_counted("upload-then-read", "stale_reads", "reads_after_upload", READS_AFTER_UPLOAD),
    ),
    Ratio(
        "lost_or_broken_after_kills",
        "kills during uploads, lost or broken files",
        0,
        at_least=False,
        of=_counted("kills", "lost_or_broken", "kills", KILLS),
    ),
]


def evaluate(figures: Figures) -> dict[str, tuple[float | None, str]]:
    """Return the value of each ratio, or None, and how it came about or why it could not."""
    found: dict[str, tuple[float | None, str]] = {}
    for ratio in RATIOS:
        try:
            found[ratio.key] = ratio.of(figures)
        except MissingError as error:
            found[ratio.key] = (None, str(error))
    return found
