"""The third-party collections are named in four places; all four say the same."""

from __future__ import annotations

import json
import site
from pathlib import Path

from packaging.specifiers import SpecifierSet

from tests.unit.repository import ROOT, load


def pinned() -> dict[str, str]:
    return {entry["name"]: entry["version"] for entry in load(ROOT / "collections" / "requirements.yml")["collections"]}


def installed() -> dict[str, str]:
    """Return the versions of the collections that `make setup` took from the package `ansible`."""
    found = {}
    for packages in site.getsitepackages():
        for manifest in Path(packages, "ansible_collections").glob("*/*/MANIFEST.json"):
            info = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]
            found[f"{info['namespace']}.{info['name']}"] = info["version"]
    return found


def test_requirements_name_the_versions_of_the_lock_file() -> None:
    assert pinned() == installed()


def test_galaxy_dependencies_are_pinned_and_satisfied() -> None:
    wanted: dict[str, str] = load(ROOT / "galaxy.yml")["dependencies"]
    assert {
        name: pinned().get(name, "none") for name in wanted if pinned().get(name, "0") not in SpecifierSet(wanted[name])
    } == {}


def test_the_same_ansible_core_is_asked_for_everywhere() -> None:
    """The newest ignore file of ansible-test tells the version that the sanity tests are run with."""
    runtime = load(ROOT / "meta" / "runtime.yml")["requires_ansible"]
    [ignored] = ROOT.glob("tests/sanity/ignore-*.txt")
    minor = ignored.stem.removeprefix("ignore-")
    assert f"{minor}.0" in SpecifierSet(runtime)
    assert f"ansible-core=={minor}." in (ROOT / "requirements.txt").read_text(encoding="utf-8")
