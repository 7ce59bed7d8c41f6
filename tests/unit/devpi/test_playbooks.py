"""What people run: promote_release.yml and the seed of the role devpi, on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.devpi.conftest import OnReal
from tests.unit.pypiserver import made
from tests.unit.repository import ROOT

LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
PROMOTE = ROOT / "playbooks/promote_release.yml"
FROM_TO = ["--extra-vars=promote_from=devuser/dev", "--extra-vars=promote_to=devuser/staging"]
EXAMPLE = [*FROM_TO, "--extra-vars=promote_name=example", "--extra-vars=promote_version=1.10"]
SEED = """\
- hosts: devpi_primary
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: pyindex.fleet.devpi
        tasks_from: seed
"""


def wheel(folder: Path, name: str, version: str, value: str = "1") -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    path.write_bytes(made.wheel(name, version, {"value": value.encode()}))
    return path


class Fleet:
    """An inventory whose primary is this machine, with a server that has the indexes of devuser."""

    def __init__(self, devpi: OnReal, folder: Path) -> None:
        self.devpi = devpi
        self.folder = folder
        self.variables: dict[str, Any] = {
            **LOCAL,
            "devpi_server_name": "devpi.example.org",
            "devpi_socket": devpi.server.socket,
            "devpi_root_password": devpi.password,
            "devpi_users": [{"name": "devuser", "password": "devuser-password"}],
            "devpi_indexes": [{"name": "devuser/staging"}, {"name": "devuser/dev", "acl_upload": ["ldap", "devuser"]}],
            "devpi_default_index": "devuser/dev",
        }
        self.hosts = ["primary"]
        self.seed = folder / "seed.yml"
        self.seed.write_text(SEED)

    def upload(self, value: str = "1") -> None:
        """Put a release into dev."""
        path = wheel(self.folder / "wheels", "example", "1.10", value)
        result = self.devpi(
            "devpi_release", username="devuser", password="devuser-password", index="devuser/dev", files=[str(path)]
        )
        assert result["changed"], result

    def files(self, index: str, project: str = "example") -> list[str]:
        """Return the names of a project's files on an index."""
        found = self.devpi.client().releases(index, project)
        return [link.basename for links in found.values() for link in links]

    def __call__(self, playbook: Path, *arguments: str) -> tuple[int, str]:
        """Run a playbook; return the number of changes, -1 for a failure, and what was said."""
        inventory = self.folder / "hosts.yml"
        hosts = dict.fromkeys(self.hosts)
        inventory.write_text(yaml.safe_dump({"devpi_primary": {"hosts": hosts, "vars": self.variables}}))
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                f"--inventory={inventory}",
                "--diff",
                *arguments,
                str(playbook),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert "devuser-password" not in said
        assert self.devpi.password not in said
        stats = json.loads(done.stdout[done.stdout.index("{") :])["stats"].values()
        failed = any(host["failures"] or host["unreachable"] for host in stats)
        return -1 if failed else sum(host["changed"] for host in stats), said


@pytest.fixture
def fleet(real_team: OnReal, tmp_path: Path) -> Fleet:
    (tmp_path / "wheels").mkdir()
    return Fleet(real_team, tmp_path)


def test_check_promote_check_promote(fleet: Fleet) -> None:
    fleet.upload()
    assert fleet(PROMOTE, *EXAMPLE, "--check")[0] == 1
    assert fleet.files("devuser/staging") == []
    assert fleet(PROMOTE, *EXAMPLE)[0] == 1
    assert fleet.files("devuser/staging") == ["example-1.10-py3-none-any.whl"]
    assert fleet(PROMOTE, *EXAMPLE, "--check")[0] == 0
    assert fleet(PROMOTE, *EXAMPLE)[0] == 0
    fleet.upload(value="2")
    changes, said = fleet(PROMOTE, *EXAMPLE)
    assert changes == -1
    assert "devuser/staging is non-volatile and has other content for example 1.10" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "promote_name, promote_version, promote_from, promote_to: not given"),
        (FROM_TO, "promote_name, promote_version: not given. Say what to promote and where: -e promote_name=NAME"),
        ([*EXAMPLE, "-epromote_from=dev"], "dev: no index. Write promote_from and promote_to as USER/INDEX."),
        (
            [*EXAMPLE, "-epromote_to=nobody/staging"],
            "No password is known of nobody, who would upload to nobody/staging",
        ),
        (EXAMPLE, "devuser/dev has no release example 1.10. It does not have the project at all"),
        ([*EXAMPLE, "-epromote_from=devuser/dve"], "devpi has no index 'devuser/dve'. Did you mean 'devuser/dev'?"),
    ],
)
def test_what_is_wrong_is_said(fleet: Fleet, arguments: list[str], message: str) -> None:
    changes, said = fleet(PROMOTE, *arguments)
    assert changes == -1
    assert message in said


def test_several_primaries(fleet: Fleet) -> None:
    fleet.hosts = ["first", "second"]
    assert "There are several devpi primaries: first, second" in fleet(PROMOTE, *EXAMPLE)[1]


def test_seed_what_is_missing(fleet: Fleet) -> None:
    folder = fleet.folder / "packages"
    (folder / "more").mkdir(parents=True)
    fleet.variables["devpi_seed_from"] = str(folder)
    assert "there is no wheel and no source distribution" in fleet(fleet.seed)[1]
    wheel(folder, "example", "1.0")
    wheel(folder / "more", "other", "2.0")
    (folder / "README").write_text("none of them")
    assert fleet(fleet.seed, "--check")[0] == 1
    assert fleet.files("devuser/dev") == []
    assert fleet(fleet.seed)[0] == 1
    assert fleet.files("devuser/dev", "other") == ["other-2.0-py3-none-any.whl"]
    assert fleet(fleet.seed, "--check")[0] == 0
    assert fleet(fleet.seed)[0] == 0
    wheel(folder, "example", "1.1")
    (folder / "broken-1.0-py3-none-any.whl").write_text("half a file")
    changes, said = fleet(fleet.seed)
    assert changes == -1
    assert "broken-1.0-py3-none-any.whl: it is damaged" in said
    assert sorted(fleet.files("devuser/dev")) == ["example-1.0-py3-none-any.whl", "example-1.1-py3-none-any.whl"]


def test_nobody_who_may_seed(fleet: Fleet) -> None:
    wheel(fleet.folder / "wheels", "example", "1.0")
    fleet.variables |= {"devpi_seed_from": str(fleet.folder / "wheels"), "devpi_seed_index": "ldap/dev"}
    assert "devpi_seed_index: no password is known of ldap, who may upload to ldap/dev" in fleet(fleet.seed)[1]
