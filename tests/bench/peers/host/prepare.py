"""Bring the peers, the real packages and the data onto the host. What is there from an earlier run stays."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from . import services
from .bench import Bench, FigureError
from .clients import HTML, Client, basic, links
from .dataset import FILES_A_PROJECT, Dataset
from .reading import wait
from .targets import DEVPI_INDEX, DEVPI_SCRATCH, PORTS, Filling, Target

HERE = Path(__file__).parent
CONNECTIONS = 4
LONGEST_SECONDS = 900
# Names of the data and of uploads
OWN = re.compile(r"bench_|up[0-9a-f]+_")


class PrepareError(Exception):
    """Something that the run needs could not be had; the message says what."""


@dataclass(frozen=True)
class Places:
    """The folders of the benchmark on the host."""

    root: Path

    @property
    def venvs(self) -> Path:
        return self.root / "venvs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    @property
    def state(self) -> Path:
        """What the peers write."""
        return self.root / "state"

    @property
    def scratch(self) -> Path:
        """Of the load generators; it holds passwords."""
        return self.root / "scratch"

    def make(self) -> None:
        for folder in (self.venvs, self.data, self.packages, self.state, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self.scratch.chmod(0o700)


def run(*command: str | Path) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise PrepareError(f"{' '.join(map(str, command))} was not done after {LONGEST_SECONDS} s") from error
    if done.returncode:
        raise PrepareError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    return done.stdout


def account() -> None:
    """Make the system user that the peers run as."""
    if subprocess.run(["id", services.ACCOUNT], capture_output=True, check=False).returncode:
        run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", services.ACCOUNT)


def environment(places: Places, name: str) -> None:
    """Make the virtual environment of a lock file in requirements/, from the index of the host's pip."""
    lock = HERE / "requirements" / f"{name}.txt"
    stamp = places.venvs / name / "lock.sha256"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    run("python3", "-m", "venv", "--clear", places.venvs / name)
    pip: list[str | Path] = [
        places.venvs / name / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    run(*pip, "--no-cache-dir", "--require-hashes", "--requirement", lock)
    stamp.write_text(wanted)


def packages(places: Places) -> None:
    """Download the real packages."""
    lock = HERE / "requirements" / "packages.txt"
    stamp = places.root / "packages.sha256"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(places.packages)
    pip: list[str | Path] = [
        places.venvs / "clients/bin/python",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
    ]
    run(*pip, "--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", lock, "--dest", places.packages)
    stamp.write_text(wanted)


def tls_policy(nginx: Path) -> str:
    """Return what the deployed nginx says of TLS for all its sites: the limit has the same."""
    lines = []
    for path in sorted((nginx / "conf.d").glob("*.conf")):
        depth = 0
        for line in path.read_text().splitlines():
            if depth == 0 and line.strip().startswith("ssl_"):
                lines.append(line.strip())
            code = line.partition("#")[0]
            depth += code.count("{") - code.count("}")
    return "\n    ".join(lines)


def certificate(nginx: Path) -> tuple[str, str]:
    """Return the paths of the deployed site's certificate and key."""
    text = "\n".join(path.read_text() for path in sorted((nginx / "conf.d").glob("pyindex-*.conf")))
    found = re.search(r"^\s*ssl_certificate (\S+);", text, re.MULTILINE)
    key = re.search(r"^\s*ssl_certificate_key (\S+);", text, re.MULTILINE)
    if not found or not key:
        raise PrepareError(f"No site of {nginx}/conf.d has a certificate: run playbooks/site.yml for this host first.")
    return found[1], key[1]


def configurations(state: Path, targets: Iterable[Target], values: Mapping[str, str]) -> None:
    """Write the nginx configurations of the targets, and forget what was logged before."""
    for log in state.glob("*.log"):
        log.unlink()
    ports = {"limit": PORTS.limit, "pypiserver": PORTS.gunicorn_front, "devpi": PORTS.devpi_front}
    for name in {target.nginx for target in targets if target.nginx}:
        text = (HERE / "nginx" / f"{name}.conf").read_text()
        known = {**values, "port": str(ports[name])}
        known |= {"backend_port": str(PORTS.gunicorn), "upstream_port": str(PORTS.upstream)}
        for key, value in known.items():
            text = text.replace(f"@{key}@", value)
        if left := re.findall(r"@\w+@", text):
            raise PrepareError(f"nothing is known of {left} in {name}.conf")
        (state / f"{name}.conf").write_text(text)


def devpi(places: Places) -> str:
    """Make the state of the peer devpi and the configuration that devpi-gen-config writes; return root's password."""
    secret = places.state / "devpi.secret"
    programs = places.venvs / "devpi/bin"
    if not secret.exists():
        secret.touch(mode=0o600)
        password = secrets.token_urlsafe(16)
        shutil.rmtree(places.state / "devpi", ignore_errors=True)
        run(programs / "devpi-init", "--serverdir", places.state / "devpi", "--no-root-pypi", "--root-passwd", password)
        secret.write_text(password)
    scratch = places.scratch / "gen-config"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    options = ["--host", "127.0.0.1", "--port", str(PORTS.devpi), "--serverdir", str(places.state / "devpi")]
    done = subprocess.run([programs / "devpi-gen-config", *options], cwd=scratch, capture_output=True, check=False)
    if done.returncode:
        raise PrepareError(f"devpi-gen-config failed: {done.stderr.decode()}")
    text = (scratch / "gen-config" / "nginx-devpi.conf").read_text()
    (places.state / "devpi-gen-config.conf").write_text(
        text.replace("listen 80;", f"listen 127.0.0.1:{PORTS.devpi_front};")
    )
    run("chown", "-R", f"{services.ACCOUNT}:", places.state / "devpi")
    return secret.read_text()


# The data -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """The packages folder of a deployed pypiserver."""

    path: Path
    record: Path
    """A file that names what was put there."""
    publish: str = ""
    """A command that publishes what has arrived in the folder; '' = it is seen as it is."""

    def fill(self, data: Dataset) -> None:
        """Make the folder hold the data and nothing else. Refuses a folder with files of somebody else's."""
        wanted = {path.name: path for path in data.distributions()}
        there = {path.name: path for path in self.path.iterdir() if path.is_file() and not path.name.startswith(".")}
        known = self._known()
        if strangers := sorted(name for name in there.keys() - wanted.keys() - known if not OWN.match(name)):
            raise PrepareError(
                f"{self.path} holds packages that are not the benchmark's ({', '.join(strangers[:3])}): "
                "measure an index that was made for it"
            )
        self.record.write_text("\n".join(sorted(known | set(wanted))))
        for name in there.keys() - wanted.keys():
            there[name].unlink()
        # They stay root's, as some that were copied there: nobody can change what others serve as well
        for name in wanted.keys() - there.keys():
            os.link(wanted[name], self.path / name)
        if self.publish:
            run("sh", "-c", self.publish)

    def empty(self) -> None:
        """Take away all that `fill` and the uploads have brought."""
        known = self._known()
        for path in list(self.path.iterdir()):
            if path.name in known or OWN.match(path.name):
                path.unlink()
        self.record.unlink(missing_ok=True)
        if self.publish:
            run("sh", "-c", self.publish)

    def _known(self) -> set[str]:
        return set(self.record.read_text().splitlines()) if self.record.exists() else set()


class Devpi:
    """A devpi server with an index of the benchmark's own."""

    def __init__(self, target: Target, authority: Path, user: str, password: str) -> None:
        parts = urlsplit(target.upload_url)
        self.root = f"{parts.scheme}://{parts.netloc}/"
        self.authority = str(authority) if target.tls else ""
        self.login = basic(user, password)
        answer = self._call("POST", "+login", {"user": user, "password": password})
        # A token, which costs no argon2 at every upload
        token = json.loads(answer)["result"]["password"]
        self.token = {"X-Devpi-Auth": basic(user, token)["Authorization"].removeprefix("Basic ")}

    def _client(self, headers: Mapping[str, str]) -> Client:
        return Client(self.root, headers, self.authority)

    def _call(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        ok: bool = True,
    ) -> bytes:
        body = None if content is None else json.dumps(content).encode()
        kind = {"Content-Type": "application/json", "Accept": "application/json"}
        with self._client(self.login if headers is None else headers) as client:
            answer = client.request(method, self.root + path, body, kind)
        if ok and answer.status not in (200, 201):
            raise PrepareError(f"{method} {self.root}{path} was answered {answer.status}: {answer.content[:300]!r}")
        return answer.content

    def index(self, name: str) -> None:
        """Make an index without bases, if it is not there."""
        with self._client(self.token) as client:
            there = client.request("GET", f"{self.root}{name}", None, {"Accept": "application/json"}).status == 200
        if not there:
            self._call("PUT", name, {"type": "stage", "bases": [], "volatile": True}, self.token)

    def remove(self, name: str) -> None:
        self._call("DELETE", name, headers=self.token, ok=False)

    def fill(self, data: Dataset) -> None:
        """Upload the data, but for what an earlier run has uploaded, and make a new empty index for uploads."""
        self.remove(DEVPI_SCRATCH)
        self.index(DEVPI_SCRATCH)
        self.index(DEVPI_INDEX)
        url = f"{self.root}{DEVPI_INDEX}/"
        with self._client(self.token) as client:
            # Uploaded last
            answer = client.get(f"{url}+simple/{data.last()}/", HTML)
        if answer.status == 200 and len(links(answer.content, url)) >= FILES_A_PROJECT:
            return
        waiting = sorted(data.distributions(), key=lambda path: path.parent.name != data.last())
        lock = threading.Lock()

        def work() -> None:
            with self._client(self.token) as client:
                while True:
                    with lock:
                        if not waiting:
                            return
                        path = waiting.pop()
                    status = client.upload(url, path.name, path.read_bytes())
                    if status not in (200, 409):
                        raise PrepareError(f"devpi answered {status} to the upload of {path.name}")

        with ThreadPoolExecutor() as pool:
            for job in [pool.submit(work) for _thread in range(CONNECTIONS)]:
                job.result()


def tidy(data: Dataset) -> None:
    """Take away what peers were given besides the data, which stands in folders."""
    for path in list(data.files.iterdir()):
        if path.is_file():
            path.unlink()


def start(bench: Bench, targets: Iterable[Target], values: Mapping[str, str]) -> dict[str, str]:
    """Start the benchmark's own servers for the data of `bench`; return why some do not serve it."""
    units = []
    wanted = list(targets)
    tidy(bench.data)
    # Peers put uploads there
    shutil.chown(bench.data.files, services.ACCOUNT)
    known = {**values, "data": str(bench.data.folder)}
    configurations(Path(values["state"]), wanted, known)
    for target in wanted:
        for service in target.services:
            service.write(bench.folder, known)
            units.append(service.unit)
    services.reload()
    services.stop(dict.fromkeys(units))
    # All backends at once, and what passes requests on when there is somebody to take them
    services.start(dict.fromkeys(target.services[0].unit for target in wanted if target.services))
    for target in wanted:
        services.start_in_turn(target.services, bench.patience)
    failed = {}
    for target in wanted:
        if target.services and target.filling is Filling.FOLDER:
            try:
                wait(bench, target, bench.patience)
            except FigureError as error:
                failed[target.key] = str(error)
    return failed


def stop(targets: Iterable[Target]) -> None:
    """Stop the benchmark's own servers and forget their units."""
    for target in targets:
        for service in target.services:
            if (services.UNITS / service.unit).exists():
                services.stop([service.unit])
                (services.UNITS / service.unit).unlink()
    services.reload()
