"""Build an image of our own on the host: wheels first, with the network, then the image, without one.

Reads what to build as JSON from standard input (__container_build_description of the role). Passwords of indexes go
to pip by its standard input: they are in no image, no log and no process list. The role runs it on the host, so it
is made of the standard library alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# What a container has to know to fetch what the host's own pip fetches
HOST_SETTINGS = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
# Runs pip in the container, in an environment that nobody else sees
DOWNLOAD = """
import json, os, sys
os.environ.update({name: str(value) for name, value in json.load(sys.stdin).items()})
os.execv(sys.executable, [sys.executable, "-m", "pip", *sys.argv[1:]])
"""
LAST_LINES = 15


class BuildError(Exception):
    """What went wrong, in words for a person."""


def run(command: list[str], text: str = "") -> None:
    """Run a command with *text* as its standard input. Raises BuildError with its last words."""
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        words = done.stdout.strip().splitlines()[-LAST_LINES:]
        raise BuildError("\n".join(words) or f"{command[0]} {command[1]}: exit code {done.returncode}")


def fetch_wheels(description: dict[str, Any], context: Path) -> None:
    """Put the wheels into the context: from the wheelhouse, or by the base image's pip, for its own Python."""
    if description["wheelhouse"]:
        shutil.copytree(description["wheelhouse"], context / "wheels")
        return
    (context / "wheels").mkdir()
    mounts = [f"--volume={context}:/context"]
    mounts += [f"--volume={path}:{path}:ro" for path in HOST_SETTINGS if Path(path).exists()]
    start = [description["engine"], "run", "--rm", "--interactive", "--pull=never", "--network=host"]
    start += ["--cap-drop=all", "--security-opt=no-new-privileges"]
    pip = ["download", "--quiet", "--no-cache-dir", "--require-hashes", "--no-deps", "--only-binary=:all:"]
    pip += ["--dest=/context/wheels", f"--requirement=/context/{description['requirements']}"]
    run(
        [*start, "--entrypoint=python3", *mounts, description["base"], "-c", DOWNLOAD, *pip],
        json.dumps(description["pip"]),
    )


def build(description: dict[str, Any]) -> None:
    """Build the image. Raises BuildError or OSError; what is left then is in no later build's way."""
    # Not in /tmp, which can be memory
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        context = Path(name)
        for path, text in description["files"].items():
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            (context / path).write_text(text, encoding="utf-8")
        fetch_wheels(description, context)
        options = [f"--file={context / 'Containerfile'}", f"--tag={description['image']}"]
        options += [f"--build-arg=BASE={description['base']}", "--network=none"]
        run([description["engine"], "build", *options, name])


def main() -> int:
    """Run the program; 1 with a message when there is no image."""
    try:
        build(json.load(sys.stdin))
    except (BuildError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
