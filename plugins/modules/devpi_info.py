#!/usr/bin/python
# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: what a devpi server has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: devpi_info
short_description: Look at a devpi server
version_added: 0.2.0
author: The pyindex team (@pyindex)
description:
  - Returns versions and state of the server, its users, its indexes with their options, and the releases of one index.
extends_documentation_fragment:
  - pyindex.fleet.devpi
  - pyindex.fleet.devpi.attributes
options:
  index:
    description: Index V(user/index) of which the releases are returned too; those it has itself, not those of its bases.
    type: str
  project:
    description: Look at this project only. Required where O(index) is a mirror.
    type: str
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: There is no difference.
    support: none
  idempotent:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Look at the server
  pyindex.fleet.devpi_info:
    unix_socket: /run/devpi/devpi.sock
    password: "{{ vault_devpi_root_password }}"
    index: devuser/staging
  register: devpi

- name: Say which releases there are
  ansible.builtin.debug:
    msg: "{{ item.key }}: {{ item.value | join(', ') }}"
  loop: "{{ devpi.releases | dict2items }}"
"""

RETURN = r"""
status:
  description: State of the server.
  returned: always
  type: dict
  contains:
    role:
      description: V(MASTER) for a primary, V(REPLICA) for a replica, as devpi calls them.
      type: str
    version:
      description: Version of devpi-server.
      type: str
    plugins:
      description: Versions of its plugins by name.
      type: dict
    serial:
      description: Number of the last change.
      type: int
    uuid:
      description: What replicas know the server by.
      type: str
    outside_url:
      description: Address that the server gives its clients; null if it takes it from the request.
      type: str
    polling_replicas:
      description: Replicas that have asked for changes lately.
      type: dict
  sample: {role: MASTER, version: 6.20.3, plugins: {devpi-web: 5.1.1}, serial: 7}
users:
  description: Users by name, with their fields.
  returned: always
  type: dict
  sample: {devuser: {email: devuser@example.org}}
indexes:
  description: Indexes by name, with all options; URLs without the login in them.
  returned: always
  type: dict
  sample: {devuser/staging: {type: stage, volatile: false, bases: [root/pypi]}}
releases:
  description:
    - By project and version the files of O(index). C(rel) is V(releasefile), V(doczip) (documentation) or V(toxresult).
  returned: when O(index) is given
  type: dict
  sample: {example: {"1.0": [{name: example-1.0.tar.gz, rel: releasefile, sha256: 9f86d0...}]}}
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import normalize_project
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_arguments import (
    CONNECTION,
    ONE_ADDRESS,
    client_from,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import (
    DevpiError,
    RefusedError,
    without_login,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_release import Shelf

if TYPE_CHECKING:
    from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client

ARGUMENTS: dict[str, Any] = {**CONNECTION, "index": {"type": "str"}, "project": {"type": "str"}}


def status(client: Client) -> dict[str, Any]:
    """Return the state of the server, without the folders of its host."""
    found = client.status()
    plugins = dict(found.get("versioninfo", {}))
    return {
        "role": found.get("role"),
        "version": plugins.pop("devpi-server", None),
        "plugins": plugins,
        "serial": found.get("serial"),
        "uuid": found.get("uuid"),
        "outside_url": found.get("outside-url"),
        "polling_replicas": found.get("polling_replicas", {}),
    }


def indexes(users: dict[str, Any]) -> dict[str, Any]:
    """Return the indexes of all users by their full name."""
    return {
        f"{user}/{name}": {key: without_login(value) if isinstance(value, str) else value for key, value in one.items()}
        for user, data in users.items()
        for name, one in data.get("indexes", {}).items()
    }


def releases(client: Client, name: str, project: str | None) -> dict[str, Any]:
    """Return the files of the index *name* by project and version."""
    shelf = Shelf(client, name)
    if not project and shelf.options.get("type") == "mirror":
        raise RefusedError(
            f"{name} is a mirror, which may have hundreds of thousands of projects: give project as well"
        )
    return {
        one: {
            version: [{"name": link.basename, "rel": link.rel, "sha256": link.sha256} for link in links]
            for version, links in shelf.releases(one).items()
        }
        for one in ([normalize_project(project)] if project else client.projects(name))
    }


def main() -> None:
    """Ask, and return the answers."""
    module = AnsibleModule(
        ARGUMENTS, supports_check_mode=True, no_log=True, required_by={"project": ["index"]}, **ONE_ADDRESS
    )
    try:
        client = client_from(module.params)
        users = client.users()
        result: dict[str, Any] = {
            "status": status(client),
            "users": {
                name: {key: value for key, value in data.items() if key not in ("indexes", "username")}
                for name, data in users.items()
            },
            "indexes": indexes(users),
        }
        if module.params["index"]:
            result["releases"] = releases(client, module.params["index"], module.params["project"])
    except DevpiError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
