"""Builds one release of a Python service: virtual environment, locked requirements, code.

Reads a description as JSON from standard input, since pip's settings may hold a password and
everyone on a host can read command lines. One call on the host in place of ten.
"""

from __future__ import annotations

import compileall
import fcntl
import json
import os
import pathlib
import subprocess
import sys


def build(
    release: pathlib.Path, complete: str, requirements: str, pip: dict[str, object], modules: dict[str, str]
) -> None:
    """Build the release in the folder *release*, from whatever an earlier call has left there.

    *requirements* is the text of a lock file, *pip* the environment of pip, *modules* maps paths
    below the folder ``app`` to the text of Python modules. The file *complete* is made last.
    Raises CalledProcessError when a program fails; it has said why.
    """
    # Also where root's files are private by default: the service runs as another user
    os.umask(0o022)
    release.mkdir(parents=True, exist_ok=True)
    with (release.parent / ".lock").open("ab") as lock:
        # When a run is killed on the controller, its build goes on here
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (release / complete).exists():
            _build(release, requirements, pip, modules)
            (release / complete).touch()


def _build(release: pathlib.Path, requirements: str, pip: dict[str, object], modules: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(release)], check=True)
    lock = release / "requirements.txt"
    lock.write_text(requirements)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    environment = {**os.environ, **{name: str(value) for name, value in pip.items()}}
    subprocess.run([str(release / "bin" / "python"), *install, "-r", str(lock)], check=True, env=environment)
    for name, text in modules.items():
        module = release / "app" / name
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(text)
    # The service cannot write beside them
    if modules and not compileall.compile_dir(str(release / "app"), quiet=1):
        raise SystemExit("a module of the service cannot be compiled")


if __name__ == "__main__":
    description = json.load(sys.stdin)
    build(pathlib.Path(description.pop("release")), **description)
