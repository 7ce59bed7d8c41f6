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
import re
import subprocess
import sys


def build(
    release: pathlib.Path,
    complete: str,
    requirements: list[str],
    sources: list[str],
    pip: dict[str, object],
    modules: dict[str, str],
) -> None:
    """Build the release in the folder *release*, from whatever an earlier call has left there.

    *requirements* are the texts of lock files, *sources* the projects of them that have no wheel, *pip*
    the environment of pip, *modules* maps paths below the folder ``app`` to the text of Python modules.
    The file *complete* is made last.
    Raises CalledProcessError when a program fails; it has said why.
    """
    # Also where root's files are private by default: the service runs as another user
    os.umask(0o022)
    release.mkdir(parents=True, exist_ok=True)
    with (release.parent / ".lock").open("ab") as lock:
        # When a run is killed on the controller, its build goes on here
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (release / complete).exists():
            _install(release, requirements, sources, pip)
            _copy(release / "app", modules)
            (release / complete).touch()


def _install(release: pathlib.Path, requirements: list[str], sources: list[str], pip: dict[str, object]) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(release)], check=True)
    environment = {**os.environ, **{name: str(value) for name, value in pip.items()}}
    # One entry a project, with its hashes in the lines below it
    entries = [entry for text in requirements for entry in re.split(r"^(?=\w)", text, flags=re.MULTILINE)]
    from_source = [entry for entry in entries if re.split(r"[^\w.-]", entry)[0] in sources]
    wheels = [entry for entry in entries if entry not in from_source]
    # Sources come second: they are built with the locked setuptools, not with one that pip fetches unchecked
    for name, part, options in (
        ("requirements.txt", wheels, ["--only-binary=:all:"]),
        ("requirements-sources.txt", from_source, ["--no-build-isolation", "--use-pep517"]),
    ):
        if part:
            (release / name).write_text("".join(part))
            install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", *options]
            command = [str(release / "bin" / "python"), *install, "-r", str(release / name)]
            subprocess.run(command, check=True, env=environment)


def _copy(folder: pathlib.Path, modules: dict[str, str]) -> None:
    for name, text in modules.items():
        module = folder / name
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(text)
    # The service cannot write beside them
    if modules and not compileall.compile_dir(str(folder), quiet=1):
        raise SystemExit("a module of the service cannot be compiled")


if __name__ == "__main__":
    description = json.load(sys.stdin)
    build(pathlib.Path(description.pop("release")), **description)
