"""The role's templates, rendered as Ansible renders them into a folder of its own, and nginx over it."""

from __future__ import annotations

import base64
import functools
import getpass
import grp
import http.client
import http.server
import json
import os
import random
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.rendering import evaluate

MODULES = Path("/usr/lib/nginx/modules")
LUA_MODULES = [MODULES / name for name in ("ndk_http_module.so", "ngx_http_lua_module.so")]
PERL_MODULES = [MODULES / "ngx_http_perl_module.so"]

Site = Mapping[str, Any]


def require_nginx() -> str:
    """Return the path of nginx; fail the test with what to install when it is missing."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None or not all(module.is_file() for module in LUA_MODULES + PERL_MODULES):
        pytest.fail(
            "These tests let nginx judge our configuration; install: "
            "apt-get install nginx libnginx-mod-http-lua libnginx-mod-http-perl",
            pytrace=False,
        )
    return path


@functools.cache
def nginx_release() -> tuple[int, ...]:
    """Return the version of the installed nginx, such as (1, 22, 1)."""
    said = subprocess.run([require_nginx(), "-v"], check=True, capture_output=True, text=True).stderr
    return tuple(int(part) for part in said.strip().split("/")[1].split()[0].split("."))


def debian_release() -> str:
    """The Debian release whose directives the installed nginx understands."""
    return "13" if nginx_release() >= (1, 25, 1) else "12"


@dataclass
class Front:
    """Variables of the role and a folder that stands for the host's /etc/nginx, /run and /var/log."""

    folder: Path
    sites: list[Site] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    listeners: list[str] = field(default_factory=list)
    family: str = "Debian"
    release: str = "12"

    @property
    def configuration(self) -> Path:
        return self.folder / "nginx"

    def value(self, expression: str) -> Any:
        """Return the value of a Jinja expression over the role's variables."""
        known: dict[str, Any] = {
            "ansible_facts": {
                "os_family": self.family,
                "distribution": "Debian" if self.family == "Debian" else "AlmaLinux",
                "distribution_major_version": self.release,
            },
            "nginx_sites": self.sites,
            "nginx_user": f"{getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name}",
            "__nginx_listeners": {"stdout_lines": self.listeners},
            "__nginx_directory": str(self.configuration),
            "__nginx_pid_file": str(self.folder / "nginx.pid"),
            "__nginx_log_directory": str(self.folder),
            "__nginx_verifier_unit": str(self.folder / "nginx-verifier.service"),
            "__nginx_perl_module": str(self.configuration / "modules-enabled" / "scripts.conf"),
            "__nginx_login_cache": str(self.folder / "logins"),
            "__nginx_verifier_runtime": str(self.folder / "verifier"),
            # Not more than a test may open
            "__nginx_open_files": 1024,
        }
        return evaluate(expression, self.family, known | self.variables)

    def problems(self) -> str:
        """What the role finds wrong with its input."""
        return self.value("lookup('ansible.builtin.template', 'problems.j2') | default('', true) | trim") or ""

    def files(self) -> dict[str, str]:
        """Return the text of each file that the role writes, by its path."""
        every = "__nginx_files + __nginx_site_files + (__nginx_verifier_files if __nginx_credentials_files else [])"
        return {file["path"]: file["content"] for file in self.value(every)}

    def write(self) -> None:
        """Write the files below the folder, and around them what a Debian host has."""
        for path, content in self.files().items():
            if Path(path).is_relative_to(self.folder):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_text(content, encoding="utf-8")
        (self.folder / "verifier").mkdir(mode=0o700, exist_ok=True)
        shutil.copy("/etc/nginx/mime.types", self.configuration)
        for name in ("modules-enabled", "sites-enabled"):
            (self.configuration / name).mkdir(exist_ok=True)
        wanted = LUA_MODULES if self.value("__nginx_lua") else PERL_MODULES
        modules = "".join(f"load_module {module};\n" for module in wanted)
        (self.configuration / "modules-enabled" / "scripts.conf").write_text(modules)
        # Folders that anybody who runs the tests can write
        kinds = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        folders = "".join(f"{kind}_temp_path {self.folder / kind};\n" for kind in kinds)
        (self.configuration / "conf.d" / "folders.conf").write_text(folders)

    def command(self, *arguments: str) -> list[str]:
        return [require_nginx(), "-c", str(self.configuration / "nginx.conf"), *arguments]

    def verifier_command(self, *arguments: str) -> list[str]:
        path = self.configuration / "pyindex" / "verifier" / "nginx.conf"
        return [require_nginx(), "-e", str(self.verifier_log), "-c", str(path), *arguments]

    @property
    def verifier_log(self) -> Path:
        return self.folder / "verifier.log"

    def check(self) -> str:
        """Return what ``nginx -t`` complains of; '' = nothing, not even a warning."""
        harmless = "the master process runs with super-user privileges"
        said = ""
        for command in [self.command("-t", "-q"), *([self.verifier_command("-t", "-q")] if self.verifies() else [])]:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            lines = [line for line in (done.stdout + done.stderr).splitlines(True) if harmless not in line]
            said += "".join(lines) or ("" if done.returncode == 0 else f"nginx -t ended with {done.returncode}")
        return said

    def verifies(self) -> bool:
        """Whether a site has passwords that nginx looks at."""
        return bool(self.value("__nginx_credentials_files"))

    @contextmanager
    def running(self, *, verified: bool = True, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """nginx over the written files, and the verifier unless the test has one, until the end of the with statement.
        `environment`: what nginx has besides that of the tests."""
        verifier = self.verifying() if verified and self.verifies() else nullcontext()
        # nginx forgets all of its environment that it is not told to keep
        kept = "".join(f" env {name};" for name in environment or {})
        command = self.command("-g", f"daemon off;{kept}")
        with verifier, subprocess.Popen(command, env={**os.environ, **(environment or {})}) as nginx:
            try:
                port = int(self.sites[0]["https_port"])
                wait_until(lambda: answers(port), nginx, self.folder / "error.log")
                yield
            finally:
                nginx.terminate()

    @contextmanager
    def verifying(self) -> Iterator[subprocess.Popen[bytes]]:
        """The verifier over the written files, as its unit starts it, until the end of the with statement."""
        socket_path = self.folder / "verifier" / "verifier.sock"
        # The unit's folder is new at each start
        socket_path.unlink(missing_ok=True)
        command = self.verifier_command("-g", f"daemon off; user {self.value('nginx_user')};")
        with self.verifier_log.open("ab") as log, subprocess.Popen(command, stderr=log) as verifier:
            try:
                wait_until(lambda: connects(socket_path), verifier, self.verifier_log)
                yield verifier
            finally:
                verifier.terminate()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server to listen; fail with its log when it ends or takes too long."""
    deadline = time.monotonic() + 10
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"it does not listen: {log.read_text()}"
        time.sleep(0.02)


def connects(path: Path) -> bool:
    """Whether something listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on, and that the system gives to no connection before we do (ip_local_port_range)."""
    ports: list[int] = []
    while len(ports) < number:
        port = random.randrange(10_000, 32_768)
        if port not in ports and not answers(port):
            ports.append(port)
    return ports


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; status 0: the connection was closed without one."""

    status: int
    headers: Mapping[str, str]
    challenges: int
    body: bytes

    def seen(self) -> dict[str, Any]:
        """What the backend saw of the request."""
        seen: dict[str, Any] = json.loads(self.body)
        return seen


@dataclass(frozen=True)
class Client:
    """Asks a running front as name:port, from an address of its own."""

    port: int
    authority: Path
    name: str = "index.pyindex.test"
    address: str = "127.0.0.1"

    def ask(
        self,
        method: str,
        path: str,
        *,
        login: str = "",
        host: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        tls: bool = True,
    ) -> Answer:
        """Send one request and return the answer. `login` is user:password."""
        fields = {"Host": host or f"{self.name}:{self.port}", **(headers or {})}
        if login:
            fields["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        plain = socket.create_connection(("127.0.0.1", self.port), 30, (self.address, 0))
        connection = http.client.HTTPConnection(self.name)
        connection.sock = self.secure(plain) if tls else plain
        try:
            connection.request(method, path, body=body, headers=fields)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            challenges = len(answer.headers.get_all("WWW-Authenticate") or [])
            return Answer(answer.status, names, challenges, answer.read())
        except http.client.RemoteDisconnected:
            return Answer(0, {}, 0, b"")
        finally:
            connection.close()

    def secure(self, plain: socket.socket, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
        """Return the connection with TLS, the certificate verified."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.maximum_version = newest
        return context.wrap_socket(plain, server_hostname=self.name)

    def status(self, method: str, path: str, login: str = "") -> int:
        return self.ask(method, path, login=login).status

    def statuses(self, path: str, logins: Iterable[str]) -> list[int]:
        """What each login gets, all over one connection."""
        connection = http.client.HTTPConnection(self.name)
        connection.sock = self.secure(socket.create_connection(("127.0.0.1", self.port), 30, (self.address, 0)))
        found = []
        for login in logins:
            credentials = base64.b64encode(login.encode()).decode()
            connection.request("GET", path, headers={"Host": self.name, "Authorization": f"Basic {credentials}"})
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
        connection.close()
        return found


class Echo(http.server.BaseHTTPRequestHandler):
    """A backend that answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        received = len(self.rfile.read(length))
        seen = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": received}
        content = json.dumps(seen).encode()
        moved = self.path.endswith("/moved")
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", f"http://{self.headers['Host']}/simple/")
        self.send_header("Content-Length", str(len(content)))
        # Headers that nginx sends itself
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - named by http.server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - named by http.server
        pass

    def address_string(self) -> str:
        return "nginx"


class Backend(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


@contextmanager
def backend(path: Path, handler: type[Echo] = Echo) -> Iterator[None]:
    """The backend on a Unix socket, until the end of the with statement."""
    with Backend(str(path), handler) as server:
        path.chmod(0o666)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
