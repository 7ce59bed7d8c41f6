"""Which index hosts a test is for: marks for the tests of one kind, or of one policy, of index.

A test without one runs for every index host, and for every client.
"""

from __future__ import annotations

import pytest

from .indexes import Devpi, Pypiserver

PYPISERVER = pytest.mark.where.with_args(lambda index: isinstance(index, Pypiserver))
DEVPI = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi))
