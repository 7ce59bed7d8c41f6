# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the role htpasswd: they run on the controller, so passwords never reach a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

from ansible_collections.pyindex.fleet.plugins.plugin_utils import _htpasswd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def htpasswd_content(users: Sequence[Mapping[str, Any]], right: str, existing: str = "", cost: int = 10) -> str:
    """Return the credentials file of the *users* that have *right*; see ``_htpasswd.content``."""
    try:
        return _htpasswd.content(users, right, existing, cost)
    except ImportError as error:
        raise AnsibleFilterError(
            "the controller's Python lacks the package bcrypt: install it into the environment that runs "
            "ansible-playbook (it is in requirements.txt)"
        ) from error


def htpasswd_problems(users: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with *users*, a sentence each; see ``_htpasswd.problems``."""
    return _htpasswd.problems(users)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters for Ansible."""
        return {"htpasswd_content": htpasswd_content, "htpasswd_problems": htpasswd_problems}
