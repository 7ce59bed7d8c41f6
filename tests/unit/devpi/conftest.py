"""Modules for devpi, run as Ansible runs them, on a server in memory and on a real one."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import HttpTransport
from tests.devpi_server import Server
from tests.unit.devpi.fake import FakeDevpi

MODULES = "ansible_collections.pyindex.fleet.plugins.modules"
NAMES = ("devpi_index", "devpi_info", "devpi_plan", "devpi_release", "devpi_user")
PASSWORD = "root's %password"


class Devpi(Protocol):
    """A server, and the modules run on it."""

    password: str

    def __call__(self, module: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run *module* and return its result."""

    def client(self, username: str = "root", password: str | None = None) -> Client:
        """Return a client of the server, by default root's."""


def run(module: str, check: bool, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run *module* in this process and return its result."""
    loaded = importlib.import_module(f"{MODULES}.{module}")
    output = io.StringIO()
    given = {"_ansible_check_mode": check, "_ansible_diff": True, **arguments}
    with (
        patch_module_args(given),
        # Other tests of this process use Ansible's controller, which would print the warnings; and each run has its own
        mock.patch.object(_internal, "is_controller", False),
        mock.patch.dict(warnings._global_warnings, clear=True),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        loaded.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


class OnFake:
    """Runs modules with a transport of the test's."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.password = PASSWORD
        self.server = FakeDevpi(PASSWORD)
        for name in NAMES:
            patch.setattr(importlib.import_module(f"{MODULES}.{name}"), "client_from", self._client_from)

    def _client_from(self, params: dict[str, Any]) -> Client:
        return Client(self.server, params["username"], params["password"])

    def client(self, username: str = "root", password: str | None = None) -> Client:
        return Client(self.server, username, password or self.password)

    def __call__(self, module: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run(module, check, {"unix_socket": "/proc/none", "password": self.password, **arguments})


class OnReal:
    """Runs modules against a real server."""

    def __init__(self, server: Server) -> None:
        self.password = server.password
        self.server = server

    def client(self, username: str = "root", password: str | None = None) -> Client:
        return Client(HttpTransport(unix_socket=self.server.socket), username, password or self.password)

    def __call__(self, module: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run(module, check, {"unix_socket": self.server.socket, "password": self.password, **arguments})


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def real(server: Server) -> OnReal:
    """A real server without users and indexes."""
    devpi = OnReal(server)
    client = devpi.client()
    for user, data in client.users().items():
        for index in data["indexes"]:
            client.modify_index(f"{user}/{index}", {"volatile": True})
            client.delete_index(f"{user}/{index}")
        if user != "root":
            client.delete_user(user)
    return devpi


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> OnFake:
    return OnFake(monkeypatch)


@pytest.fixture(params=["fake", "real"])
def devpi(request: pytest.FixtureRequest) -> Devpi:
    """First the server in memory, then the real one."""
    found: Devpi = request.getfixturevalue(request.param)
    return found


def with_team(devpi: Devpi) -> None:
    """Make a user and her two indexes, staging non-volatile and dev on top of it."""
    client = devpi.client()
    client.create_user("devuser", {"password": "devuser-password"})
    client.create_index("devuser/staging", {"volatile": False, "acl_toxresult_upload": ["devuser"]})
    client.create_index("devuser/dev", {"bases": ["devuser/staging"], "acl_toxresult_upload": ["devuser"]})


@pytest.fixture
def team(devpi: Devpi) -> Devpi:
    with_team(devpi)
    return devpi


@pytest.fixture
def fake_team(fake: OnFake) -> OnFake:
    with_team(fake)
    return fake


@pytest.fixture
def real_team(real: OnReal) -> OnReal:
    with_team(real)
    return real


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """An empty folder for distributions."""
    folder = tmp_path / "dist"
    folder.mkdir()
    return folder
