"""devpi-server as systemd runs it: on a socket that is there already, with word of when it is ready."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devpi_server import STARTED_WITHIN, install
from tests.unit.repository import ROOT

ENVIRONMENT = {"PYTHONPATH": str(ROOT / "roles/devpi/files"), "PYTHONDONTWRITEBYTECODE": "1"}
# As systemd does (sd_listen_fds(3))
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = sys.argv[2] or str(os.getpid())
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture(scope="module")
def configuration() -> Iterator[Path]:
    """Return the file of a server that has its data."""
    # Short, as the path of a socket may have 107 bytes only
    with tempfile.TemporaryDirectory(prefix="devpi-") as name:
        folder = Path(name)
        (folder / "server").mkdir()
        (folder / "static").mkdir()
        options = {
            "serverdir": str(folder / "server"),
            "secretfile": str(folder / "server" / ".secret"),
            "unix-socket": str(folder / "devpi.sock"),
            "indexer-backend": "null",
            "argon2-memory-cost": 8192,
            "argon2-time-cost": 1,
        }
        data = {"root_password": "secret", "root_pypi": False, "mirror": {}}
        subprocess.run(
            [install() / "python", "-m", "pyindex_devpi.prepare"],
            input=json.dumps(
                {"options": options, "data": data, "own_folders": [], "static_folder": str(folder / "static")}
            ),
            env={**os.environ, **ENVIRONMENT},
            text=True,
            check=True,
        )
        file = folder / "devpi-server.yml"
        file.write_text("devpi-server:\n" + "".join(f'  {key}: "{value}"\n' for key, value in options.items()))
        yield file


@contextlib.contextmanager
def served(configuration: Path, pid: str = "") -> Iterator[tuple[subprocess.Popen[bytes], socket.socket, Path]]:
    """Start the program as systemd does; return its process, what it tells systemd, and its socket."""
    path = configuration.parent / "devpi.sock"
    manager_path = configuration.parent / "notify"
    command = [str(install() / "python"), "-m", "pyindex_devpi.serve", "--configfile", str(configuration)]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        listening.bind(str(path))
        listening.listen()
        manager.bind(str(manager_path))
        manager.settimeout(STARTED_WITHIN)
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(listening.fileno()), pid, *command],
            env={**os.environ, **ENVIRONMENT, "NOTIFY_SOCKET": str(manager_path)},
            pass_fds=[listening.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            yield process, manager, path
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
            path.unlink()
            manager_path.unlink()


def status(path: Path) -> int:
    with (
        contextlib.closing(http.client.HTTPConnection("localhost")) as connection,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected,
    ):
        connected.settimeout(STARTED_WITHIN)
        connected.connect(str(path))
        connection.sock = connected
        connection.request("GET", "/+api")
        return connection.getresponse().status


def test_it_answers_on_the_socket_of_systemd_and_ends_without_an_error(configuration: Path) -> None:
    with served(configuration) as (process, manager, path):
        # Nobody is refused while it starts
        assert status(path) == 200
        assert manager.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert process.wait(60) == 0


def test_it_does_not_start_without_a_socket(configuration: Path) -> None:
    with served(configuration, pid="1") as (process, _manager, _path):
        assert process.stderr is not None
        assert b"systemd has passed no socket" in process.stderr.read()
        assert process.wait() == 1
