"""playbooks/show_urls.yml over many indexes, all of them one server of the test: what it shows, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.repository import ROOT
from tests.unit.urls.tls_index import PASSWORDS, TlsIndex, authority_and_certificate, running

LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
USERS = [
    {"name": "reader", "password": PASSWORDS["reader"], "rights": ["read"]},
    {"name": "uploader", "password": PASSWORDS["uploader"], "rights": ["read", "upload"]},
]
ENCODED = "r%2Fe%40d%3Aer"
ROOTS = "r0/ot"
NOT_ASKED = "           not asked: this login is not one of {host}'s own (-e show_urls_from=localhost asks with it)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("show_urls")


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[TlsIndex]:
    authority, certificate = authority_and_certificate(folder, "localhost")
    (folder / "ca.crt").write_text(authority)
    with running(certificate) as server:
        yield server


def hosts(port: int, folder: Path) -> dict[str, Any]:
    """Two kinds of index that work and, in the group `broken`, some that do not."""
    pypiserver = {
        "pypiserver_server_name": "localhost",
        "pypiserver_https_port": port,
        "pypiserver_url_path": "/locked",
        "pypiserver_protected_actions": ["list", "download", "update"],
        "htpasswd_users": USERS,
    }
    devpi = {
        "devpi_server_name": "localhost",
        "devpi_https_port": port,
        "devpi_indexes": [
            {"name": "locked/dev", "acl_upload": ["uploader"]},
            {"name": "locked/root", "acl_upload": "root"},
        ],
        "devpi_users": USERS,
        "devpi_root_password": ROOTS,
        "devpi_root_pypi": False,
        "devpi_default_index": "locked/dev",
    }
    return {
        "pypiserver": {
            "hosts": {
                "private": pypiserver,
                "drifted": {**pypiserver, "pypiserver_url_path": "/open"},
                "stopped": {**pypiserver, "pypiserver_url_path": "/502"},
            }
        },
        "devpi_primary": {"hosts": {"team": devpi}},
        "clients": {
            "hosts": {
                "first": {"pip_client_users": [{"name": "ann", "username": "reader", "password": PASSWORDS["reader"]}]},
                # Root's too, as in an inventory that has nobody else who uploads
                "second": {
                    "client_index_host": "team",
                    "pip_client_users": [
                        {"name": "ann"},
                        {"name": "bob", "username": "uploader", "password": "another"},
                        {"name": "root", "username": "root", "password": ROOTS},
                    ],
                },
            }
        },
        "all": {"vars": {**LOCAL, "tls_provider": "files", "tls_ca_certificate_file": str(folder / "ca.crt")}},
    }


class Run:
    """One run of the playbook."""

    def __init__(self, inventory: dict[str, Any], folder: Path, *arguments: str) -> None:
        path = folder / "hosts.yml"
        path.write_text(yaml.safe_dump(inventory, sort_keys=False))
        playbook = str(ROOT / "playbooks/show_urls.yml")
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-vvv",
                f"--inventory={path}",
                *arguments,
                playbook,
            ],
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.code = done.returncode
        self.said = done.stdout + done.stderr
        report = json.loads(done.stdout[done.stdout.index("{\n") :])
        self.tasks = [task for play in report["plays"] for task in play["tasks"]]
        self.stats = report["stats"]

    def message(self, task: str, host: str) -> str:
        """What a task says of a host."""
        return str(next(each["hosts"][host]["msg"] for each in self.tasks if each["task"]["name"] == task))


def logins(index: TlsIndex, begin: int) -> set[str]:
    """Return the names that indexes with clients were asked with since all had been asked `begin` times."""
    return {asked.login.partition(":")[0] for asked in index.asked[begin:] if asked.path.startswith("/locked/")}


@pytest.fixture(scope="module")
def run_and_logins(index: TlsIndex, folder: Path) -> tuple[Run, set[str]]:
    begin = len(index.asked)
    return Run(hosts(index.server_port, folder), folder), logins(index, begin)


@pytest.fixture(scope="module")
def run(run_and_logins: tuple[Run, set[str]]) -> Run:
    return run_and_logins[0]


def test_every_url_of_a_pypiserver_is_shown(run: Run, index: TlsIndex) -> None:
    port = index.server_port
    assert run.message("Show the URLs", "private").splitlines() == [
        "private (pypiserver), asked from first",
        f"  install  https://localhost:{port}/locked/simple/",
        "           401: asks for a login, as it has to",
        f"  install  https://reader:********@localhost:{port}/locked/simple/",
        "           200: works",
        f"  upload   https://localhost:{port}/locked/",
        "           401: asks for a login, as it has to",
        f"  upload   https://uploader:********@localhost:{port}/locked/",
        NOT_ASKED.format(host="first"),
    ]
    assert run.stats["private"]["failures"] == 0


def test_a_client_is_told_no_login_but_its_own_and_never_roots(run_and_logins: tuple[Run, set[str]]) -> None:
    """Another host must not learn it, whoever looks on there: the report says what was not asked."""
    run, used = run_and_logins
    shown = run.message("Show the URLs", "team").splitlines()
    for name in ("reader", "uploader", "root"):
        places = [place for place, line in enumerate(shown) if f"//{name}:********@" in line]
        assert {shown[place + 1] for place in places} == {NOT_ASKED.format(host="second")}, name
    assert used == {"", "reader"}


def test_the_controller_asks_with_every_login(index: TlsIndex, folder: Path) -> None:
    """... and a URL with root's is marked."""
    begin = len(index.asked)
    own = Run(hosts(index.server_port, folder), folder, "--limit=team", "--extra-vars=show_urls_from=localhost")
    shown = own.message("Show the URLs", "team").splitlines()
    place = shown.index(f"  upload   https://uploader:********@localhost:{index.server_port}/locked/dev/")
    assert shown[place + 1].startswith("           400: works")
    place = shown.index(f"  upload   https://root:********@localhost:{index.server_port}/locked/root/")
    assert shown[place + 2] == "           this is root's login: give an application a user of its own"
    assert sum("root's login" in line for line in shown) == 1
    assert logins(index, begin) == {"", "reader", "uploader", "root"}


def test_every_url_of_a_devpi_is_shown(run: Run, index: TlsIndex) -> None:
    port = index.server_port
    shown = run.message("Show the URLs", "team").splitlines()
    assert shown[:3] == [
        "team (devpi), asked from second",
        "locked/dev",
        f"  install  https://localhost:{port}/locked/dev/+simple/",
    ]
    assert f"  upload   https://uploader:********@localhost:{port}/locked/dev/" in shown
    assert run.stats["team"]["failures"] == 0


def test_what_does_not_work_is_said_and_fails(run: Run) -> None:
    assert run.code != 0
    drifted = run.message("Require that every URL works", "drifted")
    assert "/open/simple/: lets in whoever asks, but by the inventory it has to ask for a login" in drifted
    assert "DOES NOT WORK: lets in whoever asks" in run.message("Show the URLs", "drifted")
    assert "the server behind nginx does not answer" in run.message("Require that every URL works", "stopped")
    assert all(stats["changed"] == 0 for stats in run.stats.values())


def test_no_password_is_shown_unless_asked_for(run: Run, index: TlsIndex, folder: Path) -> None:
    for secret in (*PASSWORDS.values(), ENCODED, ROOTS):
        assert secret not in run.said
    told = Run(hosts(index.server_port, folder), folder, "--limit=private", "--extra-vars=show_urls_passwords=true")
    assert told.code == 0
    url = f"https://reader:{ENCODED}@localhost:{index.server_port}/locked/simple/"
    assert f"  install  {url}" in told.message("Show the URLs", "private").splitlines()


def test_a_fleet_without_clients_is_asked_from_the_controller(index: TlsIndex, folder: Path) -> None:
    inventory = hosts(index.server_port, folder)
    del inventory["clients"]
    alone = Run(inventory, folder, "--limit=private")
    assert alone.code == 0
    assert "private (pypiserver), asked from localhost" in alone.message("Show the URLs", "private")
    unknown = Run(inventory, folder, "--limit=private", "--extra-vars=show_urls_from=tean")
    assert unknown.code != 0
    message = unknown.message("Require a host to ask from", "private")
    assert 'show_urls_from "tean" is no host of this inventory. Did you mean team?' in message


def test_a_certificate_that_is_not_the_fleets(index: TlsIndex, folder: Path, tmp_path: Path) -> None:
    inventory = hosts(index.server_port, folder)
    (tmp_path / "other.crt").write_text(authority_and_certificate(tmp_path, "localhost")[0])
    inventory["all"]["vars"]["tls_ca_certificate_file"] = str(tmp_path / "other.crt")
    other = Run(inventory, folder, "--limit=private")
    assert other.code != 0
    assert "no answer: DOES NOT WORK: the certificate of localhost is not to be trusted" in other.message(
        "Show the URLs", "private"
    )
