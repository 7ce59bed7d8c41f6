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

NAME = "pypi.example.org"
SECRET = "s3cret-that-must-not-be-shown"
GOOD: dict[str, Any] = {
    "pypiserver_server_name": NAME,
    "pypiserver_http_port": 0,
    "tls_ca_passphrase": f"{SECRET}-passphrase",
    "firewall_provider": "none",
    "htpasswd_users": [{"name": "ann", "password": SECRET}],
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
CASES["no_firewall"] = (
    {"firewall_provider": "auto"},
    "runs no firewall. Set firewall_provider to firewalld, ufw or nftables to have that one installed and used",
)
# ... and those that need something made first
MADE = {
    "port_in_use": "is in use by",
    "key_of_another": "does not belong to the key: it was made for another one",
    "expired": "has expired on",
    "other_name": f"is not for {NAME}: it is for other.example.org",
}


def run(inventory: dict[str, Any], folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the playbook in check mode; return the report of the JSON callback."""
    # A machine whose firewalls all stand still, whatever runs on this one
    still = folder / "bin" / "systemctl"
    still.parent.mkdir(exist_ok=True)
    still.write_text("#!/bin/sh\nexit 3\n")
    still.chmod(0o755)
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"pypiserver": {"hosts": inventory}}))
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "--check",
            f"--inventory={path}",
            *arguments,
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
        faults = {**{name: fault for name, (fault, _words) in CASES.items()}, **made}
        local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
        # A port that nothing listens on, so that the taken one is the only fault
        free = {"pypiserver_https_port": 58443}
        yield run({name: {**local, **GOOD, **free, **fault} for name, fault in faults.items()}, folder)


@pytest.mark.parametrize(
    ("host", "words"), [*((name, words) for name, (_fault, words) in CASES.items()), *MADE.items()]
)
def test_the_fault_is_named_and_nothing_is_changed(report: dict[str, Any], host: str, words: str) -> None:
    assert words in said(report, host)
    stats = report["stats"][host]
    assert (stats["changed"], stats["failures"], stats["unreachable"]) == (0, 1, 0)


def test_a_host_without_a_known_backend(tmp_path: Path) -> None:
    inventory = tmp_path / "more.yml"
    inventory.write_text(yaml.safe_dump({"index": {"hosts": {"stray": None}, "children": {"pypiserver": None}}}))
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    found = run({"good": {**local, **GOOD}}, tmp_path, f"--inventory={inventory}")
    assert "No backend is known for stray" in said(found, "good")
    assert found["stats"]["good"]["changed"] == 0
