# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guesses what a misspelt name was meant to be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nearest
author: The pyindex team (@pyindex)
version_added: 0.1.0
short_description: Guess what a misspelt name was meant to be
description:
  - Gives the sentence with which a message about an unknown name can go on.
options:
  _input:
    description: The name that is not known.
    type: str
    required: true
  known:
    description: The names that are known.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse an index that is not declared
  ansible.builtin.assert:
    that: devpi_default_index in declared
    fail_msg: >-
      devpi_default_index is {{ devpi_default_index }}, which is not declared.
      {{ devpi_default_index | pyindex.fleet.nearest(declared) }}
  vars:
    declared: [devuser/staging, devuser/dev]
"""

RETURN = r"""
_value:
  description: A sentence such as C(Did you mean devuser/dev?), or nothing if no known name is like it.
  type: str
"""

import difflib
from collections.abc import Callable, Iterable

from ansible.errors import AnsibleFilterError


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean X?" with the one of `known` that is most like `name`, or "" if none is."""
    if isinstance(known, str) or not isinstance(known, Iterable):
        raise AnsibleFilterError(f"nearest wants a list of names, not {type(known).__name__}.")
    found = difflib.get_close_matches(str(name), [str(each) for each in known], n=1)
    return f"Did you mean {found[0]}?" if found else ""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"nearest": nearest}
