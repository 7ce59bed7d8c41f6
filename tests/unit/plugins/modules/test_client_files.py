"""The module as Ansible runs it: check, apply, check again, apply again, away; in a process of its own."""

from __future__ import annotations

import base64
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[4]
SECRET = "s3cret'\"%;"


class Module:
    """The module on a host of which only a directory is real."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir()
        entry = pwd.getpwuid(os.geteuid())
        self.user = entry.pw_name
        # The module looks up its user's home: a password database of its own, without touching the machine's
        (directory / "sitecustomize.py").write_text(
            "import pwd\n"
            "found = pwd.getpwnam\n"
            "def getpwnam(name):\n"
            "    entry = found(name)\n"
            f"    return pwd.struct_passwd([*entry[:5], {str(self.home)!r}, entry.pw_shell])\n"
            "pwd.getpwnam = getpwnam\n"
        )

    def __call__(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        parameters = {
            "name": "test",
            "state_directory": str(self.directory / "state"),
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **arguments,
        }
        done = subprocess.run(
            [sys.executable, "-m", "ansible_collections.pyindex.fleet.plugins.modules.client_files"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": parameters}),
            env={**os.environ, "PYTHONPATH": f"{self.directory}:{ROOT / 'collections'}", "PATH": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert json.dumps(SECRET)[1:-1] not in done.stdout
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@pytest.fixture
def module(tmp_path: Path) -> Module:
    return Module(tmp_path)


def declared(module: Module) -> dict[str, Any]:
    return {
        "files": [
            {"paths": [str(module.directory / "pip.conf"), "~/.config/pip/pip.conf"], "content": "[global]\n"},
        ],
        "users": [{"name": module.user, "username": "up", "password": SECRET, "upload": True}],
        "netrc_machines": ["index1.example.org"],
        "pypirc": {"repository": "pyindex", "url": "https://index1.example.org/"},
        "devpi_index": "https://index1.example.org/user/dev/",
    }


def test_check_apply_check_apply_away(module: Module) -> None:
    (module.directory / "pip.conf").write_text("edited by a person\n")
    arguments = declared(module)

    would = module(check=True, **arguments)
    assert would["changed"] is True
    assert [file["action"] for file in would["files"]] == ["updated", *["created"] * 5]
    assert "edited by a person" in would["diff"][0]["before"]
    assert list(module.home.iterdir()) == []

    done = module(**arguments)
    assert done["changed"] is True
    assert done["files"] == would["files"]
    assert SECRET in (module.home / ".netrc").read_text()

    assert module(check=True, **arguments)["changed"] is False
    assert module(**arguments)["changed"] is False

    away = {**arguments, "state": "absent"}
    assert module(check=True, **away)["changed"] is True
    assert module(**away)["changed"] is True
    assert (module.directory / "pip.conf").read_text() == "edited by a person\n"
    assert list(module.home.iterdir()) == []
    assert module(**away)["changed"] is False


def test_a_login_in_urls_is_private_and_shown_nowhere(module: Module) -> None:
    path, home = module.directory / "pip.conf", module.home / ".pip/pip.conf"
    secret = quote(SECRET, safe="")
    arguments: dict[str, Any] = {
        "files": [
            {"paths": [str(path), "~/.pip/pip.conf"], "content": "u = https://{login}h/\n", "login": "password"},
        ],
        "users": [{"name": module.user, "username": "me", "password": SECRET}],
        "shared_login": {"username": "all", "password": SECRET},
        "keyring_services": ["h"],
    }
    result = module(**arguments)
    assert path.read_text() == f"u = https://all:{secret}@h/\n"
    assert home.read_text() == f"u = https://me:{secret}@h/\n"
    keyring = module.home / ".local/share/python_keyring/keyring_pass.cfg"
    for file in (path, home, keyring):
        assert file.stat().st_mode & 0o777 == 0o600, file
    for text in (secret, base64.b64encode(SECRET.encode()).decode()):
        assert text not in json.dumps(result)
    assert module(**arguments)["changed"] is False
    # Another login: the same places, and the old password is nowhere
    arguments["users"][0] |= {"username": "other", "password": "changed"}
    assert secret not in json.dumps(module(**arguments))
    assert home.read_text() == "u = https://other:changed@h/\n"
    assert "me =" not in keyring.read_text()
    module(**{**arguments, "files": [], "keyring_services": []})
    assert [entry for entry in module.home.rglob("*") if entry.is_file()] == []
    assert not path.exists()


def test_what_devpi_has_added_to_its_file_stays(module: Module) -> None:
    arguments = declared(module)
    path = module.home / ".devpi/client/current.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"index": "https://other.example.org/a/b", "venvdir": "/v"}')
    module(**arguments)
    assert json.loads(path.read_text())["index"] == "https://index1.example.org/user/dev"
    path.write_text(json.dumps({**json.loads(path.read_text()), "settrusted": True}, indent=2, sort_keys=True))
    assert module(**arguments)["changed"] is False
    module(**{**arguments, "state": "absent"})
    assert json.loads(path.read_text()) == {
        "index": "https://other.example.org/a/b",
        "venvdir": "/v",
        "settrusted": True,
    }


def test_a_broken_file_of_devpi_is_named(module: Module) -> None:
    path = module.home / ".devpi/client/current.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    result = module(**declared(module))
    assert f"{path}: this is no JSON. The tools cannot read this file either" in result["msg"]
    assert not (module.home / ".netrc").exists()


def test_absent_where_nothing_was_ever_done(module: Module) -> None:
    assert module(state="absent")["changed"] is False


def test_an_edit_is_kept_and_said(module: Module) -> None:
    path = module.directory / "pip.conf"
    arguments: dict[str, Any] = {"files": [{"paths": [str(path)], "content": "ours\n"}]}
    module(**arguments)
    path.write_text("theirs\n")
    result = module(**arguments)
    assert Path(result["kept"][str(path)]).read_text() == "theirs\n"
    assert "edited by hand" in str(result["warnings"])


def test_a_fault_is_a_message_and_changes_nothing(module: Module) -> None:
    arguments = declared(module)
    arguments["users"] = [{"name": "nobody-has-this-name", "username": "up", "password": SECRET}]
    result = module(**arguments)
    assert result["failed"] is True
    assert "'nobody-has-this-name' does not exist" in result["msg"]
    assert not (module.directory / "pip.conf").exists()
    checked = module(check=True, **arguments)
    assert "failed" not in checked
    assert "'nobody-has-this-name' does not exist" in str(checked["warnings"])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"paths": ["etc/pip.conf"]}, "no absolute path"),
        ({"paths": ["/etc/../pip.conf"]}, "no absolute path"),
        ({"paths": ["~/../pip.conf"]}, "no absolute path"),
        ({"paths": ["/pip.conf"], "mode": "420"}, "not octal"),  # 0644 without quotes, read by YAML as a number
        ({"paths": ["/pip.conf"], "mode": "rw"}, "not octal"),
    ],
)
def test_paths_and_modes(module: Module, file: dict[str, Any], message: str) -> None:
    result = module(check=True, files=[{"content": "", **file}])
    assert message in result["msg"]


def test_a_program_that_is_missing_is_returned(module: Module) -> None:
    from tests.unit.pip_client.test_client_files import certificate

    result = module(
        trust_anchor={
            "path": str(module.directory / "ca.crt"),
            "certificate": certificate(),
            "command": ["rebuild-trust"],
        }
    )
    assert result["missing_commands"] == ["rebuild-trust"]
