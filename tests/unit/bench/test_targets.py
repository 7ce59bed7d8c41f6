"""The targets are whole: lock files, nginx configurations, ports, works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.peers.host import prepare, services
from tests.bench.peers.host.targets import PORTS, deployed_devpi, deployed_pypiserver, peers
from tests.bench.peers.report import ORDER

HOST = Path(prepare.__file__).parent
VALUES = {
    "account": "pyindex-bench",
    "certificate": "/etc/index.crt",
    "certificate_key": "/etc/index.key",
    "data": "/var/lib/bench/data/2000",
    "htpasswd": "/etc/nginx/readers",
    "server_name": "index.test",
    "tls": "ssl_protocols TLSv1.3;",
    "venvs": "/var/lib/bench/venvs",
}
LOGIN = {"Authorization": "Basic eDp5"}
PEERS = peers("index.test", LOGIN, LOGIN, LOGIN, 2000)
TARGETS = [
    *PEERS,
    deployed_pypiserver("https://index.test/simple/", "https://index.test/", LOGIN, LOGIN),
    deployed_devpi("https://devpi.test/", LOGIN, 2000),
]


def test_every_target_has_its_place_in_the_report() -> None:
    assert sorted(target.key for target in TARGETS) == sorted(ORDER)


def test_every_port_is_used_by_one() -> None:
    ports = list(vars(PORTS).values())
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("name", sorted({"clients", "packages", *(t.requirements for t in PEERS if t.requirements)}))
def test_requirements_are_locked_with_hashes(name: str) -> None:
    lock = (HOST / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    wanted = (HOST / "requirements" / f"{name}.in").read_text(encoding="utf-8")
    locked = re.findall(r"^([\w.-]+)==\S+ .*\\\n    --hash=sha256:", lock, re.MULTILINE)
    assert set(re.findall(r"^([\w-]+)", wanted, re.MULTILINE)) <= set(locked)
    assert len(locked) == lock.count("==") - len(re.findall(r"^ .*==|;.*==", lock, re.MULTILINE))


def test_configurations_are_filled_in(tmp_path: Path) -> None:
    prepare.configurations(tmp_path, PEERS, {**VALUES, "state": str(tmp_path)})
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert written.keys() == {"limit.conf", "pypiserver.conf", "devpi.conf"}
    assert "ssl_protocols TLSv1.3;" in written["limit.conf"]
    assert not [name for name, text in written.items() if "@" in text]


def test_units_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.peers.host.services.UNITS", tmp_path)
    for target in PEERS:
        for service in target.services:
            service.write(tmp_path, {**VALUES, "state": str(tmp_path)})
    assert not [path.name for path in tmp_path.iterdir() if re.search(r"\{\w+\}", path.read_text(encoding="utf-8"))]


def test_deployed_services_are_found_whatever_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    units = {
        "bench-limit.service": "/run/systemd/system/bench-limit.service",
        "dbus.service": "/usr/lib/systemd/system/dbus.service",
        "nginx.service": "/lib/systemd/system/nginx.service",
        "some-verifier.service": "/etc/systemd/system/some-verifier.service",
    }

    def systemctl(verb: str, *_arguments: str) -> str:
        if verb == "list-units":
            return "".join(f"{unit} loaded active running Something\n" for unit in units)
        return "\n".join(f"Id={unit}\nFragmentPath={path}\n" for unit, path in units.items())

    monkeypatch.setattr("tests.bench.peers.host.services.systemctl", systemctl)
    assert services.deployed() == ["nginx.service", "some-verifier.service"]


def test_limit_has_the_tls_policy_of_the_deployed_sites(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "00-pyindex.conf").write_text(
        "ssl_protocols TLSv1.3;\nssl_session_tickets off;\nserver {\n    ssl_reject_handshake on;\n}\n"
    )
    (tmp_path / "conf.d" / "pyindex-pypiserver.conf").write_text(
        "server {\n    ssl_certificate /etc/a.crt;\n    ssl_certificate_key /etc/a.key;\n}\n"
    )
    assert prepare.tls_policy(tmp_path).split("\n    ") == ["ssl_protocols TLSv1.3;", "ssl_session_tickets off;"]
    assert prepare.certificate(tmp_path) == ("/etc/a.crt", "/etc/a.key")


def test_host_without_a_deployed_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(prepare.PrepareError, match=r"site\.yml"):
        prepare.certificate(tmp_path)
