"""The mirror of a devpi server: what it has, it has without asking again, and when the public index is down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from . import tools
from .devpi import listing, put
from .distributions import PREFIX, wheel
from .fleet import Client, Fleet
from .indexes import Devpi
from .kinds import MIRRORING
from .machines import Machine, Result
from .tools import Person
from .web import ask

pytestmark = MIRRORING

# Projects of the lab's public index (molecule/shared/upstream)
WARM, COLD = "six", "pyindex-cold"
LOG = "/var/log/nginx/access.log"


@pytest.fixture
def upstream(fleet: Fleet) -> Machine:
    """The host that stands for the public index."""
    if not fleet.upstreams:
        pytest.skip("the inventory has no host that stands for the public index (group upstream)")
    return fleet.upstreams[0]


@contextmanager
def down(upstream: Machine) -> Iterator[None]:
    """The public index does not answer."""
    upstream.check("systemctl", "stop", "nginx.service")
    try:
        yield
    finally:
        upstream.check("systemctl", "start", "nginx.service")


def asked(upstream: Machine) -> list[str]:
    """What the public index was asked for so far."""
    return upstream.check("cat", LOG).splitlines()


def forget(index: Devpi, project: str) -> None:
    """Have the mirror forget what it has of a project, and know its list of projects."""
    index.rest(
        ("DELETE", f"/{index.mirror}/{project}?force=yes", None), ("GET", f"/{index.mirror}/+simple/{PREFIX}/", None)
    )
    # devpi may leave the file, and takes what lies there for fetched
    files = ("find", index.packages, "-path", f"*/{index.mirror}/*", "-name", f"{project.replace('-', '_')}-*")
    index.machine.check(*files, "-delete")


def the_reader(client: Client) -> Person:
    account = next((account for account in client.accounts if tools.may_read(client, account)), None)
    if not account:
        pytest.skip(f"no user of {client} may read the index (pip_client_users)")
    return client, account


def install(person: Person, tool: str, project: str) -> Result:
    client, user = person
    with client.machine.folder(user.name) as folder:
        return tools.install(client, user, tool, folder, project, timeout=120)


def test_second_install_asks_nobody(client: Client, upstream: Machine) -> None:
    """What somebody has installed is there for everybody: neither page nor file is asked for again."""
    index, person = client.index, the_reader(client)
    assert isinstance(index, Devpi)
    forget(index, COLD)
    before = len(asked(upstream))
    tools.assert_runs(install(person, tools.installers(client)[0], COLD))
    fetched = [line for line in asked(upstream)[before:] if "pyindex_cold" in line or "pyindex-cold" in line]
    assert fetched, "the first install did not come from the public index: nothing was proved"
    assert index.stored(index.mirror, "pyindex_cold-*")
    before = len(asked(upstream))
    for tool in tools.installers(client):
        tools.assert_runs(install(person, tool, COLD))
    assert asked(upstream)[before:] == []


@pytest.mark.disruptive
def test_public_index_is_down(client: Client, upstream: Machine) -> None:
    """What is cached still installs; what is not gives a clear error within a minute, and works when the public index
    is back; what the site publishes itself is not touched."""
    index, person = client.index, the_reader(client)
    assert isinstance(index, Devpi)
    tools.assert_runs(install(person, tools.installers(client)[0], WARM))
    forget(index, COLD)
    with down(upstream):
        for tool in tools.installers(client):
            tools.assert_runs(install(person, tool, WARM))
        begin = time.monotonic()
        for tool in tools.installers(client):
            failed = install(person, tool, COLD)
            assert failed.code != 0
            # pip tells of the server's answer only when it is asked to (--verbose)
            assert tool != "uv" or "502" in failed.out + failed.err, str(failed)
        answer = ask(index.vantages[0], index, [listing(index.chain[0], COLD, person[1].user)])[0]
        assert answer.status == 502, str(answer)
        # What is wrong, and with whom
        assert f"{index.mirror} could not ask its upstream for {COLD}" in answer.text, str(answer)
        assert time.monotonic() - begin < 120
    for tool in tools.installers(client):
        tools.assert_runs(install(person, tool, COLD))


def test_mirror_is_asked_for_nothing_private(client: Client, upstream: Machine, run_id: str) -> None:
    """The public index does not learn the names of private projects from installs."""
    index, person = client.index, the_reader(client)
    assert isinstance(index, Devpi)
    name = f"{PREFIX}-{run_id}-confidential"
    put(index, index.target, wheel(name, "1.0"))
    before = len(asked(upstream))
    for tool in tools.installers(client):
        tools.assert_runs(install(person, tool, name))
    assert not [line for line in asked(upstream)[before:] if "confidential" in line]
