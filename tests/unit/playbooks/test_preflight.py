"""Bad inventories: `deploy_index.yml` says what to write instead, before anything is changed.

One run of the real playbook over many hosts, all of them this machine and in check mode, each with
one thing wrong.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.unit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
NAME = "pypi.example.org"
SECRET = "s3cret-that-must-not-be-shown"
GOOD: dict[str, Any] = {
    "pypiserver_server_name": NAME,
    "pypiserver_http_port": 0,
    "tls_ca_passphrase": f"{SECRET}-passphrase",
    "firewall_provider": "none",
    "htpasswd_users": [{"name": "ann", "password": SECRET}],
}


DEVPI: dict[str, Any] = {
    "devpi_server_name": "devpi.example.org",
    "devpi_http_port": 0,
    "devpi_root_password": SECRET,
    "tls_ca_passphrase": f"{SECRET}-passphrase",
    "firewall_provider": "none",
}


def certificate(folder: Path, name: str, days: int = 9) -> dict[str, str]:
    """Make a certificate for *name*; return the variables that name it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .sign(key, SHA256())
    )
    files = {"tls_certificate_file": folder / "server.crt", "tls_key_file": folder / "server.key"}
    folder.mkdir()
    files["tls_certificate_file"].write_bytes(made.public_bytes(Encoding.PEM))
    files["tls_key_file"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {"tls_provider": "files", **{variable: str(path) for variable, path in files.items()}}


def users(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"htpasswd_users": list(listed)}


# What is wrong, and what has to be said of it
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no_name": ({"pypiserver_server_name": ""}, "Set it to the DNS name by which clients reach this index"),
    "no_bundle": (
        {"index_bundle": "/nowhere/bundle.tar"},
        "there is no bundle /nowhere/bundle.tar on the controller: make it with playbooks/build_bundle.yml",
    ),
    "bundle_somewhere": (
        {"index_bundle": "bundle.tar"},
        'the path of the bundle is "bundle.tar": it has to begin with a slash',
    ),
    "unknown_action": (
        {"pypiserver_protected_actions": ["upload"]},
        "Got no match for: upload",
    ),
    "misspelt_variable": ({"pypiserver_backend_threads": 4}, "pypiserver_threads"),
    "unknown_firewall": ({"firewall_provider": "iptables"}, "must be one of: auto, firewalld, ufw, nftables, none"),
    "unknown_tls_provider": ({"tls_provider": "acme"}, "must be one of: private_ca, files, got: acme"),
    "no_password": (users({"name": "ann"}), 'user "ann" has no password: set password'),
    "long_password": (users({"name": "ann", "password": SECRET * 3}), "bcrypt takes at most 72"),
    "user_twice": (users(*[{"name": "ann", "password": SECRET}] * 2), 'user "ann" is declared 2 times'),
    "unknown_right": (users({"name": "ann", "password": SECRET, "rights": ["admin"]}), 'unknown right "admin"'),
    "no_passphrase": ({"tls_ca_passphrase": None}, "tls_ca_passphrase is missing"),
    "short_passphrase": ({"tls_ca_passphrase": "short"}, "tls_ca_passphrase is too short"),
    "no_certificate": ({"tls_provider": "files"}, "tls_certificate_file is not set"),
    "bad_url_path": ({"pypiserver_url_path": "python/"}, 'pypiserver_url_path is "python/": it has to be'),
    "bad_firewall_rule": (
        {"firewall_rules": [{"name": "a b", "port": 1}]},
        'the rule "a b" (port 1) cannot be used',
    ),
}
# The engines of the machine that `run` makes
CONTAINER = {"pypiserver_runtime": "container", "pypiserver_removal": True}
CASES |= {
    "container_docker_stopped": (
        {**CONTAINER, "container_engine": "docker"},
        "is there and does not work: Cannot connect to the Docker daemon. Start its service",
    ),
    "container_without_quadlet": (
        {**CONTAINER, "container_engine": "quadlet"},
        "container_engine is quadlet, which podman version 4.3.1 does not have (it came with Podman 4.4)",
    ),
    "container_unknown_engine": (
        {**CONTAINER, "container_engine": "lxc"},
        "must be one of: auto, quadlet, podman, docker, got: lxc",
    ),
    "container_no_archive": (
        {**CONTAINER, "container_image_archive": "/nowhere/image.tar"},
        "container_image_archive is /nowhere/image.tar, and there is no such file on the controller: write one with",
    ),
    "container_removal": (
        {**CONTAINER, "pypiserver_removal": False},
        "the official image lets every uploader remove releases, and has no switch for that: set pypiserver_removal",
    ),
    "container_url_path": (
        {**CONTAINER, "pypiserver_url_path": "/python"},
        "the official image answers at the root only",
    ),
    "container_seed": ({**CONTAINER, "pypiserver_seed_requirements": ["x"]}, "the official image cannot be seeded"),
    "container_bundle_seed": (
        {
            **CONTAINER,
            "pypiserver_container_publishing": True,
            "pypiserver_pip_environment": {"PIP_NO_INDEX": "1"},
            "pypiserver_seed_requirements": ["x"],
        },
        "a server in a container cannot be seeded from a bundle: leave pypiserver_seed_requirements out",
    ),
    "user_of_another_number": (
        {"pypiserver_user": "daemon", "pypiserver_uid": 9898},
        "pypiserver_uid is 9898, and the user daemon is there with the number 1: leave pypiserver_uid out",
    ),
    "container_socket_of_another": (
        {**CONTAINER, "pypiserver_socket": "/run/systemd/pypiserver.sock"},
        "with a container it has to be in a folder of its own below /run",
    ),
    "container_socket": (
        {**CONTAINER, "pypiserver_socket": "/run/pypiserver.sock"},
        "with a container it has to be in a folder of its own below /run",
    ),
    "unknown_runtime": ({"pypiserver_runtime": "docker"}, "must be one of: venv, container, got: docker"),
    "open_uploads": (
        {"pypiserver_protected_actions": ["list"]},
        "so everybody could upload: put update into it or, if that is meant, set pypiserver_authentication to none",
    ),
    "half_open": (
        {"pypiserver_authentication": "none", "pypiserver_protected_actions": ["list"]},
        "pypiserver_authentication is none, but pypiserver_protected_actions is ['list']: leave one of them out",
    ),
}
CASES["no_firewall"] = (
    {"firewall_provider": "auto"},
    "runs no firewall. Set firewall_provider to firewalld, ufw or nftables to have that one installed and used",
)
DEVPI_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "devpi_no_name": ({"devpi_server_name": ""}, "has no devpi_server_name. Set it to the DNS name by which clients"),
    "devpi_no_password": ({"devpi_root_password": None}, "has no devpi_root_password. Set it to the password"),
    "devpi_short_password": ({"devpi_root_password": "short"}, "devpi_root_password has fewer than 8 characters"),
    "devpi_any_name": ({"devpi_server_name": "_"}, 'devpi_server_name is "_": it has to be the DNS name'),
    "devpi_replica": ({"devpi_role": "replica"}, "must be one of: primary, got: replica"),
    "devpi_both_webs": (
        {"devpi_plugins": ["devpi-web", "devpi-admin"]},
        "devpi_plugins has devpi-web and devpi-admin, which are two web interfaces",
    ),
    "devpi_unknown_plugin": ({"devpi_plugins": ["devpi-quota"]}, "Got no match for: devpi-quota"),
    "devpi_lockdown_without_web": ({"devpi_plugins": []}, "devpi_lockdown needs the login page of devpi-web"),
    "devpi_ldap_without_configuration": (
        {"devpi_plugins": ["devpi-web", "devpi-ldap"]},
        "set ldap-config in devpi_options to the path",
    ),
    "devpi_mirror_without_network": (
        {"devpi_network": False},
        "root/pypi needs the network: set devpi_root_pypi: false",
    ),
    "devpi_own_option": ({"devpi_options": {"threads": 4}}, "devpi_options cannot have threads: set devpi_threads"),
    "devpi_open_to_all": ({"devpi_options": {"restrict-modify": ""}}, "restrict-modify in devpi_options is empty"),
    "devpi_misspelt_variable": ({"devpi_lock_down": True}, "Did you mean devpi_lockdown?"),
    "devpi_same_ports": ({"devpi_http_port": 58443}, "devpi_http_port and devpi_https_port are both 58443"),
    "devpi_no_threads": ({"devpi_threads": 0}, "devpi_threads is 0: it has to be from 1 to 1000"),
    "devpi_root_folder": (
        {"devpi_server_dir": "/data"},
        'devpi_server_dir is "/data": it has to be an absolute path of',
    ),
    "devpi_bad_index": (
        {"devpi_default_index": "dev"},
        'devpi_default_index is "dev": it has to be the name of an index',
    ),
    "devpi_forbidden_user": ({"devpi_users": [{"name": "dev:ops"}]}, 'devpi forbids the user name "dev:ops"'),
    "devpi_misspelt_key": (
        {"devpi_indexes": [{"name": "root/dev", "volatil": False}]},
        "devpi_indexes[root/dev] has volatil, which is no option of it. Did you mean volatile?",
    ),
    "devpi_no_passphrase": ({"tls_ca_passphrase": None}, "tls_ca_passphrase is missing"),
}
# ... and those that need something made first
MADE = {
    "port_in_use": "is in use by",
    "key_of_another": "does not belong to the key: it was made for another one",
    "expired": "has expired on",
    "container_no_engine": "there is no container engine on this host: install Podman",
    "container_named_engine": "container_engine is docker, but there is no program docker on this host",
    "folder_of_another": "and the server runs as pypiserver. Name another folder in pypiserver_packages_dir",
    "other_name": f"is not for {NAME}: it is for other.example.org",
}


ENGINES = {
    "podman": "echo podman version 4.3.1",
    "docker": '[ "$1" = --version ] || { echo Cannot connect to the Docker daemon >&2; exit 1; }\necho Docker version 20.10.24',
}


def run(groups: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Run the playbook in check mode on hosts by *groups*; return the report of the JSON callback."""
    # A machine whose firewalls all stand still, whatever runs on this one
    still = folder / "bin" / "systemctl"
    still.parent.mkdir(exist_ok=True)
    still.write_text("#!/bin/sh\nexit 3\n")
    still.chmod(0o755)
    # ... that has Podman without Quadlet, and Docker whose service is stopped
    for name, text in ENGINES.items():
        (still.parent / name).write_text(f"#!/bin/sh\n{text}\n")
        (still.parent / name).chmod(0o755)
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({name: {"hosts": hosts} for name, hosts in groups.items()}))
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "--check",
            f"--inventory={path}",
            str(ROOT / "playbooks/deploy_index.yml"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_FORCE_COLOR": "0",
            "PATH": f"{still.parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert SECRET not in done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return report


def said(report: dict[str, Any], host: str) -> str:
    """Return what the failed tasks of *host* say."""
    results = [task["hosts"][host] for play in report["plays"] for task in play["tasks"] if host in task["hosts"]]
    failed = [result for result in results if result.get("failed")]
    return "\n".join(str(part) for result in failed for part in [result, *result.get("results", [])])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("preflight")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mismatch = certificate(folder / "one", NAME)
        mismatch["tls_key_file"] = certificate(folder / "two", NAME)["tls_key_file"]
        made = {
            "port_in_use": {"pypiserver_https_port": taken.getsockname()[1]},
            "key_of_another": mismatch,
            "expired": certificate(folder / "expired", NAME, days=-1),
            "other_name": certificate(folder / "other", "other.example.org"),
        }
        # A machine without any engine
        bare = folder / "python"
        bare.write_text(f'#!/bin/sh\nPATH={folder}/empty exec {sys.executable} "$@"\n')
        bare.chmod(0o755)
        made["container_no_engine"] = {**CONTAINER, "ansible_python_interpreter": str(bare)}
        made["container_named_engine"] = {**made["container_no_engine"], "container_engine": "docker"}
        packages = folder / "packages"
        packages.mkdir()
        made["folder_of_another"] = {"pypiserver_packages_dir": str(packages)}
        if os.geteuid() == 0:
            # Of the official image's user; else it is of whoever runs this
            os.chown(packages, 9898, 9898)
        faults = {**{name: fault for name, (fault, _words) in CASES.items()}, **made}
        # A port that nothing listens on, so that the taken one is the only fault
        free = {"pypiserver_https_port": 58443}
        devpi_free = {"devpi_https_port": 58443}
        reports = [
            # Ansible leaves out a play when all hosts of the one before it have failed
            run({group: {name: {**LOCAL, **values} for name, values in hosts.items()}}, folder)
            for group, hosts in {
                "pypiserver": {name: {**GOOD, **free, **fault} for name, fault in faults.items()},
                "devpi_primary": {
                    name: {**DEVPI, **devpi_free, **fault} for name, (fault, _words) in DEVPI_CASES.items()
                },
            }.items()
        ]
        yield {
            "plays": [play for report in reports for play in report["plays"]],
            "stats": {host: stats for report in reports for host, stats in report["stats"].items()},
        }


@pytest.mark.parametrize(
    ("host", "words"),
    [*((name, words) for name, (_fault, words) in (CASES | DEVPI_CASES).items()), *MADE.items()],
)
def test_the_fault_is_named_and_nothing_is_changed(report: dict[str, Any], host: str, words: str) -> None:
    assert words in said(report, host)
    stats = report["stats"][host]
    assert (stats["changed"], stats["failures"], stats["unreachable"]) == (0, 1, 0)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"pypiserver": {"good": GOOD}, "index": {"good": {}, "stray": {}}}, "No backend is known for stray"),
        (
            {"pypiserver": {"good": GOOD, "two": GOOD}, "devpi_primary": {"two": DEVPI}},
            "two cannot have more than one backend",
        ),
    ],
    ids=["no_backend", "two_backends"],
)
def test_every_index_host_has_one_backend(
    groups: dict[str, dict[str, dict[str, Any]]], words: str, tmp_path: Path
) -> None:
    local = {group: {host: {**LOCAL, **values} for host, values in hosts.items()} for group, hosts in groups.items()}
    found = run(local, tmp_path)
    assert words in said(found, "good")
    assert {stats["changed"] for stats in found["stats"].values()} == {0}
