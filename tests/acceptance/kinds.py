"""Which index hosts a test is for: marks for the tests of one kind, or of one policy, of index.

A test without one runs for every index host, and for every client.
"""

from __future__ import annotations

import pytest

from .indexes import Devpi, Pypiserver

PYPISERVER = pytest.mark.where.with_args(lambda index: isinstance(index, Pypiserver))
# The server runs in a container, or (of either kind) in systemd's sandbox
CONTAINER = pytest.mark.where.with_args(lambda index: isinstance(index, Pypiserver) and index.container)
SANDBOX = pytest.mark.where.with_args(lambda index: not (isinstance(index, Pypiserver) and index.container))
DEVPI = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi))
# Reading needs a login
LOCKED = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi) and index.locked)
# What clients install from falls back on a mirror
MIRRORING = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi) and bool(index.mirror))
# It has no network
OFFLINE = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi) and not index["devpi_network"])
# It was filled from a folder of the controller
SEEDED = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi) and bool(index["devpi_seed_from"]))
# It has devpi's own web pages
WEB = pytest.mark.where.with_args(lambda index: isinstance(index, Devpi) and "devpi-web" in index["devpi_plugins"])
# Uploads can start a job of Jenkins
JENKINS = pytest.mark.where.with_args(
    lambda index: isinstance(index, Devpi) and "devpi-jenkins" in index["devpi_plugins"]
)
# What its hosts send outside is recorded
RECORDED = pytest.mark.where.with_args(lambda index: bool(index["acceptance_outward_record"]))
