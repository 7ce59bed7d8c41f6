"""What the tests of the server's own package share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Also when pytest runs with another configuration than the repository's
sys.path.insert(0, str(Path(__file__).parents[3] / "roles/pypiserver/files"))

from pyindex_pypiserver.storage import PackageStore


@pytest.fixture
def store(tmp_path: Path) -> PackageStore:
    """An empty store."""
    folder = tmp_path / "packages"
    folder.mkdir()
    store = PackageStore(folder, tmp_path / "pages")
    # As after the first reconcile, of an empty folder
    store.publisher.records.set(complete=1)
    store.publisher.rewrite_list()
    return store
