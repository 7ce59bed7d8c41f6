"""Hosts for the role container that are folders of this machine: an engine and systemd that only remember what they are
asked, and every file that the role writes below the folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.unit.repository import ROOT, load

FAKE = Path(__file__).with_name("engine.sh")
ROLES = ROOT / "roles"
SERVER, WATCH = "Run pypiserver as a container", "Publish what arrives another way, as a container"


@dataclass
class Host:
    """A host with *programs*; what they say of themselves stands in `says`."""

    name: str
    folder: Path
    variables: dict[str, Any]
    programs: Sequence[str] = ("podman",)
    quadlet: bool = True

    def make(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "images").mkdir()
        for program in (*self.programs, "systemctl"):
            shutil.copy(FAKE, self.folder / "bin" / program)
        if self.quadlet:
            shutil.copy(FAKE, self.folder / "bin" / "podman-system-generator")
        self.says(version="podman version 5.4.2")

    def says(self, **words: str) -> None:
        """What its engine answers: version, error (it does not work), pull (nothing can be pulled)."""
        (self.folder / "says").write_text("".join(f"{key}={value}\n" for key, value in words.items()))

    def calls(self) -> list[str]:
        """What engine and systemd were asked since the last time."""
        path = self.folder / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def files(self) -> dict[str, str]:
        """The files that the role has written, by their path below the host."""
        found = [path for path in self.folder.glob("etc/**/*") if path.is_file()]
        return {str(path.relative_to(self.folder / "etc")): path.read_text() for path in sorted(found)}

    def inventory(self) -> dict[str, Any]:
        etc = self.folder / "etc"
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "host_path": f"{self.folder / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin",
            "host_generators": [str(self.folder / "bin")],
            # Roles' variables, which only extra variables win over
            "host_folder": str(etc / "pyindex"),
            "host_units": str(etc / "systemd"),
            "pypiserver_server_name": "index.pyindex.test",
            "pypiserver_install_dir": str(etc / "server"),
            **self.variables,
        }


OVERRIDES = {
    "__container_generators": "{{ host_generators }}",
    "__container_folder": "{{ host_folder }}",
    "__container_quadlet": "{{ host_units }}/containers/{{ container_name }}.container",
    "__container_unit": "{{ host_units }}/{{ container_name }}.service",
    # Of this machine; the units' text has it as a number
    "container_user": "root",
    "container_group": "root",
    # Nothing runs here that could be asked
    "container_health_url": "",
}


def calls_of_the_role() -> dict[str, dict[str, Any]]:
    """How the role pypiserver calls the role container: variables by the name of the task."""
    block = load(ROLES / "pypiserver/tasks/container.yml")[0]
    tasks = [*block["block"], *load(ROLES / "pypiserver/tasks/container_watch.yml")]
    return {task["name"].partition(" | ")[2]: {**block["vars"], **task.get("vars", {})} for task in tasks}


def deploy(hosts: Sequence[Host], folder: Path, calls: Sequence[str] = (SERVER,), tasks_from: str = "main") -> Any:
    """Run the role on the hosts as the role pypiserver does; return the report of the JSON callback."""
    known = calls_of_the_role()
    tasks: list[Mapping[str, Any]] = [
        {
            "ansible.builtin.include_role": {"name": "pyindex.fleet.container", "tasks_from": tasks_from},
            "vars": known[call],
        }
        for call in calls
    ]
    play = {
        "hosts": "all",
        "gather_facts": True,
        "gather_subset": ["!all", "!min", "python"],
        "environment": {"PATH": "{{ host_path }}"},
        "vars_files": [str(ROLES / "pypiserver/vars/main.yml")],
        "tasks": tasks,
    }
    defaults = load(ROLES / "pypiserver/defaults/main.yml")
    for host in hosts:
        (host.folder / "etc/systemd/multi-user.target.wants").mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"vars": defaults, "hosts": {host.name: host.inventory() for host in hosts}}})
    )
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    return playbook(folder, json.dumps(OVERRIDES))


def playbook(folder: Path, extra: str) -> Any:
    """Run ``play.yml`` of a folder on its ``hosts.yml``; return the report of the JSON callback."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            f"--inventory={folder / 'hosts.yml'}",
            f"--extra-vars={extra}",
            str(folder / "play.yml"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "{" in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])


def failures(report: Any, host: str) -> list[str]:
    """Return what the failed tasks of a host say."""
    results = [task["hosts"][host] for play in report["plays"] for task in play["tasks"] if host in task["hosts"]]
    return [str(result.get("msg")) + str(result.get("stderr", "")) for result in results if result.get("failed")]
