#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: whether the URLs of a package index work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: index_url_info
short_description: Ask the URLs of a package index with real requests
version_added: 0.2.0
author: The pyindex team (@pyindex)
description:
  - Asks each URL as an installer or an uploader would, over TLS that has to be right, and says what came of it.
  - Nothing is changed at the index. An upload is asked for with a form that the server refuses after it has looked at who
    asks.
  - Filter P(pyindex.fleet.index_urls#filter) makes O(urls) from the variables of an index host.
options:
  server:
    description: What answers at the URLs.
    type: str
    choices: [pypiserver, devpi]
    required: true
  ca_certificate:
    description: CA certificate (PEM) to trust, and no other. Empty for those that the system trusts.
    type: str
    default: ""
  timeout_seconds:
    description: How long to wait for an answer.
    type: int
    default: 30
  urls:
    description: The URLs, and who asks them.
    type: list
    elements: dict
    required: true
    suboptions:
      url:
        description: The URL, without a login.
        type: str
        required: true
      use:
        description: What it is for.
        type: str
        choices: [install, upload]
        required: true
      username:
        description: Name of who asks. Empty for nobody.
        type: str
        default: ""
      password:
        description: Their password.
        type: str
        default: ""
      login_required:
        description: Whether the URL has to refuse those who ask without a login.
        type: bool
        default: false
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
notes:
  - The URLs are asked from the host that the task runs on, without a proxy. C(delegate_to) takes another one.
"""

EXAMPLES = r"""
- name: Ask where one installs from and uploads to
  pyindex.fleet.index_url_info:
    server: pypiserver
    ca_certificate: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
    urls:
      - url: https://index1.example.org/simple/
        use: install
      - url: https://index1.example.org/
        use: upload
        username: ci
        password: "{{ vault_ci_password }}"
  register: index
  delegate_to: build1.example.org
"""

RETURN = r"""
answers:
  description: What came of each of O(urls), in their order.
  returned: always
  type: list
  elements: dict
  contains:
    url:
      description: The URL with the name of who asked it, and asterisks for the password.
      type: str
    use:
      description: What it is for.
      type: str
    username:
      description: Name of who asked ('' = nobody).
      type: str
    works:
      description: Whether the URL does what it is for, or asks for the login that is required.
      type: bool
    status:
      description: HTTP status of the answer; 0 where there was none.
      type: int
    message:
      description: What that means.
      type: str
  sample:
    - url: https://index1.example.org/simple/
      use: install
      username: ""
      works: true
      status: 200
      message: works without a login
works:
  description: Whether all of them work.
  returned: always
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._index_urls import Client, Target, UrlError, ask, shown

ARGUMENTS: dict[str, Any] = {
    "server": {"type": "str", "choices": ["pypiserver", "devpi"], "required": True},
    "ca_certificate": {"type": "str", "default": ""},
    "timeout_seconds": {"type": "int", "default": 30},
    "urls": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "url": {"type": "str", "required": True},
            "use": {"type": "str", "choices": ["install", "upload"], "required": True},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "login_required": {"type": "bool", "default": False},
        },
    },
}


def main() -> None:
    """Ask, and say what came of it."""
    # no_log: the arguments hold passwords, and the system log would show them if one has odd quotes in it
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, no_log=True)
    targets = [Target(**url) for url in module.params["urls"]]
    try:
        client = Client(module.params["ca_certificate"], module.params["timeout_seconds"])
    except UrlError as error:
        module.fail_json(msg=str(error), answers=[], works=False)
    answers = [(target, ask(client, module.params["server"], target)) for target in targets]
    module.exit_json(
        changed=False,
        works=all(answer.works for _target, answer in answers),
        answers=[
            {
                "url": shown(target),
                "use": target.use,
                "username": target.username,
                "works": answer.works,
                "status": answer.status,
                "message": answer.message,
            }
            for target, answer in answers
        ],
    )


if __name__ == "__main__":
    main()
