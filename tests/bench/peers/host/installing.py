"""Installs of real packages by pip and uv, with no cache, as a new machine does it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from .bench import Bench, FigureError
from .clients import login_of
from .targets import Target

REQUIREMENTS = Path(__file__).parent / "requirements"
LONGEST_SECONDS = 120


def pip_install(bench: Bench, target: Target) -> dict[str, float]:
    pip = [bench.venvs / "clients/bin/python", "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    return _install(
        bench, target, [*map(str, pip), "--only-binary=:all:", "--index-url", target.simple_url, "--target"]
    )


def uv_install(bench: Bench, target: Target) -> dict[str, float]:
    uv = [bench.venvs / "clients/bin/uv", "pip", "install", "--quiet", "--no-cache", "--no-config"]
    options = ["--only-binary=:all:", "--python", "/usr/bin/python3", "--default-index", target.simple_url, "--target"]
    return _install(bench, target, [*map(str, uv), *options])


def _install(bench: Bench, target: Target, command: list[str]) -> dict[str, float]:
    place = bench.scratch / "installed"
    shutil.rmtree(place, ignore_errors=True)
    netrc = bench.scratch / "netrc"
    netrc.touch(mode=0o600)
    netrc.write_text(_netrc(target))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(bench.scratch),
        "NETRC": str(netrc),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CERT": str(bench.authority),
        "SSL_CERT_FILE": str(bench.authority),
    }
    before = time.monotonic()
    try:
        done = subprocess.run(
            [*command, str(place), *names()],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise FigureError(f"not done after {LONGEST_SECONDS} s") from error
    seconds = time.monotonic() - before
    if done.returncode:
        raise FigureError(f"it failed: {done.stderr.strip()[-600:]}")
    installed = sum(1 for path in place.iterdir() if path.name.endswith(".dist-info"))
    shutil.rmtree(place)
    if installed != (expected := len(locked())):
        raise FigureError(f"{installed} packages were installed, not {expected}")
    return {"seconds": seconds, "packages": installed}


def names() -> list[str]:
    """Return what is installed, without what it depends on."""
    lines = (REQUIREMENTS / "packages.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked() -> list[str]:
    """Return all that is installed, but for what only another operating system needs."""
    return re.findall(r"^([\w.-]+)==\S+ \\$", (REQUIREMENTS / "packages.txt").read_text(), re.MULTILINE)


def _netrc(target: Target) -> str:
    name, password = login_of(target.read_headers)
    return f"machine {urlsplit(target.simple_url).hostname} login {name} password {password}\n" if name else ""
