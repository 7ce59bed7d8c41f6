"""A real devpi-server as the role runs it, on a Unix socket, with users, indexes, a release and its documentation."""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.devpi_server import install
from tests.unit.nginx.front import Client

SOURCES = Path(__file__).parents[3] / "roles" / "devpi" / "files"
PASSWORDS = {"root": "root-password", "owner": "owner-password", "reader": "reader-password", "other": "other-password"}
# The role's way to start the server. Where reading is open, devpi-lockdown is not installed
START = """
import pluggy, runpy, sys
if {lockdown} is False:
    load = pluggy.PluginManager.load_setuptools_entrypoints
    def without_lockdown(manager, *arguments, **options):
        manager.set_blocked("devpi-lockdown")
        return load(manager, *arguments, **options)
    pluggy.PluginManager.load_setuptools_entrypoints = without_lockdown
runpy.run_module("pyindex_devpi.serve", run_name="__main__", alter_sys=True)
"""

Listener = socket.socket


@dataclass
class Devpi:
    """A running server: its folders, its socket, and what the tests look for in it."""

    folder: Path
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    listener: Listener | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, on the socket that listens already, and wait until it answers."""
        assert self.listener
        # systemd passes the socket as descriptor 3
        shell = f'LISTEN_PID=$$ exec "$0" "$@" 3<&{self.listener.fileno()}'
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", shell, *self.command],
                env=self.environment,
                stdout=log,
                stderr=log,
                pass_fds=(self.listener.fileno(),),
            )
        wait_for(self, self.process)

    def kill(self) -> None:
        """End the server at once."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the server as systemd does."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)

    @property
    def socket(self) -> Path:
        return self.folder / "devpi.sock"

    @property
    def generations(self) -> Path:
        """Where the server says what has changed."""
        return self.folder / "state" / "generations"

    @property
    def server_dir(self) -> Path:
        return self.folder / "server"

    def ask(
        self,
        method: str,
        path: str,
        *,
        user: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Send one request past the front; return status and body."""
        fields = {"Accept": "application/json", **(headers or {})}
        if user:
            fields["Authorization"] = basic(user, PASSWORDS[user])
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body=body, headers=fields)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def do(self, method: str, path: str, user: str, document: object) -> None:
        """Change something as `user`; it has to succeed."""
        headers = {"Content-Type": "application/json"}
        status, said = self.ask(method, path, user=user, body=json.dumps(document).encode(), headers=headers)
        assert status in (200, 201), (method, path, status, said)

    def upload(self, index: str, user: str, fields: Mapping[str, str], name: str, content: bytes) -> None:
        body, kind = form(fields, name, content)
        status, said = self.ask("POST", f"/{index}/", user=user, body=body, headers={"Content-Type": kind})
        assert status == 200, (status, said)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def form(fields: Mapping[str, str], name: str, content: bytes) -> tuple[bytes, str]:
    """Return the body of an upload as twine sends it, and its content type."""
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--limit\r\nContent-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'.encode()
    return b"".join([*parts, head, content, b"\r\n--limit--\r\n"]), "multipart/form-data; boundary=limit"


def wheel(name: str, version: str, padding: int = 0) -> tuple[str, bytes]:
    """Return file name and content of a wheel that pip can install."""
    stream = io.BytesIO()
    record = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = '{version}'\n#{os.urandom(padding).hex()}\n")
        archive.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{record}/RECORD", "")
    return f"{name}-{version}-py3-none-any.whl", stream.getvalue()


def documentation(text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("index.html", f"<html><body>{text}</body></html>")
        archive.writestr("ä %.html", text)
        archive.writestr("deep/page.html", f"<html><body>deep {text}</body></html>")
    return stream.getvalue()


def release_fields(name: str, version: str, action: str = "file_upload") -> dict[str, str]:
    return {
        ":action": action, "name": name, "version": version, "filetype": "bdist_wheel", "pyversion": "py3",
        "metadata_version": "2.1",
    }  # fmt: skip


@contextmanager
def upstream(
    files: Mapping[str, tuple[str, bytes]], before: Callable[[str], None] = lambda _path: None
) -> Iterator[str]:
    """A small index with one file a project, which may change; yields its URL.

    For a project whose file has no name there is no answer. `before` is called with each path that is asked for.
    """

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            before(self.path)
            parts = self.path.strip("/").split("/")
            if parts[-1] in files and not files[parts[-1]][0]:
                return
            if parts[0] == "files":
                body, kind = files[parts[1]][1], "application/octet-stream"
            elif len(parts) == 1:
                body, kind = "".join(f'<a href="{name}/">{name}</a>' for name in files).encode(), "text/html"
            else:
                name, content = files[parts[1]]
                digest = hashlib.sha256(content).hexdigest()
                body, kind = f'<a href="/files/{parts[1]}/{name}#sha256={digest}">{name}</a>'.encode(), "text/html"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - named by http.server
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
        finally:
            server.shutdown()


@contextmanager
def devpi_server(folder: Path, *, lockdown: bool, plugins: Path | None = None) -> Iterator[Devpi]:
    """A new server, until the end of the with statement; `plugins` is a folder with plugins of the tests."""
    devpi = Devpi(folder)
    programs = install()
    folder.mkdir()
    run = [str(programs / "devpi-init"), "--serverdir", str(devpi.server_dir), "--no-root-pypi"]
    subprocess.run([*run, "--root-passwd", PASSWORDS["root"]], check=True, capture_output=True)
    options = ["--serverdir", devpi.server_dir, "--documentation-path", devpi.server_dir / "+docs"]
    options += ["--restrict-modify", "root", "--indexer-backend", "null", "--role", "primary", "--threads", "50"]
    options += ["--outside-url", "https://elsewhere.pyindex.test"]
    # Logins outlive a server
    secret = folder / "secret"
    secret.write_bytes(secrets.token_hex(32).encode())
    secret.chmod(0o600)
    options += ["--secretfile", secret, "--argon2-memory-cost", "8192", "--argon2-parallelism", "1"]
    options += ["--argon2-time-cost", "1"]
    devpi.command = [str(programs / "python"), "-c", START.format(lockdown=lockdown), *map(str, options)]
    devpi.environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(path) for path in (SOURCES, plugins) if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "RUNTIME_DIRECTORY": str(devpi.generations.parent),
    }
    devpi.generations.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as devpi.listener:
        devpi.listener.bind(str(devpi.socket))
        devpi.listener.listen(128)
        devpi.socket.chmod(0o666)
        try:
            devpi.start()
            yield devpi
        finally:
            devpi.stop()
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(devpi: Devpi, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + 90
    while True:
        assert server.poll() is None, (devpi.folder / "log").read_text()
        assert time.monotonic() < deadline, "devpi-server does not answer"
        try:
            if devpi.ask("GET", "/+api")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)


def token(client: Client, user: str) -> str:
    """Return what devpi's client sends in X-Devpi-Auth after a login through the front."""
    body = json.dumps({"user": user, "password": PASSWORDS[user]}).encode()
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    answer = client.ask("POST", "/+login", body=body, headers=headers)
    assert answer.status == 200, answer.body
    password = json.loads(answer.body)["result"]["password"]
    return base64.b64encode(f"{user}:{password}".encode()).decode()
