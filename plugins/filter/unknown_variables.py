# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names misspelt variables, which Ansible itself passes over in silence."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
author: The pyindex team (@pyindex)
version_added: 0.1.0
short_description: Find variables that look like a role's option but are none
description:
  - Ansible ignores a variable that no role knows, so a misspelt one changes nothing and says nothing.
  - This filter looks at the names of a host's variables. One that begins with the name of a role of this
    collection and is no option of that role gives a message, with the nearest option there is.
  - The keys of options that are dictionaries, or lists of them, are looked at in the same way, where the values are given
    too. Ansible refuses such a key by itself, but does not say which one was probably meant.
  - The options are read from the argument specifications and defaults of the roles of this collection.
options:
  _input:
    description: Names of variables, or a mapping whose keys are the names, such as C(hostvars[inventory_hostname]).
    type: raw
    required: true
  allowed:
    description:
      - Names that are meant for something else than this collection. A C(*) stands for any characters.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse misspelt variables
  ansible.builtin.assert:
    that: __preflight_unknown is falsy
    fail_msg: "{{ __preflight_unknown | join('\n') }}"
  vars:
    __preflight_unknown: "{{ hostvars[inventory_hostname] | pyindex.fleet.unknown_variables }}"

- name: A variable of one's own that begins with nginx_
  ansible.builtin.debug:
    msg: "{{ ['nginx_sites', 'nginx_exporter_port'] | pyindex.fleet.unknown_variables(allowed=['nginx_exporter_*']) }}"
"""

RETURN = r"""
_value:
  description: One message for each unknown variable, in alphabetical order. Empty when all are known.
  type: list
  elements: str
"""

import difflib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

ROLES = Path(__file__).parents[2] / "roles"


def explain(names: Iterable[str], options: Mapping[str, Collection[str]], allowed: Collection[str] = ()) -> list[str]:
    """Return a message for each of `names` that begins with a role's name and is no option of that role.

    `options` maps a role's name to its options. `allowed` are names (with ``*``) that are left alone.
    """
    known = {option for of_role in options.values() for option in of_role}
    messages = []
    for name in sorted(set(names) - known):
        # `pip_client_` before a shorter prefix, should there ever be one
        role = max((role for role in options if name.startswith(f"{role}_")), key=len, default=None)
        if role is None or any(fnmatchcase(name, pattern) for pattern in allowed):
            continue
        near = difflib.get_close_matches(name, sorted(options[role]), n=1)
        hint = f"Did you mean {near[0]}?" if near else "docs/roles.md lists those that it has."
        messages.append(f"{name} is no option of the role pyindex.fleet.{role}, so it would change nothing. {hint}")
    return messages


def explain_keys(name: str, value: object, options: Mapping[str, Any]) -> Iterator[str]:
    """Say which keys of `value`, a dictionary or a list of them, are not among `options` (an argument specification)."""
    if isinstance(value, list):
        for number, element in enumerate(value):
            title = element.get("name") if isinstance(element, Mapping) else None
            yield from explain_keys(f"{name}[{title if isinstance(title, str) else number}]", element, options)
        return
    if not isinstance(value, Mapping):
        return
    for key in value:
        if key not in options:
            near = difflib.get_close_matches(str(key), sorted(options), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(sorted(options))}."
            yield f"{name} has {key}, which is no option of it. {hint}"
        elif options[key].get("options"):
            yield from explain_keys(f"{name}.{key}", value[key], options[key]["options"])


@functools.cache
def read_options(roles: Path) -> dict[str, frozenset[str]]:
    """Return the options of each role below `roles`, from its argument specification and its defaults."""
    options = {}
    for spec in sorted(roles.glob("*/meta/argument_specs.yml")):
        role = spec.parents[1]
        entry_points = (yaml.safe_load(spec.read_text(encoding="utf-8")) or {}).get("argument_specs") or {}
        names = {name for entry in entry_points.values() for name in entry.get("options") or {}}
        defaults = role / "defaults" / "main.yml"
        if defaults.is_file():
            names |= set(yaml.safe_load(defaults.read_text(encoding="utf-8")) or {})
        options[role.name] = frozenset(names)
    return options


@functools.cache
def read_suboptions(roles: Path) -> dict[str, dict[str, Any]]:
    """Return the options below `roles` that are dictionaries or lists of them, with what these may hold."""
    found = {}
    for spec in sorted(roles.glob("*/meta/argument_specs.yml")):
        entry_points = (yaml.safe_load(spec.read_text(encoding="utf-8")) or {}).get("argument_specs") or {}
        for entry in entry_points.values():
            for name, option in (entry.get("options") or {}).items():
                if option.get("options"):
                    found[name] = option["options"]
    return found


def unknown_variables(variables: Iterable[str], allowed: Collection[str] = ()) -> list[str]:
    """Return a message for each name in `variables` that looks like an option of a role but is none."""
    if isinstance(variables, str) or not isinstance(variables, Iterable):
        raise AnsibleFilterError(
            f"unknown_variables wants a list of names or a mapping, not {type(variables).__name__}."
        )
    if isinstance(allowed, str):
        raise AnsibleFilterError("unknown_variables: write allowed as a list, even for one name.")
    messages = explain((str(name) for name in variables), read_options(ROLES), allowed)
    if isinstance(variables, Mapping):
        for name, options in read_suboptions(ROLES).items():
            if name in variables:
                messages += explain_keys(name, variables[name], options)
    return messages


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"unknown_variables": unknown_variables}
