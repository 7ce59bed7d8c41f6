"""Units are started so that none is asked for what the one before it cannot give yet."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.peers.host import prepare, reading, services
from tests.bench.peers.host.bench import QUICK, Bench
from tests.bench.peers.host.dataset import Dataset
from tests.bench.peers.host.services import Service
from tests.bench.peers.host.targets import Filling, Target, peers
from tests.unit.nginx.front import free_ports


class System:
    """Stands for systemd: the backend takes connections a while after its start, or never."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.said: list[str] = []
        self.running: set[str] = set()
        self.dead = False
        self._listener = socket.socket()
        self._threads: list[threading.Thread] = []

    def systemctl(self, verb: str, *arguments: str) -> str:
        units = [argument for argument in arguments if not argument.startswith("--")]
        self.said += [f"{verb} {unit}" for unit in units]
        new = set(units) - self.running
        if verb == "start" and not self.dead:
            self.running |= new
            if "bench-backend.service" in new:
                self._threads.append(threading.Thread(target=self._listen))
                self._threads[-1].start()
        elif verb == "stop":
            self.running -= set(units)
        return ""

    def _listen(self) -> None:
        time.sleep(0.2)
        self.said.append("backend listens")
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()

    def active(self, unit: str) -> bool:
        return unit in self.running

    def end(self) -> None:
        for thread in self._threads:
            thread.join()
        self._listener.close()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[System]:
    system = System(free_ports(1)[0])
    monkeypatch.setattr(services, "systemctl", system.systemctl)
    monkeypatch.setattr(services, "active", system.active)
    monkeypatch.setattr(services, "UNITS", tmp_path / "units")
    yield system
    system.end()


@pytest.fixture
def target(system: System) -> Target:
    parts = (Service("backend", "true", port=system.port), Service("front", "true"))
    return Target("peer", "peer", "http://127.0.0.1/simple/", filling=Filling.UPLOADS, services=parts)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(QUICK, Dataset(tmp_path, 2000), tmp_path, tmp_path, tmp_path, tmp_path)


ENDS_WELL = ["backend listens", "start bench-front.service"]


def test_front_starts_when_its_backend_takes_connections(
    bench: Bench, target: Target, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "wait", lambda *_about, **_more: None)
    system.running = {service.unit for service in target.services}
    assert reading.start(bench, target)["seconds"] >= 0.2
    assert system.said[:2] == ["stop bench-backend.service", "stop bench-front.service"]
    assert system.said[-2:] == ENDS_WELL


def test_front_of_an_earlier_number_of_files_is_started_anew(
    bench: Bench, target: Target, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "tidy", lambda _data: None)
    monkeypatch.setattr("shutil.chown", lambda *_about: None)
    system.running = {service.unit for service in target.services}
    assert prepare.start(bench, [target], {"state": str(bench.folder)}) == {}
    assert "stop bench-front.service" in system.said
    assert system.said.index("stop bench-front.service") < system.said.index("backend listens")
    assert system.said[-2:] == ENDS_WELL


def test_backend_that_has_ended_is_not_waited_for(target: Target, system: System) -> None:
    system.dead = True
    before = time.monotonic()
    services.start_in_turn(target.services, 60)
    assert time.monotonic() - before < 5
    assert system.said[-1] == "start bench-front.service"


def test_peers_say_where_what_stands_behind_another_service_takes_connections() -> None:
    found = peers("index.test", {}, {}, {}, 2000)
    behind = [service for target in found for service in target.services[:-1]]
    assert {service.name for service in behind} == {"gunicorn", "devpi"}
    assert all(service.port and str(service.port) in service.command for service in behind)
