#!/usr/bin/python
# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: one user of a devpi server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: devpi_user
short_description: Manage a user of a devpi server
version_added: 0.2.0
author: The pyindex team (@pyindex)
description:
  - Makes, changes or removes one user. For all users and indexes of a server at once use M(pyindex.fleet.devpi_plan).
  - Only what is given is compared.
extends_documentation_fragment:
  - pyindex.fleet.devpi
  - pyindex.fleet.devpi.attributes
options:
  name:
    description: Name of the user. Of ASCII devpi allows letters, digits and V(- . @ _) only.
    type: str
    required: true
  state:
    description:
      - Whether the user is there. V(absent) removes the user with all indexes and their releases, but not while one of
        them is a non-volatile stage or a base of somebody else's index.
    type: str
    choices: [present, absent]
    default: present
  user_password:
    description:
      - Password of the user. (O(password) is that of the login.) A new user without one can log in only by a plugin
        such as devpi-ldap.
      - Whether it holds already is found out by trying it.
    type: str
  email:
    description: Address. An empty string removes it.
    type: str
  title:
    description: Title. An empty string removes it.
    type: str
  description:
    description: Description. An empty string removes it.
    type: str
  custom_data:
    description: Data of your own. An empty string removes it.
    type: raw
  update_password:
    description: Whether the password of a user that is there already is set again where it differs.
    type: str
    choices: [always, on_create]
    default: always
attributes:
  check_mode:
    description: Can run in check mode, and says what would change.
    support: full
  diff_mode:
    description: Returns the difference, without passwords.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
seealso:
  - module: pyindex.fleet.devpi_plan
"""

EXAMPLES = r"""
- name: Add a user
  pyindex.fleet.devpi_user:
    server_url: https://devpi.example.org
    password: "{{ vault_devpi_root_password }}"
    name: devuser
    user_password: "{{ vault_devpi_devuser_password }}"
    email: devuser@example.org

- name: Let users change their own password
  pyindex.fleet.devpi_user:
    server_url: https://devpi.example.org
    username: devuser
    password: "{{ old_password }}"
    name: devuser
    user_password: "{{ new_password }}"

- name: Remove a user with all indexes
  pyindex.fleet.devpi_user:
    server_url: https://devpi.example.org
    password: "{{ vault_devpi_root_password }}"
    name: former
    state: absent
"""

RETURN = r"""
actions:
  description: What has been done; in check mode what would be done.
  returned: always
  type: list
  elements: str
  sample: [create user devuser]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_arguments import (
    CONNECTION,
    ONE_ADDRESS,
    USER_FIELDS,
    client_from,
    user_from,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import DevpiError
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_plan import Declared, apply, plan

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    **USER_FIELDS,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "user_password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
}


def main() -> None:
    """Look, plan, and unless only checking, apply."""
    # no_log: the arguments hold passwords, and the system log would show them if one has odd quotes in it
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, no_log=True, **ONE_ADDRESS)
    user = user_from(module.params, module.params["user_password"])
    declared = Declared(users=(user,), new_passwords=module.params["update_password"] != "on_create")  # noqa: S105 - a choice
    result: dict[str, Any] = {"changed": False, "actions": []}
    try:
        client = client_from(module.params)
        todo = plan(declared, client)
        apply(todo, None if module.check_mode else client, result)
    except DevpiError as error:
        module.fail_json(msg=str(error), **result)
    for note in todo.notes:
        module.warn(note)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
