"""The module as Ansible runs it: check, apply, check again, apply again; in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
# Refuses what holds "broken", complains about what holds "odd"; names files by the path it was given
NGINX = """#!/bin/sh
conf=$4
case $1$2$3 in -t-q-c) ;; *) echo "called as: $*" >&2; exit 2 ;; esac
echo called >> {log}
if grep -rq broken "${{conf%/*}}/"; then echo "nginx: [emerg] broken in $conf:1" >&2; exit 1; fi
if grep -rq odd "${{conf%/*}}/"; then echo "nginx: [warn] odd in $conf:1" >&2; fi
"""


class Module:
    """The module on a host of which only a directory is real."""

    def __init__(self, directory: Path) -> None:
        self.etc = directory / "etc"
        self.state = directory / "lib" / "applied.json"
        self.log = directory / "log"
        (self.etc / "conf.d").mkdir(parents=True)
        (self.etc / "nginx.conf").write_text("of the package\n")
        self.nginx = directory / "nginx"
        self.nginx.write_text(NGINX.format(log=self.log))
        self.nginx.chmod(0o755)

    def __call__(self, site: str = "fine\n", check: bool = False, unit: str = "unit\n", **more: Any) -> dict[str, Any]:
        parameters = {
            "files": [
                {"path": str(self.etc / "nginx.conf"), "content": "# Managed by Ansible (pyindex.fleet)\n"},
                {"path": str(self.etc / "conf.d" / "pyindex-index.conf"), "content": site},
                {"path": str(self.etc.parent / "unit" / "a.conf"), "content": unit, "apply": "restart"},
            ],
            "absent": [str(self.etc / "conf.d" / "pyindex-*.conf")],
            "directory": str(self.etc),
            "backup_directory": str(self.state.parent),
            "state_file": str(self.state),
            "executable": str(self.nginx),
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **more,
        }
        done = subprocess.run(
            [sys.executable, "-m", "ansible_collections.pyindex.fleet.plugins.modules.nginx_configuration"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": parameters}),
            env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def applied(self, result: dict[str, Any]) -> None:
        """What the role's handler does after a reload."""
        self.state.write_text(json.dumps(result["state"]))

    def texts(self) -> dict[str, str]:
        root = self.etc.parent
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.conf") if path.is_file()}


@pytest.fixture
def module(tmp_path: Path) -> Module:
    return Module(tmp_path)


def test_check_apply_check_again_apply_again(module: Module) -> None:
    before = module.texts()
    checked = module(check=True)
    assert (checked["changed"], checked["action"]) == (True, "restart")
    assert module.texts() == before
    assert not module.log.exists()
    assert not module.state.parent.exists()

    done = module()
    assert (done["changed"], done["action"], done["changed_files"]) == (True, "restart", checked["changed_files"])
    assert done["diff"] == checked["diff"]
    assert len(done["changed_files"]) == 3
    assert module.texts()["etc/conf.d/pyindex-index.conf"] == "fine\n"
    assert (module.etc / "conf.d/pyindex-index.conf").stat().st_mode & 0o777 == 0o644
    # What the package brought is kept
    assert [Path(path).read_text() for path in done["backups"]] == ["of the package\n"]

    module.applied(done)
    for check in (True, False):
        again = module(check=check)
        assert (again["changed"], again["action"], again["changed_files"]) == (False, "none", [])
    # Nothing to try, nothing tried
    assert module.log.read_text() == "called\n"


def test_what_nginx_refuses_changes_nothing(module: Module) -> None:
    done = module()
    module.applied(done)
    before, state = module.texts(), module.state.read_text()
    refused = module("broken\n", unit="other\n")
    assert refused["failed"]
    assert "nginx refuses the new configuration, so nothing was changed" in refused["msg"]
    # By its name on the host, not in the copy
    assert f"broken in {module.etc}/nginx.conf:1" in refused["msg"]
    assert (module.texts(), module.state.read_text()) == (before, state)


def test_a_broken_file_on_the_host_does_not_stop_the_run_that_mends_it(module: Module) -> None:
    module.applied(module())
    (module.etc / "conf.d" / "pyindex-index.conf").write_text("broken\n")
    (module.etc / "conf.d" / "pyindex-old.conf").write_text("broken\n")
    mended = module()
    assert (mended["changed"], mended["action"]) == (True, "reload")
    assert "etc/conf.d/pyindex-old.conf" not in module.texts()


def test_a_file_that_two_patterns_name_is_removed_once(module: Module) -> None:
    module.applied(module())
    (module.etc / "conf.d" / "pyindex-old.conf").write_text("old\n")
    patterns = [str(module.etc / "conf.d" / name) for name in ("pyindex-*.conf", "pyindex-old.conf", "*-old.conf")]
    done = module(absent=patterns)
    assert done["changed_files"] == [patterns[1]]
    assert "etc/conf.d/pyindex-old.conf" not in module.texts()


def test_warnings_are_shown(module: Module) -> None:
    shown = json.dumps(module("odd\n")["warnings"])
    assert f"odd in {module.etc}/nginx.conf:1" in shown


def test_an_interrupted_run_is_finished_by_the_next(module: Module) -> None:
    module.applied(module())
    assert module("second\n")["action"] == "reload"
    # The handlers did not run
    again = module("second\n")
    assert (again["changed"], again["action"], again["changed_files"]) == (True, "reload", [])
    module.applied(again)
    assert not module("second\n")["changed"]


def test_without_nginx_the_message_says_what_to_do(module: Module) -> None:
    assert "Install nginx first" in module(executable="no-such-nginx")["msg"]
    # ... but check mode on a pristine host goes on
    assert module(executable="no-such-nginx", check=True)["changed"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"reload": 1}'])
def test_an_unreadable_state_counts_as_none(content: str, module: Module) -> None:
    module.applied(module())
    module.state.write_text(content)
    assert module()["action"] == "restart"
