"""The acceptance suite's options, and the fleet that its tests are given.

    pytest tests/acceptance --ansible-inventory inventories/mine [--disruptive] [--no-skips]

Tests take `fleet`, or run once for each `index` (an index host), `stage` (an index of a devpi server), `client` (a client host), `account` (a user of a client
host), `uploader` (an account that may upload) or `first_uploader` (the first of them at each index). What should hold
on them is what the inventory's variables say.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from .devpi import People
from .distributions import PREFIX, Project
from .fleet import Fleet, resolve
from .indexes import Devpi, Index
from .logins import WrongLogins
from .shelf import Shelf

FLEET = pytest.StashKey[Fleet]()
FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("acceptance", "acceptance suite of pyindex.fleet")
    group.addoption(
        "--disruptive", action="store_true", help="also kill, stop, reboot and reconfigure: not in working hours"
    )
    group.addoption("--no-skips", action="store_true", help="count a test that could not be run as failed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "disruptive: takes something down for a moment; runs with --disruptive only")
    config.addinivalue_line("markers", "where(predicate): only for index hosts of which it is true, and their clients")
    config.addinivalue_line("markers", "nobody: the inventory has no such host or user, so there is nothing to prove")
    config.addinivalue_line("markers", "place(number): when it runs; -1 first, 0 as usual, 1 to 3 last")
    # testinfra starts Ansible's programs by name
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def pytest_sessionstart(session: pytest.Session) -> None:
    # Here, so that an inventory that cannot be resolved ends the run with one message
    the_fleet(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if FLEET in config.stash:
        config.stash[FLEET].disconnect()
    if FOLDER in config.stash:
        shutil.rmtree(config.stash[FOLDER])


def the_fleet(config: pytest.Config) -> Fleet:
    """The fleet of the inventory, resolved once."""
    if FLEET not in config.stash:
        inventory = config.getoption("ansible_inventory")
        if not inventory:
            raise pytest.UsageError("name the inventory: pytest tests/acceptance --ansible-inventory inventories/mine")
        config.stash[FOLDER] = Path(tempfile.mkdtemp(prefix="pyindex-"))
        try:
            config.stash[FLEET] = resolve(Path(inventory).resolve(), config.stash[FOLDER])
        except (RuntimeError, OSError) as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[FLEET]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"index", "stage", "client", "account", "uploader", "first_uploader"} & set(metafunc.fixturenames):
        fleet = the_fleet(metafunc.config)
        where = [marker.args[0] for marker in metafunc.definition.iter_markers("where")]
        indexes = [index for index in fleet.indexes if all(predicate(index) for predicate in where)]
        clients = [client for client in fleet.clients if client.index in indexes]
        accounts = [(client, account) for client in clients for account in client.accounts]
        kinds: dict[str, list[tuple[Any, str]]] = {
            "index": [(index, str(index)) for index in indexes],
            "stage": [
                ((index, stage), f"{index}:{stage.name}")
                for index in indexes
                if isinstance(index, Devpi)
                for stage in index.stages.values()
            ],
            "client": [(client, str(client)) for client in clients],
            "account": [(pair, f"{pair[1].name}@{pair[0]}") for pair in accounts],
            "uploader": [(pair, f"{pair[1].name}@{pair[0]}") for pair in accounts if pair[1].upload],
        }
        first = {pair[0].index: (pair, name) for pair, name in reversed(kinds["uploader"])}
        kinds["first_uploader"] = list(first.values())
        for name, values in kinds.items():
            if name in metafunc.fixturenames:
                nobody = [pytest.param(None, id="nobody", marks=pytest.mark.nobody)]
                found = [pytest.param(value, id=text) for value, text in values]
                metafunc.parametrize(name, found or nobody, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = {"nobody"} if config.getoption("disruptive") else {"nobody", "disruptive"}
    left_out = [item for item in items if unwanted & {marker.name for marker in item.iter_markers()}]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]

    def place(item: pytest.Item) -> int:
        marker = item.get_closest_marker("place")
        return int(marker.args[0]) if marker else 0

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("no_skips"):
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"{reason}\n--no-skips: this has to be tried here"
    return report


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """The whole fleet."""
    return the_fleet(request.config)


@pytest.fixture(scope="session")
def run_id() -> str:
    """What sets this run's projects apart from another's."""
    return secrets.token_hex(4)


@pytest.fixture(scope="session", autouse=True)
def tidy(fleet: Fleet, run_id: str) -> Iterator[None]:
    """Leaves none of this run's distributions on any index, nor those that a killed run left a day ago."""
    yield
    for index in fleet.indexes:
        index.tidy(PREFIX, run_id)


@pytest.fixture(scope="session")
def wrong_logins() -> WrongLogins:
    """Keeps the suite below the limit of failed logins."""
    return WrongLogins()


@pytest.fixture(scope="session")
def people(run_id: str) -> People:
    """Users of devpi servers."""
    return People(run_id)


@pytest.fixture(scope="session")
def project(run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project made by setuptools on the spot: wheel and source distribution."""
    return Project.build(f"{PREFIX}-{run_id}-demo", "1.0", tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def shelf() -> Shelf:
    """Puts projects on indexes."""
    return Shelf()


@pytest.fixture(scope="session")
def published(project: Project, index: Index, shelf: Shelf) -> Project:
    """That project, published on `index`."""
    shelf.publish(index, project)
    return project
