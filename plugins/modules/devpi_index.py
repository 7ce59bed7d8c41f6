#!/usr/bin/python
# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: one index of a devpi server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: devpi_index
short_description: Manage an index of a devpi server
version_added: 0.2.0
author: The pyindex team (@pyindex)
description:
  - Makes, changes or removes one index. For all users and indexes of a server at once use
    M(pyindex.fleet.devpi_plan).
  - Only what is given is compared, with one exception, O(acl_toxresult_upload).
extends_documentation_fragment:
  - pyindex.fleet.devpi
  - pyindex.fleet.devpi.attributes
options:
  name:
    description: Name, V(user/index). The user has to exist.
    type: str
    required: true
  state:
    description: Whether the index is there. V(absent) removes it with its releases, but not while it is a base of another.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether O(state=absent) removes a non-volatile stage as well.
    type: bool
    default: false
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
attributes:
  check_mode:
    description: Can run in check mode, and says what would change.
    support: full
  diff_mode:
    description: Returns the difference, URLs without the login in them.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
seealso:
  - module: pyindex.fleet.devpi_plan
"""

EXAMPLES = r"""
- name: Make an index for releases, which cannot be changed any more
  pyindex.fleet.devpi_index:
    server_url: https://devpi.example.org
    password: "{{ vault_devpi_root_password }}"
    name: devuser/staging
    bases: [root/pypi]
    volatile: false

- name: Mirror another index
  pyindex.fleet.devpi_index:
    server_url: https://devpi.example.org
    password: "{{ vault_devpi_root_password }}"
    name: root/upstream
    type: mirror
    mirror_url: https://upstream.example.org/simple/
    mirror_cache_expiry: 600
"""

RETURN = r"""
actions:
  description: What has been done; in check mode what would be done.
  returned: always
  type: list
  elements: str
  sample: [create index devuser/staging]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_arguments import (
    CONNECTION,
    INDEX_OPTIONS,
    ONE_ADDRESS,
    client_from,
    hidden,
    index_from,
    with_hint,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import DevpiError
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_plan import Declared, apply, plan

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    **INDEX_OPTIONS,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "force": {"type": "bool", "default": False},
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
    result: dict[str, Any] = {"changed": False, "actions": []}
    try:
        declared = Declared(indexes=(index_from(module.params),), force=module.params["force"])
        client = client_from(module.params)
        apply(plan(declared, client), None if module.check_mode else client, result)
    except DevpiError as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
