"""What all unit tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Put the umask back: programs under test set one for their whole process."""
    before = os.umask(0o022)
    yield
    os.umask(before)
