"""What the tests of the repository itself look at: its files, its roles, its YAML."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.parents[1] for path in ROOT.glob("roles/*/tasks/main.yml"))
ROLE_IDS = [role.name for role in ROLES]


class Loader(yaml.SafeLoader):
    """YAML as Ansible writes it: tags such as !vault stay what they tag."""


def _construct_tagged(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node)


Loader.add_multi_constructor("!", _construct_tagged)


def load(path: Path) -> Any:
    """Return the content of the YAML file `path`; an empty mapping when it has none or is not there."""
    return parse(path.read_text(encoding="utf-8")) if path.is_file() else {}


def parse(text: str) -> Any:
    """Return the content of the YAML document `text`; an empty mapping when it has none."""
    content = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    return {} if content is None else content


@functools.cache
def files() -> tuple[Path, ...]:
    """Return the files that are or will be in the repository, whether committed already or not."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if os.path.lexists(path) and not path.is_symlink())


def texts() -> Iterator[tuple[Path, str]]:
    """Return the path, from the root, and the content of each file of the repository that is text."""
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path.relative_to(ROOT), content.decode("utf-8")


def tasks_of(content: Any) -> Iterator[dict[str, Any]]:
    """Return the tasks in a tasks file or a playbook, those in blocks and plays included."""
    for item in content if isinstance(content, list) else []:
        if not isinstance(item, dict):
            continue
        inner = [item[key] for key in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks") if key in item]
        if not inner and "hosts" not in item:
            yield item
        for tasks in inner:
            yield from tasks_of(tasks)
