"""A client that stops using the index, and comes back."""

from __future__ import annotations

import json
import tempfile
from typing import Any

import pytest

from .fleet import Client, Fleet, ansible
from .machines import Machine

pytestmark = [pytest.mark.disruptive, pytest.mark.place(2)]

FOLDERS = [
    "/etc/pip.conf",
    "/etc/xdg/pip",
    "/etc/xdg/uv",
    "/etc/uv",
    "/etc/profile.d",
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source",
]


def places(client: Client) -> list[str]:
    """Everything that pip_client may write on that host."""
    homes = [client.machine.home(account.name) for account in client.accounts]
    below = [".config/pip", ".config/uv", ".config/python_keyring", ".local/share/python_keyring", ".pip"]
    below += [".netrc", ".pypirc", ".devpi"]
    return [
        *FOLDERS,
        *(f"{home}/{name}" for home in homes for name in below),
        *(f"{v}/pip.conf" for v in client.virtualenvs),
    ]


def snapshot(machine: Machine, paths: list[str]) -> str:
    """Contents (as SHA-256), owners and modes of all files there; not the contents of devpi's current.json, in which its
    client writes too."""
    script = """\
        {
            find "$@" -type f ! -name current.json -exec sha256sum -- {} +
            find "$@" -type f -exec stat --format="%n %U %G %a" -- {} +
        } 2>/dev/null | sort"""
    return machine.run("sh", "-c", script, "sh", *paths).out


def naming(client: Client, paths: list[str]) -> str:
    """The files there that name the index."""
    return client.machine.run("grep", "-rlsF", "--", client.index.url, *paths).out


def configure(fleet: Fleet, client: Client, **variables: Any) -> None:
    """Configure the client anew. Variables may be secrets: they are read from a private file."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", dir=fleet.folder) as file:
        json.dump(variables, file)
        file.flush()
        extra = ("--limit", client.machine.name, "--extra-vars", f"@{file.name}")
        done = ansible(fleet.inventory, "ansible-playbook", "playbooks/configure_clients.yml", *extra)
    assert done.returncode == 0, done.stdout + done.stderr


def test_client_is_as_before_and_comes_back(fleet: Fleet, client: Client) -> None:
    """absent: nothing of the index is left, neither URL nor login nor CA. present: every file is as it was."""
    index, paths = client.index, places(client)
    before, named = snapshot(client.machine, paths), naming(client, paths)
    try:
        configure(fleet, client, pip_client_state="absent")
        mentions = naming(client, paths)
        logins = client.machine.run("grep", "-lswF", "--", index.server_name, *(p for p in paths if p.endswith("rc")))
        trusted = client.machine.run("curl", "--silent", "--output", "/dev/null", index.url).code
    finally:
        configure(fleet, client)
    assert mentions == ""
    assert logins.out == ""
    # 60: the certificate is not trusted; 127: no curl there
    assert trusted in ({60, 127} if index.authority else {0, 127})
    assert snapshot(client.machine, paths) == before
    assert naming(client, paths) == named
