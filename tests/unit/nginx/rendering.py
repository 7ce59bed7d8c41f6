"""Ansible's own templating over the role, in a process of its own: its plugin loader takes over all of
``ansible_collections``, which other tests import as plain packages."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROLE = Path(__file__).parents[3] / "roles" / "nginx"


def evaluate(expression: str, family: str, variables: Mapping[str, Any], other_role: str = "") -> Any:
    """Return the value of a Jinja expression where the role's variables are known, `variables` over them.

    The defaults of `other_role` are known as well.
    """
    return _worker().submit(_evaluate, expression, family, dict(variables), other_role).result(60)


@functools.cache
def _worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(ROLE.parents[1] / "collections")])


def _evaluate(expression: str, family: str, variables: dict[str, Any], other_role: str) -> Any:
    import json

    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    known: dict[str, Any] = {"ansible_search_path": [str(ROLE)]}
    paths = ["defaults/main.yml", "vars/main.yml", f"vars/{family}.yml"]
    if other_role:
        paths.append(f"../{other_role}/defaults/main.yml")
    for path in paths:
        known |= loader.load_from_file(str(ROLE / path), trusted_as_template=True)
    value = Templar(loader, known | variables).template(trust_as_template("{{ " + expression + " }}"))
    # Without what Ansible notes about where values come from
    return json.loads(json.dumps(value))
