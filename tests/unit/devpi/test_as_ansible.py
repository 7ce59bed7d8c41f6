"""The modules as Ansible runs them: packed, sent, with the group's defaults; and the role's own tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.devpi.conftest import NAMES, OnReal
from tests.unit.pypiserver.made import wheel
from tests.unit.repository import ROOT, load

BIN = Path(sys.executable).parent
SECRET = 'devuser\'s "s3cret"'
VARIABLES: dict[str, Any] = {
    "devpi_root_pypi": True,
    "devpi_mirror_url": "http://127.0.0.1:9/simple/",
    "devpi_mirror_cache_expiry_seconds": 60,
    "devpi_users": [{"name": "devuser", "password": SECRET}],
    "devpi_indexes": [
        {"name": "devuser/dev", "bases": ["devuser/staging"]},
        {"name": "devuser/staging", "bases": ["root/pypi"], "volatile": False},
    ],
    "devpi_prune": False,
    "devpi_secure_logging": True,
}


def play(tmp_path: Path, tasks: list[dict[str, Any]], *arguments: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Run *tasks* on this machine; return what was shown, and the counts."""
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks, **more}]))
    done = subprocess.run(
        [BIN / "ansible-playbook", "--inventory", "localhost,", "--connection", "local", *arguments, path],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    counts = dict(pair.split("=") for pair in done.stdout.rpartition("localhost")[2].split() if "=" in pair)
    return done.stdout + done.stderr, counts


def test_all_in_a_play(real: OnReal, tmp_path: Path) -> None:
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(wheel())
    login = {"username": "devuser", "password": SECRET}
    index = "devuser/dev"
    tasks: list[dict[str, Any]] = [
        {"pyindex.fleet.devpi_user": {"name": "devuser", "user_password": SECRET}},
        {"pyindex.fleet.devpi_index": {"name": index}},
        {"pyindex.fleet.devpi_release": {"index": index, "directory": str(tmp_path), **login}},
        {"pyindex.fleet.devpi_plan": {"users": [{"name": "devuser"}], "indexes": [{"name": index, "title": "Dev"}]}},
        {"pyindex.fleet.devpi_info": {"index": index}, "register": "found"},
        {"ansible.builtin.debug": {"msg": "releases: {{ found.releases.demo | list }}"}},
    ]
    # The address and root's password once, for the whole group
    defaults = {"group/pyindex.fleet.devpi": {"unix_socket": real.server.socket, "password": real.password}}
    variables = {"ansible_python_interpreter": sys.executable}
    for changed in ("4", "0"):
        output, counts = play(tmp_path, tasks, "-vvv", "--diff", module_defaults=defaults, vars=variables)
        assert (counts.get("failed"), counts.get("changed")) == ("0", changed), output
        assert '"releases: [' in output
        # Task arguments are shown with -vvv, passwords are not
        assert "s3cret" not in output.replace(json.dumps(str(tmp_path)), "")
        assert real.password not in output


def test_tasks_of_the_role(real: OnReal, tmp_path: Path) -> None:
    tasks = load(ROOT / "roles/devpi/tasks/plan.yml")
    variables = {
        **VARIABLES,
        "devpi_socket": real.server.socket,
        "devpi_root_password": real.password,
        "ansible_python_interpreter": sys.executable,
    }

    def run(*arguments: str, **other: Any) -> tuple[str, dict[str, Any]]:
        return play(tmp_path, tasks, *arguments, vars={**variables, **other})

    for arguments, changed in ((["--check"], "1"), ([], "1"), (["--check"], "0"), ([], "0")):
        output, counts = run(*arguments)
        assert (counts["failed"], counts["changed"]) == ("0", changed), output
        assert "Not declared" not in output
    assert real.client().index("root/pypi")["mirror_cache_expiry"] == 60

    output, _counts = run(devpi_indexes=[])
    message = (
        "Not declared, and left as they are (devpi_prune: true removes them): users (none); indexes devuser/dev, devu"
    )
    assert message in output
    output, counts = run("-vvv", devpi_users=[])
    assert counts["failed"] == "1"
    assert "index 'devuser/dev': its user 'devuser' is not declared." in output
    output, counts = run("-vvv", devpi_root_password="wrong")
    assert "devpi refuses the login of user 'root'" in output
    assert "s3cret" not in output


def test_all_modules_are_in_the_group() -> None:
    assert load(ROOT / "meta/runtime.yml")["action_groups"] == {"devpi": list(NAMES)}
    assert sorted(path.stem for path in ROOT.glob("plugins/modules/devpi_*.py")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_process_of_its_own(real: OnReal, name: str) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "devpi_index": {"name": "devuser/dev"},
        "devpi_release": {"index": "devuser/dev", "files": ["/proc/none.whl"]},
        "devpi_user": {"name": "devuser"},
    }
    arguments = {"unix_socket": real.server.socket, "password": "wrong", **wanted.get(name, {})}
    done = subprocess.run(
        [sys.executable, "-m", f"ansible_collections.pyindex.fleet.plugins.modules.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "devpi refuses the login of user 'root'" in json.loads(done.stdout)["msg"]
