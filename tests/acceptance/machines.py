"""The hosts of a fleet, as tests use them: run a command there as any user, give it something to read.

Connections are testinfra's (``ansible://``). What it lacks is standard input for a command, and that is the only way a
secret may reach a host: arguments can be seen in the process list.
"""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import testinfra
import testinfra.backend
from testinfra.backend.base import BaseBackend
from testinfra.backend.docker import DockerBackend
from testinfra.backend.local import LocalBackend
from testinfra.backend.ssh import SshBackend

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

_input: ContextVar[bytes] = ContextVar("_input", default=b"")
_timeout: ContextVar[float] = ContextVar("_timeout", default=120)


class _Feeding(BaseBackend):  # type: ignore[misc]
    """A backend whose commands can read what `Machine.run` gives them."""

    def run_local(self, command: str, *args: str) -> Any:
        line = self.quote(command, *args)
        done = subprocess.run(
            ["/bin/sh", "-c", line], input=_input.get(), capture_output=True, timeout=_timeout.get(), check=False
        )
        return self.result(done.returncode, self.encode(line), done.stdout, done.stderr)


class FeedingSsh(_Feeding, SshBackend):  # type: ignore[misc]
    """Hosts reached by SSH."""


class FeedingDocker(_Feeding, DockerBackend):  # type: ignore[misc]
    """Hosts reached by ``docker exec``."""

    def run(self, command: str, *args: str, **_kwargs: Any) -> Any:
        command = self.get_command(command, *args)
        user = ["--user", self.user] if self.user else []
        line = shlex.join(["docker", "exec", "--interactive", *user, self.name, "/bin/sh", "-c", command])
        return self.run_local(line)


class FeedingLocal(_Feeding, LocalBackend):  # type: ignore[misc]
    """The controller itself."""


testinfra.backend.BACKENDS |= {
    backend.NAME: f"{backend.__module__}.{backend.__name__}" for backend in (FeedingSsh, FeedingDocker, FeedingLocal)
}


@dataclass(frozen=True)
class Result:
    """What a command did. Both streams are text; undecodable bytes are replaced."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}".strip()


class CommandError(AssertionError):
    """A command failed that should not; shows what it said."""


@dataclass(frozen=True, eq=False)
class Machine:
    """One host. Commands run as root unless told otherwise, in an environment that has nothing of the caller's."""

    name: str
    host: Any
    """testinfra's host, for its modules (service, file, ...)."""
    python: str = "python3"

    def __repr__(self) -> str:
        return self.name

    def run(self, *argv: str, stdin: str = "", user: str = "", path: str = PATH, timeout: float = 120) -> Result:
        """Run a program; never raises for its exit code. `user`: a user of that host, with its HOME."""
        words = list(argv)
        if user:
            home = self.home(user)
            clean = ["env", "-i", f"HOME={home}", f"USER={user}", f"LOGNAME={user}", f"PATH={path}", "LANG=C.UTF-8"]
            words = ["runuser", "-u", user, "--", *clean, "sh", "-c", 'cd && exec "$@"', "sh", *words]
        tokens = (_input.set(stdin.encode()), _timeout.set(timeout))
        try:
            done = self.host.run(shlex.join(words))
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{self.name}: {argv[0]} took longer than {timeout:.0f} s") from error
        finally:
            _input.reset(tokens[0])
            _timeout.reset(tokens[1])
        return Result(
            done.rc, *(stream.decode("utf-8", "replace") for stream in (done.stdout_bytes, done.stderr_bytes))
        )

    def check(self, *argv: str, stdin: str = "", user: str = "", path: str = PATH, timeout: float = 120) -> str:
        """Run a program and return its standard output. Raises CommandError when it fails."""
        done = self.run(*argv, stdin=stdin, user=user, path=path, timeout=timeout)
        if done.code:
            raise CommandError(f"{self.name}: {shlex.join(argv)}: {done}")
        return done.out

    def script(self, text: str, *argv: str, user: str = "", path: str = PATH, timeout: float = 120) -> Result:
        """Run a shell script that arrives by standard input, so that it may hold secrets."""
        return self.run("sh", "-s", "--", *argv, stdin=text, user=user, path=path, timeout=timeout)

    def program(self, path: Path, job: object, timeout: float = 120) -> Any:
        """Run ``main(job)`` of a Python file of ours there, as root, and return what it returns.

        Program and job arrive by standard input. Both ways the data is JSON.
        """
        call = f"\nimport json\nprint('\\n' + json.dumps(main(json.loads({json.dumps(job)!r}))))\n"
        done = self.run(self.python, "-", stdin=path.read_text(encoding="utf-8") + call, timeout=timeout)
        if done.code:
            # Not the job: it may hold secrets
            raise CommandError(f"{self.name}: {path.name}: {done}")
        return json.loads(done.out.splitlines()[-1])

    def home(self, user: str) -> str:
        """The home directory of a user of that host."""
        if user not in self._homes:
            self._homes[user] = str(self.host.user(user).home)
        return self._homes[user]

    @cached_property
    def _homes(self) -> dict[str, str]:
        return {}

    def put(self, path: str, content: bytes, user: str = "root") -> None:
        """Write a file for `user`."""
        self.check("sh", "-c", 'base64 -d > "$1"', "sh", path, stdin=base64.b64encode(content).decode())
        self.check("chown", user, path)

    @contextmanager
    def folder(self, user: str = "root") -> Iterator[str]:
        """A folder of its own for a user, on disk (not /tmp, which may be small memory), removed afterwards."""
        path = self.check("mktemp", "-d", "/var/tmp/pyindex-acceptance-XXXXXXXX").strip()
        try:
            self.check("chown", user, path)
            yield path
        finally:
            self.run("rm", "-rf", path)
