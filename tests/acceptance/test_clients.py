"""pip, uv and twine on the client hosts, as their users call them: no URL, no password, no option about trust."""

from __future__ import annotations

import re

import pytest

from . import tools
from .distributions import PREFIX, Project, module_name, sdist, wheel
from .fleet import Account, Client, Fleet
from .indexes import Index
from .shelf import Shelf
from .tools import Person


def others(fleet: Fleet, client: Client, me: Account) -> list[Person]:
    """Who should see at once what `me` uploads: users of other clients of the index, else of this one."""
    people = [(other, account) for other in fleet.clients if other.index is client.index for account in other.accounts]
    elsewhere = [person for person in people if person[0] is not client and tools.may_read(*person)]
    return elsewhere or [(client, me)]


@pytest.fixture(scope="session")
def source_only(run_id: str, shelf: Shelf) -> SourceOnly:
    """A project of which there is a source distribution only."""
    return SourceOnly(f"{PREFIX}-{run_id}-source", shelf)


class SourceOnly:
    """Publishes it where it is needed."""

    def __init__(self, name: str, shelf: Shelf) -> None:
        self.name = name
        self._shelf = shelf

    def on(self, index: Index) -> str:
        """Return its name once it is there."""
        self._shelf.put(index, self.name, "1.0", [sdist(self.name, "1.0")])
        return self.name


@pytest.mark.parametrize("kind", ["wheel", "source distribution"])
def test_install(account: Person, project: Project, shelf: Shelf, source_only: SourceOnly, kind: str) -> None:
    """Every configured installer installs a wheel and a source distribution, for those who may read."""
    client, user = account
    shelf.publish(client.index, project)
    name = project.name if kind == "wheel" else source_only.on(client.index)
    for tool in tools.installers(client):
        with client.machine.folder(user.name) as folder:
            done = tools.install(client, user, tool, folder, f"{name}==1.0")
            if tools.may_read(client, user):
                assert done.code == 0, str(done)
                assert tools.installed_value(client, user, folder, module_name(name)) == "1.0"
            else:
                assert done.code != 0


@pytest.mark.parametrize("uploading", ["twine", "uv"])
def test_others_install_at_once_what_was_uploaded(fleet: Fleet, uploader: Person, run_id: str, uploading: str) -> None:
    """A wheel and a source distribution, uploaded here and installed elsewhere the moment that the upload is done."""
    client, user = uploader
    if uploading not in client["pip_client_tools"]:
        pytest.skip(f"{uploading} is not configured on {client} (pip_client_tools)")
    name = f"{PREFIX}-{run_id}-{uploading}-{client.machine.name}-{user.name}".replace("_", "-").lower()
    files = dict([wheel(name, "1.0"), sdist(name, "1.0")])
    with client.machine.folder(user.name) as folder:
        for file, content in files.items():
            client.machine.put(f"{folder}/{file}", content, user.name)
        upload = tools.upload if uploading == "twine" else tools.uv_publish
        tools.assert_runs(upload(client, user, *(f"{folder}/{file}" for file in files)))
    assert set(client.index.published(f"{module_name(name)}*")) == set(files)
    for other, reader in others(fleet, client, user):
        tool = tools.installers(other)[-1 if uploading == "uv" else 0]
        with other.machine.folder(reader.name) as folder:
            tools.assert_runs(tools.install(other, reader, tool, folder, name))
            assert tools.installed_value(other, reader, folder, module_name(name)) == "1.0"


@pytest.mark.parametrize("identical", [True, False], ids=["the same", "other content"])
def test_uploading_again_says_why_not(uploader: Person, run_id: str, shelf: Shelf, identical: bool) -> None:
    """A file that is there stays there, and twine's message says so; where it may be replaced it works."""
    client, user = uploader
    name = f"{PREFIX}-{run_id}-again-{'same' if identical else 'other'}"
    shelf.put(client.index, name, "1.0", [wheel(name, "1.0")])
    file, content = wheel(name, "1.0", value="1.0" if identical else "other")
    with client.machine.folder(user.name) as folder:
        client.machine.put(f"{folder}/{file}", content, user.name)
        done = tools.upload(client, user, f"{folder}/{file}")
    if client.index.takes_again(identical=identical):
        assert done.code == 0, str(done)
    else:
        assert done.code != 0
        assert "already exists" in " ".join((done.out + done.err).split()), str(done)


def test_pip_knows_this_index_only(account: Person) -> None:
    """pip's effective configuration: one index, no exception to TLS, no credentials in a URL unless they are to be there."""
    client, user = account
    pips = [tool for tool in tools.installers(client) if tool.endswith("pip")]
    for pip in pips:
        tools.need(client, user, pip)
        listed = client.machine.check(pip, "config", "list", user=user.name, path=tools.path(client))
        options = dict(re.findall(r"^\S+?\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
        login, _at, rest = options["index-url"].removeprefix("https://").rpartition("@")
        assert f"https://{rest}" == client.index.install_url
        assert (login != "") == (client["pip_client_credentials"] != "netrc")
        assert options["timeout"] == str(client["pip_client_timeout_seconds"])
        assert ("extra-index-url" in options) == bool(client["pip_client_extra_index_urls"])
        assert ("trusted-host" in options) == bool(client["pip_client_trusted_hosts"])


def test_unknown_projects_are_not_found(account: Person, run_id: str) -> None:
    """No installer asks elsewhere for what the index has not."""
    client, user = account
    if client["pip_client_extra_index_urls"]:
        pytest.skip(f"{client} is told to ask other indexes too (pip_client_extra_index_urls)")
    for tool in tools.installers(client):
        with client.machine.folder(user.name) as folder:
            done = tools.install(client, user, tool, folder, f"{PREFIX}-{run_id}-unknown", "--verbose")
        assert done.code != 0
        asked = set(re.findall(r"https?://([\w.-]+)", done.out + done.err))
        # Messages of pip and uv link to their documentation
        documentation = {"pip.pypa.io", "docs.astral.sh", "packaging.python.org", "github.com"}
        assert asked <= {client.index.server_name} | documentation, str(done)
