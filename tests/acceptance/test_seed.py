"""The projects that the index was filled with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from . import tools
from .fleet import Client
from .indexes import Devpi
from .kinds import PYPISERVER, SEEDED


@PYPISERVER
def test_seeded_projects_are_installable(client: Client) -> None:
    """All of pypiserver_seed_requirements, with everything they depend on, from this index alone."""
    requirements = [str(requirement) for requirement in client.index["pypiserver_seed_requirements"]]
    if not requirements:
        return
    covered = {client.index.python_version, *map(str, client.index["pypiserver_seed_python_versions"])}
    if client.python_version not in covered:
        pytest.skip(
            f"{client} has Python {client.python_version}; the index was filled for {', '.join(sorted(covered))}"
        )
    account = next((account for account in client.accounts if tools.may_read(client, account)), None)
    if not account:
        pytest.skip(f"no user of {client} may read the index (pip_client_users)")
    # uv is quick; pip on the first client of each index
    installers = tools.installers(client)
    for tool in installers if client is client.index.clients[0] else installers[-1:]:
        with client.machine.folder(account.name) as folder:
            tools.assert_runs(tools.install(client, account, tool, folder, *requirements))


@SEEDED
def test_folder_is_on_the_index(index: Devpi) -> None:
    """Every distribution of the folder of the controller (devpi_seed_from), byte for byte."""
    files = [path for path in Path(index["devpi_seed_from"]).rglob("*") if path.name.endswith((".whl", ".tar.gz"))]
    there = index.stored(str(index["devpi_seed_index"]), "*")
    assert files
    for path in files:
        assert there.get(path.name) == hashlib.sha256(path.read_bytes()).hexdigest(), path


@SEEDED
def test_folder_is_installable(client: Client) -> None:
    """Each of those projects installs from the index, by the files that the client was given."""
    account = next((account for account in client.accounts if tools.may_read(client, account)), None)
    if not account:
        pytest.skip(f"no user of {client} may read the index (pip_client_users)")
    wheels = Path(client.index["devpi_seed_from"]).rglob("*.whl")
    projects = sorted({path.name.partition("-")[0] for path in wheels})
    with client.machine.folder(account.name) as folder:
        tools.assert_runs(tools.install(client, account, tools.installers(client)[-1], folder, *projects))
