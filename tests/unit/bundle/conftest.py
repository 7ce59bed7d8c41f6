"""What the tests of bundles share."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyindex_bundle.collect import Work
from tests.unit.bundle.made import Index


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Return the only place that pip knows of."""
    made = Index(tmp_path / "index")
    made.be_the_only_one(monkeypatch)
    return made


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Return the folder in which a bundle comes together."""
    (tmp_path / "work").mkdir()
    return Work(tmp_path / "work")
