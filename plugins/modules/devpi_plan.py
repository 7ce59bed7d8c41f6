#!/usr/bin/python
# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: all users and indexes of a devpi server at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: devpi_plan
short_description: Apply the users and indexes of a devpi server as one plan
version_added: 0.2.0
author: The pyindex team (@pyindex)
description:
  - Makes and changes the users and indexes of a devpi server, all in one call and in the order in which they depend on
    each other. What is not declared is reported, and removed only with O(prune).
  - The whole plan is checked first. With a mistake anywhere in it (an unknown option, a base that does not exist, a
    circle of bases, a forbidden or repeated name, a mirror without URL, an index of a user that is not declared)
    nothing is changed, and all mistakes are named.
  - Only what is declared is compared. An option that is no longer declared keeps its value. One thing has a default of
    our own, O(indexes[].acl_toxresult_upload).
  - The user V(root) and the index V(root/pypi), which devpi makes itself, are touched only when they are declared.
extends_documentation_fragment:
  - pyindex.fleet.devpi
  - pyindex.fleet.devpi.attributes
options:
  users:
    description: Users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name. Of ASCII devpi allows letters, digits and V(- . @ _) only.
        type: str
        required: true
      state:
        description:
          - Whether the user is there. V(absent) removes the user with all indexes, whatever O(prune) says.
        type: str
        choices: [present, absent]
        default: present
      password:
        description:
          - Password. A new user without one can log in only by a plugin such as devpi-ldap.
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
  indexes:
    description: Indexes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name, V(user/index). The user must be declared in O(users), or be V(root).
        type: str
        required: true
      state:
        description:
          - Whether the index is there. V(absent) removes it with its releases, whatever O(prune) says. A non-volatile
            stage is not removed, make it volatile first.
        type: str
        choices: [present, absent]
        default: present
      type:
        description: What kind of index it is. It cannot be changed later. V(constrained) comes with devpi-constrained.
        type: str
        choices: [stage, mirror, constrained]
        default: stage
      bases:
        description: Indexes V(user/index) whose projects are visible here too, in the order in which they are asked.
        type: list
        elements: str
      volatile:
        description: Whether releases can be overwritten and removed. devpi's default for a new index is V(true).
        type: bool
      acl_upload:
        description:
          - Who may upload, as names of users, groups V(:group), V(:AUTHENTICATED:) or V(:ANONYMOUS:).
            devpi's default for a new index is its user. Their order does not matter.
        type: list
        elements: str
      acl_toxresult_upload:
        description:
          - Who may store results of C(devpi test). When it is not given, those who may upload. devpi's own default is
            V(:ANONYMOUS:), anybody without a login. It is enforced for indexes that are there already, too.
        type: list
        elements: str
      mirror_whitelist:
        description:
          - Projects of this index of which releases of mirrors among its bases are shown too; V(*) for all. devpi's
            default is none, so that nobody outside can publish a newer release of a private project.
        type: list
        elements: str
      mirror_whitelist_inheritance:
        description: How the whitelists of the bases count.
        type: str
        choices: [intersection, union]
      title:
        description: Title for the web pages.
        type: str
      description:
        description: Description for the web pages.
        type: str
      custom_data:
        description: Data of your own.
        type: raw
      mirror_url:
        description: URL of the index that is mirrored. Required for a new mirror.
        type: str
      mirror_web_url_fmt:
        description: URL of a project's page there, with V({name}) in it.
        type: str
      mirror_cache_expiry:
        description: After how many seconds a project is looked up again. devpi's default is 1800.
        type: int
        aliases: [mirror_cache_expiry_seconds]
      mirror_ignore_serial_header:
        description: Whether the header X-PYPI-LAST-SERIAL is ignored, which a cache in between may spoil.
        type: bool
      mirror_no_project_list:
        description: Whether the mirrored index cannot list its projects, or shall not be asked to.
        type: bool
      mirror_provides_core_metadata:
        description: Whether the mirrored index serves metadata of wheels on their own (PEP 658).
        type: bool
      mirror_use_external_urls:
        description: Whether clients are sent to the files of the mirrored index, in place of keeping copies.
        type: bool
      constraints:
        description: What an index of type V(constrained) lets through, such as V(example<2), V(*) for nothing else.
        type: list
        elements: str
      options:
        description:
          - Any other option, such as C(uploadtrigger_jenkins) of devpi-jenkins.
            A name that the server does not know is refused, with the nearest one that it knows.
        type: dict
        default: {}
  prune:
    description:
      - Whether users and indexes that are not declared are removed, with all their releases. V(root) and V(root/pypi)
        stay. A non-volatile stage is not removed, the plan fails then before it changes anything.
    type: bool
    default: false
  update_password:
    description: Whether passwords of users that are there already are set again where they differ.
    type: str
    choices: [always, on_create]
    default: always
attributes:
  check_mode:
    description:
      - Can run in check mode, and says what would change. A server that does not answer is a warning then, since an
        earlier task may be going to start it.
    support: full
  diff_mode:
    description: Returns the differences; no passwords, and URLs without the login in them.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
seealso:
  - module: pyindex.fleet.devpi_user
  - module: pyindex.fleet.devpi_index
"""

EXAMPLES = r"""
- name: Give a team its indexes, staging for releases and dev on top of it
  pyindex.fleet.devpi_plan:
    unix_socket: /run/devpi/devpi.sock
    password: "{{ vault_devpi_root_password }}"
    users:
      - name: devuser
        email: devuser@example.org
        password: "{{ vault_devpi_devuser_password }}"
    indexes:
      - name: root/pypi
        type: mirror
        mirror_url: https://upstream.example.org/simple/
      - name: devuser/staging
        bases: [root/pypi]
        volatile: false
      - name: devuser/dev
        bases: [devuser/staging]
        options:
          uploadtrigger_jenkins: https://jenkins.example.org/job/{pkgname}/

- name: Remove all users and indexes that are not declared
  pyindex.fleet.devpi_plan:
    server_url: https://devpi.example.org
    password: "{{ vault_devpi_root_password }}"
    users: "{{ devpi_users }}"
    indexes: "{{ devpi_indexes }}"
    prune: true
"""

RETURN = r"""
actions:
  description: What has been done, in that order; in check mode what would be done; after a failure what has been done.
  returned: always
  type: list
  elements: str
  sample: [create user devuser, create index devuser/staging]
undeclared:
  description: What the server has although it is not declared. Empty with O(prune).
  returned: always
  type: dict
  contains:
    users:
      description: Names of users.
      type: list
      elements: str
    indexes:
      description: Names of indexes.
      type: list
      elements: str
  sample:
    users: [former]
    indexes: [former/dev]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_arguments import (
    CONNECTION,
    INDEX_OPTIONS,
    ONE_ADDRESS,
    USER_FIELDS,
    client_from,
    hidden,
    plan_from,
    with_hint,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import DevpiError, ServerNotReadyError
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_plan import apply, plan

NAMED: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "users": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {**NAMED, **USER_FIELDS, "password": {"type": "str", "no_log": True}},
    },
    "indexes": {"type": "list", "elements": "dict", "default": [], "options": {**NAMED, **INDEX_OPTIONS}},
    "prune": {"type": "bool", "default": False},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
}


class Module(AnsibleModule):  # type: ignore[misc]
    """Names the nearest known parameter when it is given an unknown one."""

    def fail_json(self, msg: str, **more: Any) -> None:
        """Fail, as every module does."""
        super().fail_json(with_hint(msg), **more)


def main() -> None:
    """Look, plan, and unless only checking, apply."""
    # no_log: the arguments hold passwords, and the system log would show them if one has odd quotes in it
    module = Module(ARGUMENTS, supports_check_mode=True, no_log=True, **ONE_ADDRESS)
    module.no_log_values |= hidden(module.params)
    result: dict[str, Any] = {"changed": False, "actions": [], "undeclared": {"users": [], "indexes": []}}
    notes: list[str] = []
    try:
        client = client_from(module.params)
        todo = plan(plan_from(module.params), client)
        result["undeclared"] = {"users": todo.undeclared_users, "indexes": todo.undeclared_indexes}
        notes = todo.notes
        apply(todo, None if module.check_mode else client, result)
    except ServerNotReadyError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error), **result)
        # An earlier task of the same run may be going to start it
        module.warn(f"{error}. So what would change is not known")
        result["changed"] = True
    except DevpiError as error:
        module.fail_json(msg=str(error), **result)
    for note in notes:
        module.warn(note)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
