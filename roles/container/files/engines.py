"""Say which container engines this host has and whether they work, as JSON. Changes nothing.

The role runs it on the host, so it is made of the standard library alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Quadlet, as Podman's package has it (systemd.generator(7))
QUADLET = "podman-system-generator"
PATIENCE_SECONDS = 30


def run(*command: str) -> tuple[bool, str]:
    """Return whether a command works, and the last line of what it says."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1].strip() if lines else f"exit code {done.returncode}"


def engine(name: str, proof: tuple[str, ...]) -> dict[str, str]:
    """Return the path of an engine ('' = it is not there), its version, and what is wrong with it ('' = nothing).

    *proof* are arguments with which it succeeds only where it can run containers.
    """
    path = shutil.which(name)
    if path is None:
        return {"path": "", "version": "", "error": ""}
    works, words = run(path, *proof)
    return {"path": path, "version": run(path, "--version")[1], "error": "" if works else words}


def compose(docker: str) -> list[str]:
    """Return the words that Docker's Compose is called with; none where it is not there."""
    if docker and run(docker, "compose", "version")[0]:
        return [docker, "compose"]
    old = shutil.which("docker-compose")
    return [old] if docker and old and run(old, "version")[0] else []


def main(generators: list[str]) -> None:
    """Print what is found. *generators* are the folders of systemd's generators."""
    podman = engine("podman", ("info", "--format", "{{.Host.OCIRuntime.Name}}"))
    # Its client alone knows nothing of the server
    docker = engine("docker", ("version", "--format", "{{.Server.Version}}"))
    quadlet = bool(podman["path"]) and any(os.access(Path(folder) / QUADLET, os.X_OK) for folder in generators)
    print(json.dumps({"podman": podman, "docker": docker, "compose": compose(docker["path"]), "quadlet": quadlet}))


if __name__ == "__main__":
    main(sys.argv[1:])
