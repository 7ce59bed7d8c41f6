"""pypiserver in a container: what it may, what answers from elsewhere, and the way there and back."""

from __future__ import annotations

import json
import time
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
    from collections.abc import Callable

pytestmark = CONTAINER

SERVICES = ("pypiserver", "pypiserver-watch")


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
    return ask(index.vantages[0], index, [Request(f"{index.url_path}/health")])[0].status == 200


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


def deploy(fleet: Fleet, index: Pypiserver, runtime: str) -> None:
    done = ansible(
        fleet.inventory,
        "ansible-playbook",
        f"--limit={index.machine.name}",
        "--tags=nginx,server",
        f"--extra-vars=pypiserver_runtime={runtime}",
        "playbooks/deploy_index.yml",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def units(index: Pypiserver) -> set[str]:
    """Files of units of the server on the host, whoever wrote them."""
    places = ("/etc/systemd/system", "/etc/containers/systemd", "/etc/pyindex/containers")
    found = index.machine.run("find", *places, "-name", "pypiserver*", "-not", "-path", "*.wants/*")
    return set(found.out.split())


@pytest.mark.disruptive
@pytest.mark.place(2)
def test_there_and_back_keeps_packages_and_users(fleet: Fleet, index: Pypiserver, published: Project) -> None:
    """A container, a virtual environment, a container again: the same files, owners and passwords; one runtime at a time."""
    owners = ("find", index.packages, "-type", "f", "-not", "-path", "*/.*", "-printf", "%p %u %g %m\n")
    files, owned, there = index.published("*-1.0*"), index.machine.check(*owners), units(index)
    assert {path.name for path in published.files} <= set(files)
    targets = ["/simple/", f"/simple/{published.name}/", *(f"/packages/{path.name}" for path in published.files)]
    requests = [Request(target, user=publisher(index)) for target in targets]
    before = [(answer.status, answer.sha256) for answer in ask(index.vantages[0], index, requests)]
    assert {status for status, _digest in before} == {200}
    for runtime in ("venv", "container"):
        deploy(fleet, index, runtime)
        assert index.published("*-1.0*") == files
        assert index.machine.check(*owners) == owned
        assert [(answer.status, answer.sha256) for answer in ask(index.vantages[0], index, requests)] == before
        publish(index, wheel(f"{published.name}-after-{runtime}", "1.0"))
        index.discard(f"{published.name}-after-{runtime}")
        if runtime == "venv":
            assert not units(index) & there - {
                "/etc/systemd/system/pypiserver.service",
                "/etc/systemd/system/pypiserver-watch.service",
            }
            assert index.machine.run(engine_of(there), "container", "inspect", "pypiserver").code != 0
    assert units(index) == there


def engine_of(there: set[str]) -> str:
    return "docker" if any(path.endswith(".compose.json") for path in there) else "podman"
