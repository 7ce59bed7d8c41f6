"""The part of the role python_service that takes a service away, for one that goes on in a container."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.unit.container.machine import Host, playbook

HEAD = "# Managed by Ansible (pyindex.fleet.{role}): changes are overwritten\n"


def test_units_of_its_own_go_and_others_stay(tmp_path: Path) -> None:
    """Socket and service, and one without a socket; a container's unit by the same name is left alone. Twice."""
    host = Host("host", tmp_path / "host", {}, ())
    host.make()
    units = tmp_path / "units"
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True)
    for name, role in (("index", "python_service"), ("watch", "python_service"), ("other", "container")):
        (units / f"{name}.service").write_text(HEAD.format(role=role))
        (wants / f"{name}.service").symlink_to(f"../{name}.service")
    (units / "index.socket").write_text(HEAD.format(role="python_service"))
    play = {
        "hosts": "all",
        "gather_facts": False,
        "environment": {"PATH": "{{ host_path }}"},
        "tasks": [
            {
                "ansible.builtin.include_role": {"name": "pyindex.fleet.python_service", "tasks_from": "remove"},
                "vars": {"python_service_name": "{{ item }}"},
                "loop": ["index", "watch", "other", "absent"],
            }
        ],
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"host": host.inventory()}}}))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    extra = json.dumps({"__python_service_unit_folder": str(units)})
    first = playbook(tmp_path, extra)
    assert first["stats"]["host"]["failures"] == 0
    assert sorted(path.name for path in units.rglob("*.s*")) == ["other.service", "other.service"]
    calls = [call for call in host.calls() if " show " not in call]
    assert calls == [
        "systemctl stop index.socket index.service",
        "systemctl daemon-reload",
        "systemctl stop watch.socket watch.service",
        "systemctl daemon-reload",
    ]
    assert playbook(tmp_path, extra)["stats"]["host"]["changed"] == 0
    assert host.calls() == []
