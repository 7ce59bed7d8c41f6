"""The role pypiserver in check mode on fresh hosts, whatever runs the server: it ends, and shows what it would write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.repository import ROOT

# Everything is there, and no image
ENGINE = """#!/bin/sh
[ "$1" != image ] || exit 1
echo podman version 4.3.1
"""
PLAY = """
- hosts: all
  gather_facts: true
  gather_subset: ["!all", "!min", distribution, pkg_mgr, python, service_mgr]
  tasks:
    - ansible.builtin.import_role: {name: pyindex.fleet.pypiserver}
    - ansible.builtin.import_role: {name: pyindex.fleet.pypiserver, tasks_from: seed}
"""
UNITS = "/etc/systemd/system"
COMPOSE = "/etc/pyindex/containers"
HOSTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "venv": (
        {"pypiserver_seed_requirements": ["x"]},
        [f"{UNITS}/pypiserver.service", f"{UNITS}/pypiserver.socket", f"{UNITS}/pypiserver-watch.service"],
    ),
    "official": (
        {"pypiserver_runtime": "container", "container_engine": "podman", "pypiserver_removal": True},
        [f"{UNITS}/pypiserver.service"],
    ),
    "publishing": (
        {
            "pypiserver_runtime": "container",
            "container_engine": "docker",
            "pypiserver_container_publishing": True,
            "pypiserver_seed_requirements": ["x"],
        },
        [
            f"{COMPOSE}/pypiserver.compose.json",
            f"{UNITS}/pypiserver.service",
            f"{COMPOSE}/pypiserver-watch.compose.json",
            f"{UNITS}/pypiserver-watch.service",
        ],
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if Path(UNITS, "pypiserver.service").exists():
        pytest.skip("this machine is an index itself")
    folder = tmp_path_factory.mktemp("runtimes")
    for name in ("podman", "docker"):
        (folder / name).write_text(ENGINE)
        (folder / name).chmod(0o755)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {
        name: {**local, "pypiserver_server_name": "a.example.org", **given} for name, (given, *_rest) in HOSTS.items()
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "--check",
            f"--inventory={folder / 'hosts.yml'}",
            str(folder / "play.yml"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_FORCE_COLOR": "0",
            "PATH": f"{folder}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


@pytest.mark.parametrize("host", HOSTS)
def test_check_mode_shows_the_units(report: dict[str, Any], host: str) -> None:
    results = [
        result
        for play in report["plays"]
        for task in play["tasks"]
        if host in task["hosts"] and " units | Write" in task["task"]["name"]
        for result in task["hosts"][host].get("results", [task["hosts"][host]])
    ]
    assert report["stats"][host]["failures"] == 0
    written = [result["invocation"]["module_args"]["dest"] for result in results if result.get("changed")]
    assert [path for path in written if path.startswith(("/etc/systemd", "/etc/pyindex"))] == HOSTS[host][1]
