"""What the documentation shows can be copied: it parses, its variables exist, its links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.pyindex.fleet.plugins.filter.unknown_variables import unknown_variables
from tests import roles_reference
from tests.unit.repository import ROLE_IDS, ROOT, files, load, parse

PAGES = [path for path in files() if path.suffix == ".md"]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def examples(page: Path) -> list[Any]:
    """Return the content of each YAML example of a page."""
    blocks = re.findall(r"^```ya?ml\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [parse(block) for block in blocks]


def names(content: Any) -> Iterator[str]:
    """Return each key of each mapping in `content`, however deep."""
    if isinstance(content, dict):
        yield from (str(key) for key in content)
        for value in content.values():
            yield from names(value)
    elif isinstance(content, list):
        for value in content:
            yield from names(value)


@every_page
def test_yaml_examples_parse_and_their_variables_exist(page: Path) -> None:
    used = {name for example in examples(page) for name in names(example)}
    assert unknown_variables(used) == []


@every_page
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    relative = [target for pair in targets for target in pair if target and ":" not in target]
    assert [target for target in relative if not (page.parent / target).exists()] == []


@every_page
def test_named_make_targets_exist(page: Path) -> None:
    rules = "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "Makefile", ROOT / "tests" / "quality.mk"])
    targets = set(re.findall(r"^([\w-]+):", rules, flags=re.MULTILINE))
    used = set(
        re.findall(r"`make (?:-\w+ )?([a-z-]+)`|^make ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert {target for pair in used for target in pair if target} - targets == set()


def test_reference_of_the_roles_is_current() -> None:
    assert roles_reference.PAGE.read_text(encoding="utf-8") == roles_reference.render(), "run: make docs"


def test_readme_lists_every_role_and_tag() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in ROLE_IDS if f"`{name}`" not in readme] == []
    tags = {
        tag
        for path in ROOT.glob("playbooks/**/*.yml")
        for line in re.findall(r"^\s*tags: \[(.*)\]$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for tag in line.split(", ")
    } - {"always", "never"}
    assert {tag for tag in tags if f"`{tag}`" not in readme} == set()


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for path in files()
        if path.parent.parent.name in {"group_vars", "host_vars"} or path.parent.name in {"group_vars", "host_vars"}
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_inventories_use_known_variables(path: Path) -> None:
    assert unknown_variables(load(path)) == []
