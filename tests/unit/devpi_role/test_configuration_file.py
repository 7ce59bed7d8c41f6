"""devpi-server's file: what the role writes is what devpi-server reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.devpi_server import install
from tests.unit.repository import ROOT

READ = "import json, sys; from devpi_server.config import load_config_file; print(json.dumps(load_config_file(sys.argv[1])))"


def written(folder: Path, **variables: Any) -> dict[str, Any]:
    """Return what devpi-server reads from the file that the role writes with these variables."""
    play = folder / "play.yml"
    target = folder / "devpi-server.yml"
    values = {"devpi_server_name": "devpi.example.org", "devpi_root_password": "secret", **variables}
    role = ROOT / "roles" / "devpi"
    tasks = [
        {
            "ansible.builtin.template": {
                "src": str(role / "templates" / "devpi-server.yml.j2"),
                "dest": str(target),
                "mode": "0600",
            }
        }
    ]
    files = [str(role / "defaults" / "main.yml"), str(role / "vars" / "main.yml")]
    play.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "localhost",
                    "gather_facts": False,
                    "vars_files": [*files, str(folder / "own.yml")],
                    "tasks": tasks,
                }
            ]
        )
    )
    (folder / "own.yml").write_text(yaml.safe_dump(values))
    ansible = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run(
        [
            ansible,
            "--inventory=localhost,",
            "--connection=local",
            f"--extra-vars=ansible_python_interpreter={sys.executable}",
            str(play),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = subprocess.run(
        [install() / "python", "-c", READ, target], capture_output=True, text=True, check=True
    ).stdout
    options: dict[str, Any] = json.loads(shown)
    return options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration")


def test_the_defaults_are_safe(folder: Path) -> None:
    options = written(folder)
    assert options["restrict-modify"] == "root"
    assert options["role"] == "primary"
    assert options["outside-url"] == "https://devpi.example.org"
    assert options["unix-socket"] == "/run/devpi/devpi.sock"
    assert options["secretfile"].startswith(options["serverdir"])
    assert options["indexer-backend"] == "whoosh"
    assert options["documentation-path"] == f"{options['serverdir']}/+docs"
    assert not {"host", "port", "listen"} & set(options)
    assert options["max-request-body-size"] == str(1024**3)


def test_options_of_every_kind(folder: Path) -> None:
    options = written(
        folder,
        devpi_plugins=[],
        devpi_lockdown=False,
        devpi_https_port=8443,
        devpi_options={
            "restrict-modify": "root,:admins",
            "mirror-cache-expiry": 60,
            "absolute-urls": True,
            "no-replica-streaming": False,
            "replica-file-search-path": 'a: "b" # \\ ü',
            "storage": {"name": "sqlite", "fsbackend": "fs"},
            "trusted-proxy": "null",
        },
    )
    assert options["restrict-modify"] == "root,:admins"
    assert options["mirror-cache-expiry"] == "60"
    assert (options["absolute-urls"], options["no-replica-streaming"]) == ("true", "false")
    assert options["replica-file-search-path"] == 'a: "b" # \\ ü'
    assert options["storage"] == {"name": "sqlite", "fsbackend": "fs"}
    assert options["trusted-proxy"] == "null"
    assert options["outside-url"] == "https://devpi.example.org:8443"
    # Options of devpi-web: without it, devpi-server does not know them
    assert not {"indexer-backend", "documentation-path"} & set(options)


def test_search_can_be_left_out(folder: Path) -> None:
    assert written(folder, devpi_search_index=False)["indexer-backend"] == "null"
