"""What a client is told of its index: the playbooks resolve it for both backends, and name what is wrong.

One run of the real playbook over many clients, all of them this machine and in check mode, without any index host.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.repository import ROOT

SECRET = "s3cret-that-must-not-be-shown"
ME = pwd.getpwuid(os.geteuid()).pw_name
LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
DEVPI: dict[str, Any] = {
    "devpi_server_name": "devpi.example.org",
    "devpi_indexes": [{"name": "devuser/staging"}, {"name": "devuser/dev"}],
    "devpi_default_index": "devuser/dev",
}
INDEXES: dict[str, dict[str, dict[str, Any]]] = {
    "pypiserver": {
        "pypi1": {"pypiserver_server_name": "pypi.example.org", "pypiserver_https_port": 8443},
        "nameless": {},
    },
    "devpi_primary": {
        "devpi1": DEVPI,
        "devpi2": {**DEVPI, "devpi_https_port": 8443, "devpi_upload_index": "devuser/staging"},
        "no_default": {"devpi_server_name": "devpi.example.org", "devpi_indexes": DEVPI["devpi_indexes"]},
        "misspelt": {**DEVPI, "devpi_default_index": "devuser/dve"},
        "misspelt_upload": {**DEVPI, "devpi_upload_index": "devuser/stagign"},
        "no_mirror": {**DEVPI, "devpi_root_pypi": False, "devpi_default_index": "root/pypi"},
    },
    "devpi_replica": {"replica": {**DEVPI, "devpi_server_name": "replica.example.org"}},
}

# The index of a client, and what it installs from, uploads to and configures
GOOD: dict[str, tuple[dict[str, Any], str, str, bool]] = {
    "by_default": ({}, "https://pypi.example.org:8443/simple/", "https://pypi.example.org:8443/", False),
    "of_devpi": (
        {"client_index_host": "devpi1"},
        "https://devpi.example.org/devuser/dev/+simple/",
        "https://devpi.example.org/devuser/dev/",
        True,
    ),
    "uploads_elsewhere": (
        {"client_index_host": "devpi2"},
        "https://devpi.example.org:8443/devuser/dev/+simple/",
        "https://devpi.example.org:8443/devuser/staging/",
        True,
    ),
    "of_replica": (
        {"client_index_host": "replica"},
        "https://replica.example.org/devuser/dev/+simple/",
        "https://replica.example.org/devuser/dev/",
        True,
    ),
    "own_url": (
        {"client_index_host": "devpi1", "pip_client_index_url": "https://else.example.org/simple/"},
        "https://else.example.org/simple/",
        "https://devpi.example.org/devuser/dev/",
        False,
    ),
    "own_tools": (
        {"client_index_host": "devpi1", "pip_client_tools": ["pip"]},
        "https://devpi.example.org/devuser/dev/+simple/",
        "https://devpi.example.org/devuser/dev/",
        False,
    ),
}
SHARED = {"username": "reader", "password": SECRET, "group": grp.getgrgid(os.getegid()).gr_name}
HOME = pwd.getpwnam(ME).pw_dir
# The levels and the credentials of a client, and the files that come of them: their modes, and how much of a login
# stands in the URL of the index there
LEVELS: dict[str, tuple[dict[str, Any], dict[str, tuple[str, str]]]] = {
    "everybody": (
        {"pip_client_levels": ["global", "global_xdg"], "pip_client_xdg_config_dir": "/etc/xdg-of-the-test"},
        {
            "/etc/pip.conf": ("0644", ""),
            "/etc/xdg-of-the-test/pip/pip.conf": ("0644", ""),
            "/etc/uv/uv.toml": ("0644", ""),
            "/etc/xdg-of-the-test/uv/uv.toml": ("0644", ""),
            f"{HOME}/.netrc": ("0600", ""),
        },
    ),
    "everybody_by_url": (
        {
            "pip_client_levels": ["global", "global_xdg"],
            "pip_client_xdg_config_dir": "/etc/xdg-of-the-test",
            "pip_client_credentials": "url",
            "pip_client_shared_login": SHARED,
        },
        {
            "/etc/pip.conf": ("0640", "********@"),
            "/etc/xdg-of-the-test/pip/pip.conf": ("0640", "********@"),
            "/etc/uv/uv.toml": ("0644", ""),
            "/etc/xdg-of-the-test/uv/uv.toml": ("0644", ""),
        },
    ),
    "users_by_url": (
        {"pip_client_levels": ["user", "user_legacy"], "pip_client_credentials": "url"},
        {
            f"{HOME}/.config/pip/pip.conf": ("0600", "********@"),
            f"{HOME}/.pip/pip.conf": ("0600", "********@"),
            f"{HOME}/.config/uv/uv.toml": ("0600", "********@"),
        },
    ),
    "users_by_keyring": (
        {
            "pip_client_levels": ["user"],
            "pip_client_credentials": "keyring",
            "pip_client_keyring_packages": [],
        },
        {
            f"{HOME}/.config/pip/pip.conf": ("0644", "********@"),
            f"{HOME}/.config/uv/uv.toml": ("0644", "********@"),
            f"{HOME}/.config/python_keyring/keyringrc.cfg": ("0644", ""),
            f"{HOME}/.local/share/python_keyring/keyring_pass.cfg": ("0600", ""),
        },
    ),
    # devpi's own client knows the netrc only
    "users_of_devpi_by_url": (
        {
            "client_index_host": "devpi1",
            "pip_client_levels": ["user"],
            "pip_client_credentials": "url",
            "pip_client_tools": ["pip", "devpi"],
        },
        {
            f"{HOME}/.config/pip/pip.conf": ("0600", "********@"),
            f"{HOME}/.netrc": ("0600", ""),
            f"{HOME}/.devpi/client/current.json": ("0600", ""),
            f"{HOME}/.devpi/client/auth.json": ("0600", ""),
            "/etc/profile.d/pyindex-devpi.sh": ("0644", ""),
        },
    ),
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "url_for_everybody": (
        {"pip_client_credentials": "url", "pip_client_levels": ["global", "user"]},
        "With pip_client_credentials: url the level global needs one login for all who use it",
    ),
    "shared_for_nobody": (
        {"pip_client_shared_login": {"username": "reader", "password": SECRET}},
        "pip_client_shared_login has an effect only with pip_client_credentials: url",
    ),
    "keyring_of_everybody": (
        {"pip_client_credentials": "keyring", "pip_client_levels": ["user", "global_xdg"]},
        "A keyring belongs to one user",
    ),
    "no_folder": ({"pip_client_xdg_config_dir": "etc/xdg/"}, "pip_client_xdg_config_dir is an absolute path"),
    "unknown_host": (
        {"client_index_host": "devpi11"},
        'its client_index_host "devpi11" is no host of this inventory. Did you mean devpi1?',
    ),
    "no_index": ({"client_index_host": "by_default"}, "is by_default, which is no index: it is in none of the groups"),
    "nameless_index": ({"client_index_host": "nameless"}, "has no pypiserver_server_name"),
    "no_default_index": (
        {"client_index_host": "no_default"},
        "is missing. Name one of those in devpi_indexes: devuser/staging, devuser/dev, root/pypi.",
    ),
    "misspelt_index": (
        {"client_index_host": "misspelt"},
        'of misspelt, the index of misspelt_index, is "devuser/dve", which is not declared. Did you mean devuser/dev?',
    ),
    "misspelt_upload_index": ({"client_index_host": "misspelt_upload"}, "Did you mean devuser/staging?"),
    "mirror_that_is_not": ({"client_index_host": "no_mirror"}, '"root/pypi", which is not declared'),
    "devpi_without_devpi": (
        {"client_index_host": "pypi1", "pip_client_tools": ["devpi"]},
        "devpi in pip_client_tools needs the URLs of a devpi index",
    ),
}


def run(inventory: dict[str, Any], folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the playbook in check mode; return the report of the JSON callback."""
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(inventory, sort_keys=False))
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "--check",
            "--diff",
            f"--inventory={path}",
            *arguments,
            str(ROOT / "playbooks/configure_clients.yml"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert SECRET not in done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return report


def results(report: dict[str, Any], host: str) -> list[dict[str, Any]]:
    return [task["hosts"][host] for play in report["plays"] for task in play["tasks"] if host in task["hosts"]]


def said(report: dict[str, Any], host: str) -> str:
    """Return what the failed tasks of *host* say."""
    failed = [result for result in results(report, host) if result.get("failed")]
    return "\n".join(str(part) for result in failed for part in [result, *result.get("results", [])])


def written(report: dict[str, Any], host: str) -> dict[str, str]:
    """Return the files that would be written on *host*, by name."""
    differences = next(result["diff"] for result in results(report, host) if "missing_commands" in result)
    return {Path(each["after_header"].split(" ")[0]).name: each["after"] for each in differences}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resolution")


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    users = [{"name": ME, "username": "devuser", "password": SECRET, "upload": True}]
    clients = {name: case[0] for name, case in [*GOOD.items(), *LEVELS.items(), *BAD.items()]}
    inventory: dict[str, Any] = {group: {"hosts": hosts} for group, hosts in INDEXES.items()}
    inventory["clients"] = {"hosts": clients, "vars": {"pip_client_users": users}}
    # Nothing of the index hosts but what the inventory says: they are not there
    inventory["all"] = {"vars": {**LOCAL, "tls_provider": "files"}}
    return run(inventory, folder, "--limit=clients")


@pytest.mark.parametrize("host", GOOD)
def test_the_index_of_a_client(report: dict[str, Any], host: str) -> None:
    _variables, index_url, upload_url, devpi = GOOD[host]
    files = written(report, host)
    assert f"index-url = {index_url}\n" in files["pip.conf"]
    if host != "own_tools":
        assert f'publish-url = "{upload_url}"\n' in files["uv.toml"]
        assert f"repository = {upload_url}\n" in files[".pypirc"]
    assert ("current.json" in files) == ("pyindex-devpi.sh" in files) == devpi
    if devpi:
        assert json.loads(files["current.json"])["pypisubmit"] == upload_url
    assert report["stats"][host]["failures"] == 0


@pytest.mark.parametrize("host", LEVELS)
def test_the_files_of_levels_and_credentials(report: dict[str, Any], host: str) -> None:
    differences = next(result["diff"] for result in results(report, host) if "missing_commands" in result)
    found = {}
    for each in differences:
        path, _between, mode = each["after_header"].removesuffix(")").partition(" (mode ")
        login = re.search(r"^(?:index-url = |url = \")https?://([^/]*@)", each["after"], re.MULTILINE)
        found[path] = (mode, login[1] if login else "")
    assert {path: what for path, what in found.items() if not path.endswith(".pypirc")} == LEVELS[host][1]
    assert report["stats"][host]["failures"] == 0


@pytest.mark.parametrize("host", BAD)
def test_a_fault_is_named_and_nothing_is_changed(report: dict[str, Any], host: str) -> None:
    assert BAD[host][1] in said(report, host)
    stats = report["stats"][host]
    assert (stats["changed"], stats["failures"], stats["unreachable"]) == (0, 1, 0)


def test_a_fleet_of_devpi_alone(folder: Path) -> None:
    inventory = {
        "index": {"children": {"devpi_primary": {"hosts": {"devpi1": DEVPI}}}},
        "clients": {"hosts": {"client": None}},
        "all": {"vars": {**LOCAL, "tls_provider": "files"}},
    }
    files = written(run(inventory, folder, "--limit=client"), "client")
    assert "index-url = https://devpi.example.org/devuser/dev/+simple/\n" in files["pip.conf"]


def test_a_fleet_without_an_index(folder: Path) -> None:
    found = run({"clients": {"hosts": {"client": LOCAL}}}, folder)
    words = said(found, "client")
    assert "the inventory has no index for it" in words
    assert "Put a host into the group pypiserver or devpi_primary or devpi_replica" in words
