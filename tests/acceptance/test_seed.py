"""The projects that the index was filled with."""

from __future__ import annotations

import pytest

from . import tools
from .fleet import Client
from .kinds import PYPISERVER

pytestmark = PYPISERVER


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
