"""Checks the options of devpi-server and makes what it needs to start: its secret and its first data.

Runs as the server's user before anything of a running server changes. Reads the options, root's
password and more as JSON from standard input. Begun and interrupted, it finishes when it is called
again. With ``--check`` it changes nothing. Its last line is ``changed`` when it has (or would have)
made something; what is wrong goes to standard error.
"""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pyindex_devpi.configuration import problems

# devpi-server does not start without it, and it says which server the data is of
NODE = ".nodeinfo"
# Data that is complete and has to move into its place, and data that is being made
READY = ".pyindex-new"
UNFINISHED = ".pyindex-unfinished"
# At least 32 bytes, says devpi-server
SECRET_BYTES = 32


class PrepareError(Exception):
    """The server cannot run with these settings; the text says why and what to do."""


def prepare(
    options: Mapping[str, object],
    data: Mapping[str, object],
    own_folders: list[str],
    static_folder: str,
    *,
    check: bool,
) -> bool:
    """Make the secret and the data that *options* name; return whether something is (or would be) new.

    *data* is what new data begins with (``initialise``), *own_folders* are folders that are there already, the
    front finds the files of the web pages in *static_folder*. Raises PrepareError.
    """
    if wrong := problems(options):
        raise PrepareError("\n".join(wrong))
    folder = Path(str(options["serverdir"]))
    secret = Path(str(options["secretfile"]))
    new_secret, new_data = not secret.exists(), not (folder / NODE).exists()
    if not new_secret:
        check_secret(secret)
    if new_data:
        check_empty(folder, [*own_folders, secret.name])
    if not check:
        if new_secret:
            make_secret(secret)
        if new_data:
            make_data(folder, {"storage": options.get("storage", "sqlite"), **data})
        copy_static(Path(static_folder))
    return new_secret or new_data


def check_secret(path: Path) -> None:
    """Raise PrepareError when devpi-server would not take the secret in *path*."""
    if path.stat().st_mode & 0o077:
        raise PrepareError(f"{path} can be read by others than the server: make it 0600, and think of a new secret")
    if path.parent.stat().st_mode & 0o022:
        raise PrepareError(f"{path.parent} can be written by others than the server: it holds the server's secret")
    if path.stat().st_size < SECRET_BYTES:
        raise PrepareError(f"{path} has fewer than {SECRET_BYTES} bytes: remove it, and a new secret is made")


def make_secret(path: Path) -> None:
    """Make the secret that devpi-server signs logins with: for its user alone, complete or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(SECRET_BYTES)))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)


def check_empty(folder: Path, expected: list[str]) -> None:
    """Raise PrepareError when *folder* holds something else than *expected* and what we began there."""
    if (folder / READY).exists():
        return
    others = {path.name for path in folder.iterdir()} - {READY, UNFINISHED, *expected, *(f"{n}.new" for n in expected)}
    if others:
        raise PrepareError(
            f"{folder} holds no data of devpi-server, but {', '.join(sorted(others)[:5])}: name an empty folder in "
            "devpi_server_dir, or one that devpi-server has used"
        )


def make_data(folder: Path, data: Mapping[str, object]) -> None:
    """Make a new server's *data* in *folder*, from whatever an earlier call has left there."""
    ready, unfinished = folder / READY, folder / UNFINISHED
    if not ready.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        # A process of its own: when it has ended, nothing of the database is open or in memory
        done = subprocess.run(
            [sys.executable, "-m", "pyindex_devpi.initialise"],
            input=json.dumps({"folder": str(unfinished), **data}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PrepareError(f"devpi-init failed:\n{done.stdout}{done.stderr}")
        unfinished.rename(ready)
    # The node comes last: until then, no server starts here
    for path in sorted(ready.iterdir(), key=lambda path: path.name == NODE):
        path.rename(folder / path.name)
    ready.rmdir()


def copy_static(folder: Path) -> None:
    """Have style and scripts of the devpi-web that is installed in *folder*, named as in their addresses.

    Those of another version stay until the next call: pages that are open in browsers ask for them.
    """
    package = importlib.util.find_spec("devpi_web")
    if package is None or package.origin is None:
        return
    current = folder / f"+static-{importlib.metadata.version('devpi-web')}"
    for path in folder.iterdir():
        if path.name.startswith("+static-") and path != current and current.exists():
            shutil.rmtree(path)
    if not current.exists():
        unfinished = folder / UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(Path(package.origin).parent / "static", unfinished, copy_function=shutil.copyfile)
        unfinished.rename(current)


def main(arguments: list[str]) -> int:
    """Prepare what standard input describes; return the exit status of the program."""
    try:
        changed = prepare(**json.load(sys.stdin), check="--check" in arguments)
    except PrepareError as error:
        print(error, file=sys.stderr)
        return 1
    if changed:
        print("changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
