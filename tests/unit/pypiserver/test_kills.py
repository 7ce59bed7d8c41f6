"""A server that is killed at any moment: nothing broken is served, and what was answered 200 is there."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from pyindex_pypiserver.yank import yank
from tests.unit.pypiserver.made import sdist, wheel
from tests.unit.pypiserver.published import leftovers, publish, served, shown
from tests.unit.pypiserver.test_app import BOUNDARY, form

# More of them: PYINDEX_KILLS=300
KILLS = int(os.environ.get("PYINDEX_KILLS", "30"))
CLIENTS = 3

# Any WSGI server will do: what is killed is the application
SERVER = """
import socketserver, sys, wsgiref.simple_server as wsgi
from pyindex_pypiserver.app import application

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    def __init__(self, path, handler):
        super().__init__(path, handler)
        self.base_environ = {"SERVER_NAME": "x", "SERVER_PORT": "80", "SCRIPT_NAME": ""}
    def get_app(self):
        return app
    def get_request(self):
        request, _ = super().get_request()
        return request, ("local", 0)

class Handler(wsgi.WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

app = application()
server = Server(sys.argv[1], Handler)
print("ready", flush=True)
server.serve_forever()
"""


class Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("x", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class Client(threading.Thread):
    """Uploads one file after another until the server is gone."""

    def __init__(self, path: Path, number: str, stored: dict[str, str]) -> None:
        super().__init__()
        self._path, self._number, self._stored = path, number, stored
        self.refused: list[str] = []

    def run(self) -> None:
        for count in range(10_000):
            # Into a project of all, and into new ones
            project = "shared" if count % 2 else f"new{self._number}x{count}"
            version = f"{self._number}.{count}"
            if count % 3:
                name, data = f"{project}-{version}-py3-none-any.whl", wheel(project, version)
            else:
                name, data = f"{project}-{version}.tar.gz", sdist(project, version)
            body = form([(":action", "file_upload"), ("content", (name, data))])
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            try:
                with contextlib.closing(Connection(self._path)) as connection:
                    connection.request("POST", "/", body, {"Content-Type": kind})
                    answer = connection.getresponse()
                    text = answer.read().decode()
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                self._stored[name] = hashlib.sha256(data).hexdigest()
            else:
                self.refused.append(text)


def test_a_server_that_is_killed_during_uploads_loses_and_breaks_nothing(store: PackageStore, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYINDEX_PACKAGES_DIR": str(store.root),
        "PYINDEX_PAGES_DIR": str(store.publisher.pages),
    }
    stored: dict[str, str] = {}
    random.seed(1)
    for kill in range(KILLS):
        path = tmp_path / f"{kill}.sock"
        command = [sys.executable, "-c", SERVER, str(path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            clients = [Client(path, f"{kill}{number}", stored) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(random.uniform(0.005, 0.25))
            server.send_signal(signal.SIGKILL)
        for client in clients:
            client.join()
            assert client.refused == []
        # As it is found, without any repair: what was answered is there, and whatever is shown is right
        found = served(store)
        assert {name: found.get(name) for name in stored} == stored
        if kill % 5 == 0:
            assert reconcile(store.publisher).problems == []
    assert reconcile(store.publisher).problems == []
    found = shown(store)
    assert {name: found.get(name) for name in stored} == stored
    # What was in place when the server died is published too
    assert set(found) == set(store.files())
    store.clean()
    assert leftovers(store) == []
    assert len(stored) > KILLS


def test_a_reconcile_that_is_killed_leaves_nothing_that_the_next_one_does_not_mend(store: PackageStore) -> None:
    command = [sys.executable, "-m", "pyindex_pypiserver.reconcile", "--packages-dir", str(store.root)]
    command += ["--pages-dir", str(store.publisher.pages)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    random.seed(2)
    for kill in range(max(3, KILLS // 5)):
        for number in range(40):
            version = f"{kill}.{number}"
            (store.root / f"p{number % 8}-{version}-py3-none-any.whl").write_bytes(wheel(f"p{number % 8}", version))
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as process:
            time.sleep(random.uniform(0.2, 1.0))
            # With its workers
            os.killpg(process.pid, signal.SIGKILL)
    assert reconcile(store.publisher).problems == []
    assert set(shown(store)) == set(store.files())
    assert leftovers(store) == []


STEPS = ("write", "fsync", "rename", "replace", "mkdir", "utime", "link", "fchmod", "unlink", "rmdir", "open", "close")
ACTIONS: dict[str, Callable[[PackageStore], object]] = {
    "a new project": lambda store: publish(store, "new-1.0-py3-none-any.whl", wheel("new")),
    "a release of an old one": lambda store: publish(store, "demo-2.0-py3-none-any.whl", wheel("demo", "2.0")),
    "a removal": lambda store: store.remove(["demo-1.0.tar.gz"]),
    "a removal of all": lambda store: store.remove(["other-1.0.tar.gz"]),
    "a withdrawal": lambda store: yank(store.publisher, "demo", "1.0", "broken"),
}


def killed_at(step: int, store: PackageStore, action: Callable[[PackageStore], object]) -> bool:
    """Let a process of its own do *action* and kill it before its call number *step* to the system."""
    store.publisher.records.close()
    process = os.fork()
    if process == 0:
        left = step

        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return call

        try:
            for name in STEPS:
                setattr(os, name, around(getattr(os, name)))
            action(store)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("action", ACTIONS)
def test_a_process_that_is_killed_at_any_step_leaves_what_was_there(store: PackageStore, action: str) -> None:
    publish(store, "other-1.0.tar.gz", sdist("other"))
    publish(store, "demo-1.0.tar.gz", sdist())
    publish(store, "demo-1.0-py3-none-any.whl", wheel())
    before = shown(store)
    step = 0
    while killed_at(step := step + 1, store, ACTIONS[action]):
        # What is shown is whole, before anything is mended
        found = served(store)
        if "removal" not in action:
            assert before.items() <= found.items(), step
        report = reconcile(store.publisher, processes=1)
        assert report.problems == []
        assert set(shown(store)) == set(store.files()), step
        store.clean()
        assert leftovers(store) == []
        # As it was, for the next step
        for name in set(store.files()) - set(before):
            store.remove([name])
        for name, data in (("other-1.0.tar.gz", sdist("other")), ("demo-1.0.tar.gz", sdist())):
            if name not in set(store.files()):
                publish(store, name, data)
        with contextlib.suppress(ValueError):
            yank(store.publisher, "demo", "1.0", None)
        assert shown(store) == before, step
    assert step > 10
    assert shown(store) != before or action == "a withdrawal"


@pytest.mark.parametrize("verb", ["reconcile", "yank", "unyank", "watch"])
def test_the_commands_say_what_they_need(verb: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in ("PYINDEX_PACKAGES_DIR", "PYINDEX_PAGES_DIR"):
        environment.pop(name, None)
    result = subprocess.run(
        [sys.executable, "-m", f"pyindex_pypiserver.{verb}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "--packages-dir" in result.stderr
