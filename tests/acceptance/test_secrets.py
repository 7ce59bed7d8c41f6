"""Passwords are nowhere but where they have to be."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from . import tools
from .distributions import PREFIX, wheel
from .fleet import Client, Fleet
from .indexes import Index
from .machines import Machine

PROGRAM = Path(__file__).parent / "remote" / "search.py"
FOLDERS = ["/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var"]
# Shorter ones could be found by chance
SHORTEST = 8


def secrets_of(fleet: Fleet) -> list[tuple[str, str]]:
    """Every login of the inventory and the passphrase of the CA's key."""
    users = [user for index in fleet.indexes for user in index.users]
    users += [account.user for client in fleet.clients for account in client.accounts if account.user]
    found = {(user.name, user.password) for user in users}
    found |= {("", str(index["tls_ca_passphrase"])) for index in fleet.indexes if index["tls_ca_passphrase"]}
    return sorted(secret for secret in found if len(secret[1]) >= SHORTEST)


def search(fleet: Fleet, machine: Machine, skipped: list[str]) -> dict[str, Any]:
    secrets = secrets_of(fleet)
    if not secrets:
        pytest.skip(f"every password has less than {SHORTEST} characters: a search would find them by chance")
    job = {"secrets": secrets, "folders": FOLDERS, "skipped": skipped, "seconds": 60, "watch_seconds": 0}
    found: dict[str, Any] = machine.program(PROGRAM, job)
    # A machine with much else on it is searched as far as a minute goes
    assert found["searched"] > 100
    return found


@pytest.mark.place(1)
def test_index_host_holds_no_password(fleet: Fleet, index: Index) -> None:
    """Hashes only: no password in a process list, an environment, the journal, a log, a shell's history or any file."""
    clients = [client for client in fleet.clients if client.machine is index.machine]
    found = search(fleet, index.machine, ["/var/lib/docker", index.packages])
    assert found["processes"] == []
    assert found["journal"] == []
    assert [file["path"] for file in found["files"] if not (clients and private(file))] == []


@pytest.mark.place(1)
def test_client_holds_passwords_in_private_files_only(fleet: Fleet, client: Client) -> None:
    """In netrc, .pypirc, the auth.json of devpi, the keyring, and pip.conf and uv.toml where URLs hold logins, of the users who
    have them (and what was kept of those), mode 0600, and nowhere else."""
    found = search(fleet, client.machine, ["/var/lib/docker"])
    assert found["processes"] == []
    assert found["journal"] == []
    assert [file["path"] for file in found["files"] if not private(file)] == []


def private(file: dict[str, Any]) -> bool:
    path, mode = str(file["path"]), int(file["mode"])
    if path.startswith("/etc/") and path.endswith("/pip.conf"):
        # The login that a group of the host shares
        return mode & 0o037 == 0
    known = ("/.netrc", "/.pypirc", "/.devpi/client/auth.json", "/pip.conf", "/uv.toml", "/keyring_pass.cfg")
    return (path.endswith(known) or path.startswith("/var/lib/pyindex/")) and mode & 0o077 == 0


def test_process_lists_show_no_password(fleet: Fleet, first_uploader: tools.Person, run_id: str) -> None:
    """Neither on the client nor on the index host while somebody uploads and installs."""
    client, user = first_uploader
    machines = {machine.name: machine for machine in (client.machine, client.index.machine)}.values()
    job = {"secrets": secrets_of(fleet), "folders": [], "skipped": [], "seconds": 30, "watch_seconds": 4}
    with ThreadPoolExecutor() as pool:
        watching = [pool.submit(machine.program, PROGRAM, job) for machine in machines]
        with client.machine.folder(user.name) as folder:
            file, content = wheel(f"{PREFIX}-{run_id}-watched-{client.machine.name}-{user.name}".lower(), "1.0")
            client.machine.put(f"{folder}/{file}", content, user.name)
            tools.assert_runs(tools.upload(client, user, f"{folder}/{file}"))
            for tool in tools.installers(client)[:2]:
                tools.install(client, user, tool, f"{folder}/{Path(tool).name}", file.partition("-")[0])
    assert list(itertools.chain.from_iterable(watch.result()["processes"] for watch in watching)) == []
