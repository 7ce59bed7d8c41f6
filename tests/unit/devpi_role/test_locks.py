"""The locks of devpi-server and its plugins: any of them can be installed with any other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.unit.repository import ROOT, load

FILES = ROOT / "roles" / "devpi" / "files"
SOURCES = sorted(FILES.glob("requirements*.in"))
PLUGINS = load(ROOT / "roles/devpi/meta/argument_specs.yml")["argument_specs"]["main"]["options"]["devpi_plugins"]


def pins(lock: Path) -> dict[str, set[tuple[str, str]]]:
    """Return the versions, with what they are for, of each project in a lock."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in re.findall(r"^[\w.-]+==[^\\\n]*", lock.read_text(encoding="utf-8"), flags=re.MULTILINE):
        requirement = Requirement(line.strip())
        found.setdefault(requirement.name, set()).add((str(requirement.specifier), str(requirement.marker)))
    return found


def test_every_choice_has_a_lock() -> None:
    wanted = {"requirements-lockdown", "requirements"}
    wanted |= {plugin.replace("devpi-", "requirements-") for plugin in PLUGINS["choices"]}
    assert {source.stem for source in SOURCES} == wanted
    assert {lock.stem for lock in FILES.glob("*.txt")} == wanted


def test_the_locks_agree() -> None:
    together: dict[str, set[tuple[str, str]]] = {}
    for source in SOURCES:
        for project, versions in pins(source.with_suffix(".txt")).items():
            assert together.setdefault(project, versions) == versions, f"{source.stem}: {project}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_lock_has_what_its_source_asks_for(source: Path) -> None:
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if re.match(r"\w", line)]
    assert [line for line in lines if not re.search(r"\w +# \w", line)] == [], "say what it is for"
    locked = {
        name: versions
        for lock in (FILES / "requirements.txt", source.with_suffix(".txt"))
        for name, versions in pins(lock).items()
    }
    for line in lines:
        wanted = Requirement(line.partition("#")[0].strip())
        assert [
            version for version, _digest in locked[wanted.name] if Version(version[2:]) not in wanted.specifier
        ] == []


def test_what_has_no_wheel_is_built_with_locked_tools() -> None:
    """pyramid-chameleon's only file is a source distribution; setuptools builds it without fetching anything."""
    defaults = (ROOT / "roles/devpi/defaults/main.yml").read_text(encoding="utf-8")
    assert "devpi_source_projects: [pyramid-chameleon]" in defaults
    assert "setuptools" in pins(FILES / "requirements.txt")
