"""A real devpi-server process for tests and figures: on a Unix socket, empty, without any mirror, with a password of its
own. It is installed once from the hashed locks of the role devpi, into .cache.

    python tests/devpi_server.py    installs it
"""

from __future__ import annotations

import hashlib
import http.client
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = [
    ROOT / "roles" / "devpi" / "files" / f"requirements{kind}.txt"
    for kind in ("", "-constrained", "-jenkins", "-lockdown", "-web")
]
STARTED_WITHIN = 120  # seconds; importing it all takes long on a busy machine


def install() -> Path:
    """Return the folder of devpi's programs, after installing them if they are not there."""
    digest = hashlib.sha256(b"\0".join(lock.read_bytes() for lock in LOCKS))
    digest.update(sys.version.encode())
    target = ROOT / ".cache" / "devpi" / digest.hexdigest()[:16]
    if not (target / "installed").exists():
        shutil.rmtree(target, ignore_errors=True)
        venv.create(target, with_pip=True)
        requirements = [argument for lock in LOCKS for argument in ("--requirement", str(lock))]
        pip = [
            str(target / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "--no-deps", *requirements], check=True)
        (target / "installed").touch()
    return target / "bin"


class Server:
    """A server that runs until `stop`; ``socket`` is its path, ``password`` that of root."""

    def __init__(self) -> None:
        """Initialise and start it; RuntimeError with its log when it does not answer in time."""
        programs = install()
        # Short, as the path of a socket may have 107 bytes only
        self.directory = Path(tempfile.mkdtemp(prefix="devpi-"))
        self.socket = str(self.directory / "devpi.sock")
        self.password = secrets.token_hex(12)
        self.log = self.directory / "log"
        data = ["--serverdir", str(self.directory / "server")]
        self._command = [
            str(programs / "devpi-server"),
            *data,
            *("--unix-socket", self.socket, "--restrict-modify", "root", "--indexer-backend", "null"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        # Without root/pypi: it would fetch the list of all projects of the public index
        initialise = [str(programs / "devpi-init"), *data, "--no-root-pypi", "--root-passwd", self.password]
        try:
            subprocess.run(initialise, check=True, capture_output=True)
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.directory)
        give_up = time.monotonic() + STARTED_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.halt()
                raise RuntimeError(f"devpi-server did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def halt(self) -> None:
        """End the process at once, as a crash does; the data stay."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it and remove its data."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.settimeout(5)
            connection.sock.connect(self.socket)
            connection.request("GET", "/+api", headers={"Accept": "application/json"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


if __name__ == "__main__":
    print(install())
