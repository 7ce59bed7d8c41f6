"""A client that is configured at each level in turn, with the login in each place that pip and uv know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from . import tools
from .distributions import Project, module_name
from .fleet import Account, Client, Fleet
from .shelf import Shelf
from .test_client_removal import configure, places, snapshot
from .tools import Person

pytestmark = [pytest.mark.disruptive, pytest.mark.place(2)]


@dataclass(frozen=True)
class Way:
    """One way to configure pip and uv, and what has to come of it."""

    name: str
    levels: tuple[str, ...]
    credentials: str
    files: dict[str, str] = field(default_factory=dict)
    """Owner, group and mode of the files that name the index. `~`, `VENV`, USER and GROUP stand for those of the test."""
    uv: bool = True
    """Whether uv has the login as well."""

    def __str__(self) -> str:
        return self.name


PRIVATE, OPEN, SHARED = "USER GROUP 600", "USER GROUP 644", "root GROUP 640"
WAYS = [
    Way(
        "everybody by netrc",
        ("global", "global_xdg"),
        "netrc",
        {
            "/etc/pip.conf": "root root 644",
            "/etc/xdg/pip/pip.conf": "root root 644",
            "/etc/uv/uv.toml": "root root 644",
            "/etc/xdg/uv/uv.toml": "root root 644",
        },
    ),
    Way(
        "a group by URL",
        ("global", "global_xdg", "virtualenv"),
        "url",
        {
            "/etc/pip.conf": SHARED,
            "/etc/xdg/pip/pip.conf": SHARED,
            "/etc/uv/uv.toml": "root root 644",
            "/etc/xdg/uv/uv.toml": "root root 644",
            "VENV/pip.conf": "USER GROUP 640",
        },
        uv=False,
    ),
    Way(
        "users by URL",
        ("user", "user_legacy"),
        "url",
        {"~/.config/pip/pip.conf": PRIVATE, "~/.pip/pip.conf": PRIVATE, "~/.config/uv/uv.toml": PRIVATE},
    ),
    Way("old users by netrc", ("user_legacy",), "netrc", {"~/.pip/pip.conf": OPEN, "~/.config/uv/uv.toml": OPEN}),
    Way("users by keyring", ("user",), "keyring", {"~/.config/pip/pip.conf": OPEN, "~/.config/uv/uv.toml": OPEN}),
]


@pytest.fixture(scope="module")
def before(fleet: Fleet, first_uploader: Person) -> Iterator[tuple[Client, Account, str]]:
    """The client, a user of it and an empty virtual environment; in the end all is as it was."""
    client, account = first_uploader
    paths = places(client)
    found = snapshot(client.machine, paths)
    with client.machine.folder(account.name) as folder:
        made = client.machine.run("python3", "-m", "venv", f"{folder}/venv", user=account.name)
        if made.code:
            pytest.skip(f"{client} makes no virtual environments (python3-venv): {made}")
        try:
            yield client, account, f"{folder}/venv"
        finally:
            configure(fleet, client)
    assert snapshot(client.machine, paths) == found


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_client_installs_in_every_way(
    fleet: Fleet, before: tuple[Client, Account, str], project: Project, shelf: Shelf, way: Way
) -> None:
    """The files of these levels are there and no others, only those who may can read them, and pip and uv install."""
    client, account, venv = before
    if account.user is None:
        pytest.skip(f"{account.name} on {client} has no login")
    shelf.publish(client.index, project)
    machine = client.machine
    group = machine.check("id", "--group", "--name", account.name).strip()
    variables: dict[str, Any] = {"pip_client_levels": list(way.levels), "pip_client_credentials": way.credentials}
    variables["pip_client_virtualenvs"] = [venv] if "virtualenv" in way.levels else []
    if way.credentials == "url" and set(way.levels) - {"user", "user_legacy"}:
        login = {"username": account.user.name, "password": account.user.password}
        variables["pip_client_shared_login"] = {**login, "group": group}
    configure(fleet, client, **variables)
    if way.credentials == "keyring":
        # The tools' folder may have a program keyring of its own, without the backend
        variables["acceptance_tools"] = ""
    configured = replace(client, variables={**client.variables, **variables})

    def resolved(text: str) -> str:
        text = re.sub("^~", machine.home(account.name), text).replace("VENV", venv)
        return text.replace("USER", account.name).replace("GROUP", group)

    files = {resolved(path): resolved(owner) for path, owner in way.files.items()}
    assert set(naming(client, account, [*places(client), f"{venv}/pip.conf"])) == set(files)
    for path, owner in files.items():
        assert machine.check("stat", "--format=%U %G %a", path).strip() == owner, path
    check_login(configured, account, way, sorted(files))

    pip = f"{venv}/bin/pip" if "virtualenv" in way.levels else "pip"
    check_precedence(configured, account, pip, [path for path in files if path.endswith("pip.conf")])
    for tool in [pip, *(["uv"] if way.uv else [])]:
        if way.credentials == "keyring" and tool == "pip" and not pip_and_keyring_fit(configured, account):
            continue
        with machine.folder(account.name) as folder:
            tools.assert_runs(tools.install(configured, account, tool, folder, f"{project.name}==1.0"))
            assert tools.installed_value(configured, account, folder, module_name(project.name)) == "1.0"


def naming(client: Client, account: Account, paths: list[str]) -> list[str]:
    """The files of pip and uv among these that name the index's host, but for those in homes of other users."""
    homes = {client.machine.home(other.name) for other in client.accounts} - {client.machine.home(account.name)}
    found = client.machine.run("grep", "-rlsF", "--", client.index.server_name, *paths).out.split()
    mine = [path for path in found if not any(path.startswith(f"{home}/") for home in homes)]
    return [path for path in mine if path.endswith(("/pip.conf", "/uv.toml"))]


def check_login(client: Client, account: Account, way: Way, paths: list[str]) -> None:
    """The password is where the way says, and somebody else cannot read it there."""
    machine, user = client.machine, account.user
    assert user is not None
    netrc = machine.run("grep", "-sF", client.index.server_name, f"{machine.home(account.name)}/.netrc").code == 0
    # devpi's own client knows no other place
    devpi = machine.run("test", "-e", "/etc/profile.d/pyindex-devpi.sh").code == 0
    assert netrc == (way.credentials == "netrc" or devpi)
    if way.credentials == "url":
        for path in [path for path in paths if not path.startswith(("/etc/uv/", "/etc/xdg/uv/"))]:
            assert f"//{user.name}:" in machine.check("cat", path, user=account.name)
            assert machine.run("runuser", "-u", "nobody", "--", "cat", path).code != 0, path
    if way.credentials == "keyring":
        keyring = f"{machine.home(account.name)}/.local/share/python_keyring/keyring_pass.cfg"
        assert machine.check("stat", "--format=%U %a", keyring).strip() == f"{account.name} 600"
        service = client.index.url.split("/")[2]
        asked = machine.run("keyring", "get", service, user.name, user=account.name)
        assert asked.code == 0, asked.err
        assert asked.out.strip() == user.password


def check_precedence(client: Client, account: Account, pip: str, paths: list[str]) -> None:
    """What `pip config debug` says of the files, and what pip makes of them all."""
    debug = client.machine.check(pip, "config", "debug", user=account.name, path=tools.path(client))
    assert set(paths) <= set(re.findall(r"(\S+), exists: True$", debug, re.MULTILINE))
    listed = client.machine.check(pip, "config", "list", user=account.name, path=tools.path(client))
    # Newer ones list the files one by one
    urls = set(re.findall(r"^global\.index-url='(.*)'$", listed, re.MULTILINE))
    assert {re.sub("//[^/@]*@", "//", url) for url in urls} == {client.index.install_url}


def pip_and_keyring_fit(client: Client, account: Account) -> bool:
    """Debian 12's pip has no option keyring-provider, and its keyring is too old for pip 26.2 and later."""
    said = client.machine.check("pip", "--version", user=account.name, path=tools.path(client))
    pip = tuple(int(part) for part in said.split()[1].split(".")[:2])
    new = "--mode" in client.machine.check("keyring", "--help", user=account.name)
    return pip >= (23, 1) and (new or pip < (26, 2))
