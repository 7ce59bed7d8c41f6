"""pypiserver in a container: what it may, what answers from elsewhere, and the way there and back."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from .distributions import Project, wheel
from .fleet import Fleet, ansible
from .indexes import Pypiserver
from .kinds import CONTAINER
from .shelf import publish, publisher
from .test_ports import declared, scan, ssh, tolerated
from .web import Request, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = CONTAINER

SERVICES = ("pypiserver", "pypiserver-watch")
SOCKETS = ("pypiserver.socket",)
# Where units are, whoever wrote them
UNITS = ("/etc/systemd/system", "/etc/containers/systemd", "/etc/pyindex/containers")


def engine(index: Pypiserver) -> str:
    """The program that runs the containers: what the role has recorded."""
    recorded = json.loads(index.machine.check("cat", "/etc/pyindex/containers/pypiserver.json"))
    return "docker" if recorded["engine"] == "docker" else "podman"


def services(index: Pypiserver) -> tuple[str, ...]:
    return SERVICES if index["pypiserver_container_publishing"] else SERVICES[:1]


def inspect(index: Pypiserver, service: str) -> dict[str, Any]:
    (found,) = json.loads(index.machine.check(engine(index), "container", "inspect", service))
    return dict(found)


def numbers(index: Pypiserver) -> str:
    """UID:GID of the server's user on the host."""
    user = str(index.own("user"))
    return ":".join(index.machine.check("id", option, user).strip() for option in ("-u", "-g"))


def test_containers_publish_nothing_and_have_no_network(index: Pypiserver) -> None:
    for service in services(index):
        found = inspect(index, service)
        assert found["HostConfig"]["NetworkMode"] == "none"
        assert not found["HostConfig"]["PortBindings"]
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert not found["HostConfig"]["Privileged"]


def test_servers_are_a_user_of_the_host_without_any_right(index: Pypiserver) -> None:
    for service in services(index):
        pid = str(inspect(index, service)["State"]["Pid"])
        status = index.machine.check("cat", f"/proc/{pid}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert ":".join(fields[key].split()[0] for key in ("Uid", "Gid")) == numbers(index)
        assert (int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"]) == (0, 0, "1")
        # lo alone
        assert len(index.machine.check("cat", f"/proc/{pid}/net/dev").splitlines()) == 3


def test_the_socket_is_for_the_front_alone(index: Pypiserver) -> None:
    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    connect = ("python3", "-c", program, str(index.own("socket")))
    assert "Permission" in index.machine.run("runuser", "-u", "nobody", "--", *connect).err
    assert index.machine.run("runuser", "-u", str(index["nginx_user"]), "--", *connect).code == 0


def test_engines_open_nothing_to_other_hosts(index: Pypiserver) -> None:
    """Docker and netavark write rules that go before a firewall's: seen from another host, nothing more is open."""
    assert scan(index) <= declared(index) | ssh(index) | tolerated(index)


def test_the_journal_has_what_the_server_says(index: Pypiserver, published: Project) -> None:
    shown = index.machine.check("journalctl", "--unit", "pypiserver.service", "--no-pager", "--output=cat")
    assert f"stored {published.files[0].name}" in shown


def running(index: Pypiserver, service: str) -> int:
    """The process of a container; 0 while there is none."""
    found = index.machine.run(engine(index), "container", "inspect", "--format", "{{.State.Pid}}", service)
    return int(found.out) if found.code == 0 else 0


def answers(index: Pypiserver) -> bool:
    """Whether the server itself does: pages come from disk, also without it."""
    return ask(index.vantages[0], index, [Request("/health")])[0].status == 200


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.mark.disruptive
@pytest.mark.place(1)
@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_container_comes_back(index: Pypiserver, service: str, run_id: str) -> None:
    if service not in services(index):
        pytest.skip("the official image has no watch")
    before = inspect(index, service)["State"]["Pid"]
    index.machine.check("kill", "-KILL", str(before))
    wait_until(lambda: running(index, service) not in {0, before})
    wait_until(lambda: answers(index))
    publish(index, wheel(f"pyindex-acceptance-{run_id}-killed-{service}", "1.0"))


@dataclass(frozen=True)
class State:
    """What is to be seen of an index: its files with digests, their owners and modes, what a user is answered."""

    files: dict[str, str]
    owners: str
    answers: list[tuple[int, str]]
    units: set[str]
    container: bool

    @classmethod
    def of(cls, index: Pypiserver, files: Sequence[str], container_engine: str) -> State:
        targets = ["/simple/", *(f"/packages/{name}" for name in files)]
        requests = [Request(target, user=publisher(index)) for target in targets]
        return cls(
            files=index.published("*.whl"),
            owners=index.machine.check("find", index.packages, "-name", "*.whl", "-printf", "%p %u %g %m\n"),
            answers=[(answer.status, answer.sha256) for answer in ask(index.vantages[0], index, requests)],
            units=set(
                index.machine.run("find", *UNITS, "-name", "pypiserver*", "-not", "-path", "*.wants/*").out.split()
            ),
            container=index.machine.run(container_engine, "container", "inspect", "pypiserver").code == 0,
        )


@pytest.fixture(scope="session")
def journey(fleet: Fleet, run_id: str) -> dict[str, list[State]]:
    """The states of each index: in a container, in a virtual environment, in a container again. Each takes an upload."""
    indexes = {
        index.machine.name: index for index in fleet.indexes if isinstance(index, Pypiserver) and index.container
    }
    engines = {name: engine(index) for name, index in indexes.items()}
    project = f"pyindex-acceptance-{run_id}-moved"
    file = wheel(project, "1.0")
    for index in indexes.values():
        publish(index, file)
    states = {name: [State.of(index, [file[0]], engines[name])] for name, index in indexes.items()}
    for runtime in ("venv", "container"):
        done = ansible(
            fleet.inventory,
            "ansible-playbook",
            f"--limit={','.join(indexes)}",
            "--tags=server",
            f"--extra-vars=pypiserver_runtime={runtime}",
            "playbooks/deploy_index.yml",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name, index in indexes.items():
            states[name].append(State.of(index, [file[0]], engines[name]))
            publish(index, wheel(f"{project}-{runtime}", "1.0"))
            discard(index, f"{project}-{runtime}")
    return states


def discard(index: Pypiserver, project: str) -> None:
    """Remove a project's files, and wait until the watch has taken them out of the pages."""
    page = f"{index['pypiserver_pages_dir']}/simple/_list.html"
    index.discard(project)
    wait_until(lambda: project not in index.machine.check("cat", page))


@pytest.mark.disruptive
@pytest.mark.place(2)
def test_there_and_back_keeps_packages_and_users(index: Pypiserver, journey: dict[str, list[State]]) -> None:
    """A container, a virtual environment, a container again: the same files, owners and passwords; one runtime at a time."""
    before, venv, after = journey[index.machine.name]
    assert before.files
    assert {status for status, _digest in before.answers} == {200}
    assert after == before
    assert replace(venv, units=before.units, container=True) == before
    assert not venv.container
    assert venv.units == {
        f"/etc/systemd/system/{unit}" for unit in (*SOCKETS, *(f"{name}.service" for name in SERVICES))
    }
