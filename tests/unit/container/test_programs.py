"""The two programs that the role runs on hosts, against engines that only remember what they are asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.container.machine import FAKE
from tests.unit.repository import ROOT

FILES = ROOT / "roles/container/files"
SECRET = "s3cret-of-an-index"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host without an engine."""
    for name in ("bin", "images"):
        (tmp_path / name).mkdir()
    (tmp_path / "says").write_text("version=podman version 5.4.2\n")
    return tmp_path


def install(host: Path, *programs: str) -> None:
    for program in programs:
        shutil.copy(FAKE, host / "bin" / program)


def engines(host: Path) -> dict[str, Any]:
    """What engines.py says of a host; its generators are among its programs."""
    # What the stand-ins need, and no engine that this machine may have
    for program in ("sh", "sed", "dirname", "tr", "cat"):
        (host / "bin" / program).symlink_to(str(shutil.which(program)))
    command = [sys.executable, str(FILES / "engines.py"), str(host / "nowhere"), str(host / "bin")]
    done = subprocess.run(command, env={"PATH": str(host / "bin")}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_host_without_engines(host: Path) -> None:
    nothing = {"path": "", "version": "", "error": ""}
    assert engines(host) == {"podman": nothing, "docker": nothing, "compose": [], "quadlet": False}


def test_podman_with_quadlet(host: Path) -> None:
    install(host, "podman", "podman-system-generator")
    found = engines(host)
    assert found["podman"] == {"path": f"{host}/bin/podman", "version": "podman version 5.4.2", "error": ""}
    assert found["quadlet"]


def test_quadlet_needs_podman_and_a_program(host: Path) -> None:
    install(host, "podman-system-generator")
    assert not engines(host)["quadlet"]


def test_docker_whose_service_is_stopped(host: Path) -> None:
    install(host, "docker")
    (host / "says").write_text("version=Docker version 20.10.24\nerror=Cannot connect to the Docker daemon\n")
    docker = engines(host)["docker"]
    assert (docker["version"], docker["error"]) == ("Docker version 20.10.24", "Cannot connect to the Docker daemon")


@pytest.mark.parametrize("new", [True, False], ids=["docker compose", "docker-compose"])
def test_compose_is_what_is_there(host: Path, new: bool) -> None:
    install(host, "docker", "docker-compose")
    if not new:
        # As Debian 12 has it: Docker knows no such command
        (host / "bin/docker").write_text('#!/bin/sh\n[ "$1" != compose ]\n')
    assert engines(host)["compose"] == ([f"{host}/bin/docker", "compose"] if new else [f"{host}/bin/docker-compose"])


def build(host: Path, **other: object) -> subprocess.CompletedProcess[str]:
    description = {
        "engine": str(host / "bin/podman"),
        "base": "registry.example.org/python:3",
        "image": "localhost/demo:1",
        "files": {
            "Containerfile": "ARG BASE\nFROM ${BASE}\n",
            "requirements.txt": "demo==1\n",
            "demo/part.py": "x = 1\n",
        },
        "requirements": "requirements.txt",
        "wheelhouse": "",
        "pip": {"PIP_INDEX_URL": f"https://user:{SECRET}@index.example.org/"},
        **other,
    }
    install(host, "podman")
    command = [sys.executable, str(FILES / "build_image.py")]
    return subprocess.run(command, input=json.dumps(description), capture_output=True, text=True, check=False)


def test_an_image_is_built_without_a_network_from_wheels_that_were_fetched_before(host: Path) -> None:
    assert build(host).returncode == 0
    calls = (host / "calls").read_text()
    fetch, make = calls[: calls.index("podman build")], calls[calls.index("podman build") :]
    assert "--network=host" in fetch
    assert {"--require-hashes", "--only-binary=:all:", "--dest=/context/wheels"} < set(fetch.split())
    assert {"--network=none", "--build-arg=BASE=registry.example.org/python:3", "--tag=localhost/demo:1"} < set(
        make.split()
    )
    assert (host / "context/demo/part.py").read_text() == "x = 1\n"
    # The password went to pip, by its standard input, and nowhere else
    assert SECRET in (host / "read").read_text()
    texts = [calls, *(path.read_text() for path in (host / "context").rglob("*") if path.is_file())]
    assert not [text for text in texts if SECRET in text]
    # Nothing is left in the folder for temporary files
    assert not Path(make.split()[-1]).exists()


def test_a_wheelhouse_needs_no_network_at_all(host: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/demo-1-py3-none-any.whl").write_text("")
    assert build(host, wheelhouse=str(tmp_path / "wheels")).returncode == 0
    assert "run" not in [
        line.split()[1] for line in (host / "calls").read_text().splitlines() if line.startswith("podman")
    ]
    assert (host / "context/wheels/demo-1-py3-none-any.whl").exists()


def test_a_build_that_fails_says_why(host: Path) -> None:
    install(host, "podman")
    (host / "bin/broken").write_text("#!/bin/sh\necho 'no wheel of demo 1 for this Python' >&2\nexit 1\n")
    (host / "bin/broken").chmod(0o755)
    done = build(host, engine=str(host / "bin/broken"))
    assert (done.returncode, done.stderr) == (1, "no wheel of demo 1 for this Python\n")
