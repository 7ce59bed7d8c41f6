"""The services of an index host: they run, start at boot, and may do little."""

from __future__ import annotations

import re

import pytest

from .indexes import Index
from .kinds import SANDBOX


def test_units_run_and_start_at_boot(index: Index) -> None:
    """Each is active and enabled, or (a socket) brought up by a service that is, or (Quadlet's) made at boot."""
    for unit in (*index.units, "nginx.service"):
        text = index.machine.check("systemctl", "show", "--property=ActiveState,UnitFileState,Result", unit)
        state = dict(line.split("=", 1) for line in text.splitlines())
        assert state["ActiveState"] == "active", unit
        assert state["UnitFileState"] in (
            {"enabled", "static"} if unit.endswith(".socket") else {"enabled", "generated"}
        ), unit
        assert state["Result"] == "success", unit


@SANDBOX
@pytest.mark.parametrize("which", ["server", "nginx"])
def test_unit_is_sandboxed(index: Index, which: str) -> None:
    """systemd's own measure of what a broken-into service could reach (0 = nothing, 10 = everything)."""
    unit, limit = ("nginx.service", 4.0) if which == "nginx" else (index.units[0], index.exposure)
    # Its exit code is about a threshold of its own
    done = index.machine.run("systemd-analyze", "security", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.out)
    assert found, str(done)
    assert float(found[1]) <= limit


@SANDBOX
def test_server_runs_as_its_own_user(index: Index) -> None:
    """Not as root, not as the web server, and as somebody who cannot log in."""
    pids = index.machine.check("systemctl", "show", "--property=MainPID", "--value", index.units[0]).strip()
    owner = index.machine.check("ps", "-o", "user:32=", "-p", pids).strip()
    assert owner == index.own("user")
    assert owner not in {"root", index["nginx_user"]}
    account = index.machine.check("getent", "passwd", owner).strip()
    assert account.rsplit(":", 1)[1] in {"/usr/sbin/nologin", "/sbin/nologin", "/bin/false"}


@SANDBOX
def test_server_listens_on_its_socket_only(index: Index) -> None:
    """The server trusts nginx, so nothing else may reach it: no port, and no other user through the socket."""
    pids = index.machine.check("systemctl", "show", "--property=ControlGroup", "--value", index.units[0]).strip()
    members = index.machine.check("cat", f"/sys/fs/cgroup{pids}/cgroup.procs").split()
    listening = index.machine.check("ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric", "--processes")
    assert not [line for line in listening.splitlines() for pid in members if f"pid={pid}," in line]

    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    connect = ("python3", "-c", program, str(index.own("socket")))
    assert "Permission" in index.machine.run("runuser", "-u", "nobody", "--", *connect).err
    assert index.machine.run("runuser", "-u", str(index["nginx_user"]), "--", *connect).code == 0


def test_nothing_has_failed(index: Index) -> None:
    """No service that the index stands on has failed, the firewall's included."""
    units = [f"{index.kind}*", "nginx*", "nftables*", "firewalld*", "ufw*", "logrotate*"]
    assert index.machine.check("systemctl", "list-units", "--failed", "--no-legend", "--plain", *units).strip() == ""
