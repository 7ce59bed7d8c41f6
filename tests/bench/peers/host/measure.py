"""What has been measured, and the statistics of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Series:
    """The values of one figure, one a round. The unit stands at the end of the figure's name."""

    target: str
    work: str
    files: int
    figure: str
    values: list[float] = field(default_factory=list)
    reason: str = ""
    """Why there are no values, or fewer than rounds."""
    failed: bool = False
    """Whether that reason is a failure: of the server, or of the time to come to an end."""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


class Book:
    """All series of a run."""

    def __init__(self, series: Iterable[Series] = ()) -> None:
        self._series = {(one.target, one.work, one.files, one.figure): one for one in series}

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series.values())

    def _at(self, target: str, work: str, files: int, figure: str) -> Series:
        return self._series.setdefault((target, work, files, figure), Series(target, work, files, figure))

    def add(self, target: str, work: str, files: int, figures: dict[str, float]) -> None:
        for figure, value in figures.items():
            self._at(target, work, files, figure).values.append(value)

    def skip(self, target: str, work: str, files: int, reason: str, *, failed: bool = False) -> None:
        """Say why something is not measured, or no further; `failed`: though it should have been."""
        known = [one for one in self._series.values() if (one.target, one.work, one.files) == (target, work, files)]
        for one in known or [self._at(target, work, files, "")]:
            one.reason, one.failed = reason, failed

    def find(self, target: str, work: str, files: int, figure: str) -> Series | None:
        return self._series.get((target, work, files, figure))

    def reason(self, target: str, work: str, files: int) -> str:
        """Return why a piece of work was not measured; '' = it was, or nobody has tried."""
        return next(
            (
                one.reason
                for one in self._series.values()
                if (one.target, one.work, one.files) == (target, work, files) and one.reason
            ),
            "",
        )

    def dump(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self._series.values()]

    @classmethod
    def load(cls, entries: Iterable[dict[str, Any]]) -> Book:
        return cls(Series(**entry) for entry in entries)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(1, rank) - 1]
