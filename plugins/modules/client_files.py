#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: the files of a package client, with the originals kept."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_files
short_description: Manage a set of client configuration files and keep the originals
version_added: 0.1.0
author: The pyindex team (@pyindex)
description:
  - Writes a set of files, the login for a package index in V(~/.netrc) and V(~/.pypirc) of users, the index of devpi's
    client, and a CA certificate of the system's trust store, all in one call.
  - What stood there before is kept. A file that is no longer declared, or every file with O(state=absent), becomes what
    it was before, with contents, mode and owner, and what did not exist is removed with the directories made for it.
  - Files in O(files) are replaced as a whole. If somebody has edited one since, a copy of that version is kept.
    In V(~/.netrc), V(~/.pypirc), V(keyring_pass.cfg) and devpi's V(current.json) and V(auth.json) only the entry for this
    index is managed; everything else in them stays.
  - Files in a directory of a user are read and written with the rights of that user, so that a link there leads
    nowhere they could not go themselves.
  - Passwords are shown in no output, not in the diff, and not in the system log.
options:
  name:
    description: Name of the set. Its records stand below O(state_directory) under this name.
    type: str
    required: true
  state:
    description: Whether the declared files are there, or everything is as it was before.
    type: str
    choices: [present, absent]
    default: present
  state_directory:
    description: Directory for the originals; only root can read what is in it.
    type: path
    default: /var/lib/pyindex
  files:
    description: Files that are managed as a whole.
    type: list
    elements: dict
    default: []
    suboptions:
      paths:
        description: Absolute paths, or paths that begin with V(~/) for one such file of each user in O(users).
        type: list
        elements: str
        required: true
      content:
        description: The whole contents.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
      beside:
        description: Name of a file that must be in the same directory, such as V(pyvenv.cfg) of a virtual environment.
        type: str
      login:
        description:
          - What V({login}) in O(files[].content) becomes, which stands before the host of a URL, as in
            V(https://{login}index1.example.org/simple/). V(none), V(username) as C(alice@), or V(password) as
            C(alice:secret@), with what URLs do not take written in percent encoding.
          - The login is that of each user in O(users) for paths that begin with V(~/), else O(shared_login). Who has none
            gets the URL without one.
          - With V(password) nobody but the owner, and O(files[].group), can read the file, whatever O(files[].mode) says.
        type: str
        choices: [none, username, password]
        default: none
      group:
        description: Group that can read the file, for absolute paths. Without it the group is that of the owner.
        type: str
  users:
    description: System users of this host, and their logins at the index.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the system user.
        type: str
        required: true
      username:
        description: Login at the index. Without it no file with a login is written.
        type: str
        default: ""
      password:
        description:
          - Password at the index.
          - Printable ASCII without white space and backslash, not beginning with a double quote or V(#). Python, curl
            and uv read other passwords differently in a netrc file.
        type: str
        default: ""
      upload:
        description: Whether the login is also written to V(~/.pypirc), for twine.
        type: bool
        default: false
  shared_login:
    description: A login at the index for the files in O(files) that no single user has.
    type: dict
    suboptions:
      username:
        description: Login at the index.
        type: str
        required: true
      password:
        description: Password at the index.
        type: str
        required: true
  keyring_services:
    description:
      - HOST or HOST:PORT of the index, under which the login of each user goes to
        V(~/.local/share/python_keyring/keyring_pass.cfg), the file of the plain-text backend of the package keyrings.alt.
        Empty for no such file.
    type: list
    elements: str
    default: []
  netrc_machines:
    description: Host names for which the login of each user goes to V(~/.netrc). Empty for no netrc.
    type: list
    elements: str
    default: []
  pypirc:
    description: The section of V(~/.pypirc) for users who upload. Without it no such file is written.
    type: dict
    suboptions:
      repository:
        description: Name of the section, as in C(twine upload --repository).
        type: str
        required: true
      url:
        description: URL for uploads.
        type: str
        required: true
      ca_cert:
        description: Path of a bundle of CA certificates for twine.
        type: path
  devpi_index:
    description:
      - URL of the index that devpi's client uses, such as V(https://devpi.example.org/user/index/), for
        V(~/.devpi/client/current.json) of each user in O(users), and their logins in V(auth.json) beside it. Without it
        no such file is written.
    type: str
    default: ""
  trust_anchor:
    description: A CA certificate that the whole system shall trust.
    type: dict
    suboptions:
      path:
        description: Where the system's trust store looks for it.
        type: path
        required: true
      certificate:
        description: One CA certificate, PEM.
        type: str
        required: true
      command:
        description: Program and arguments that rebuild the trust store. Run when the certificate changes or goes.
        type: list
        elements: str
        required: true
attributes:
  check_mode:
    description: Can run in check mode, and says what would change.
    support: full
  diff_mode:
    description: Returns the differences; passwords and logins in URLs are replaced by asterisks.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
  platform:
    description: Where it runs.
    support: full
    platforms: posix
notes:
  - Has to be run as root (C(become)), except for files that all belong to the user it runs as.
  - In check mode a user or directory that does not exist is a warning, since an earlier task may be going to make it.
  - Access control lists and extended attributes of originals are not kept.
"""

EXAMPLES = r"""
- name: Point pip at the index, for everybody on this host
  pyindex.fleet.client_files:
    name: pip_client
    files:
      - paths: [/etc/pip.conf]
        content: |
          [global]
          index-url = https://index1.example.org/simple/

- name: Give two users their logins
  pyindex.fleet.client_files:
    name: logins
    users:
      - name: alice
        username: reader
        password: "{{ vault_reader_password }}"
      - name: build
        username: uploader
        password: "{{ vault_uploader_password }}"
        upload: true
    netrc_machines: [index1.example.org]
    pypirc:
      repository: pyindex
      url: https://index1.example.org/
      ca_cert: /etc/ssl/certs/ca-certificates.crt

- name: Give everybody in the group developers the index with a login in its URL
  pyindex.fleet.client_files:
    name: shared
    files:
      - paths: [/etc/pip.conf]
        login: password
        group: developers
        content: |
          [global]
          index-url = https://{login}index1.example.org/simple/
    shared_login:
      username: reader
      password: "{{ vault_reader_password }}"

- name: Trust a private CA
  pyindex.fleet.client_files:
    name: trust
    trust_anchor:
      path: /usr/local/share/ca-certificates/pyindex.crt
      certificate: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
      command: [update-ca-certificates]

- name: Put everything back as it was before the first run
  pyindex.fleet.client_files:
    name: pip_client
    state: absent
"""

RETURN = r"""
files:
  description: The files that change or have changed.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file.
      type: str
    action:
      description: V(created), V(updated), V(restored) (the original is back) or V(removed).
      type: str
  sample:
    - path: /etc/pip.conf
      action: updated
kept:
  description: Files that somebody had edited since the last run, and the copies of those versions.
  returned: always
  type: dict
  sample:
    /etc/pip.conf: /var/lib/pyindex/pip_client/edited/etc_pip.conf.20260101T120000Z
missing_commands:
  description: Programs of O(trust_anchor.command) that this host lacks. The next run catches up with them.
  returned: always
  type: list
  elements: str
  sample: []
"""

import os
import posixpath
import re
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._accounts import ClientFilesError
from ansible_collections.pyindex.fleet.plugins.module_utils._client_files import (
    Login,
    Repository,
    Request,
    TextFile,
    TrustAnchor,
    User,
    resolve,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._kept_files import Store, apply, plan

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "state_directory": {"type": "path", "default": "/var/lib/pyindex"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "paths": {"type": "list", "elements": "str", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0644"},
            "beside": {"type": "str"},
            "login": {"type": "str", "choices": ["none", "username", "password"], "default": "none"},
            "group": {"type": "str"},
        },
    },
    "users": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "upload": {"type": "bool", "default": False},
        },
    },
    "shared_login": {
        "type": "dict",
        "options": {
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
    },
    "keyring_services": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "netrc_machines": {"type": "list", "elements": "str", "default": []},
    "pypirc": {
        "type": "dict",
        "options": {
            "repository": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "ca_cert": {"type": "path"},
        },
    },
    "devpi_index": {"type": "str", "default": ""},
    "trust_anchor": {
        "type": "dict",
        "options": {
            "path": {"type": "path", "required": True},
            "certificate": {"type": "str", "required": True},
            "command": {"type": "list", "elements": "str", "required": True},
        },
    },
}


def request_from(params: dict[str, Any]) -> Request:
    """Return the request that the parameters make; ClientFilesError if a path or mode is none."""
    if params["state"] == "absent":
        return Request()
    pypirc, anchor, shared = params["pypirc"], params["trust_anchor"], params["shared_login"]
    return Request(
        files=[_text_file(file, path) for file in params["files"] for path in file["paths"]],
        users=[User(**user) for user in params["users"]],
        shared=Login(**shared) if shared else None,
        machines=params["netrc_machines"],
        services=params["keyring_services"],
        repository=pypirc and Repository(pypirc["repository"], pypirc["url"], pypirc["ca_cert"] or ""),
        devpi_index=params["devpi_index"],
        anchor=anchor and TrustAnchor(anchor["path"], anchor["certificate"], tuple(anchor["command"])),
    )


def _text_file(file: dict[str, Any], path: str) -> TextFile:
    mode = file["mode"]
    if not path.startswith(("/", "~/")) or posixpath.normpath(path) != path:
        raise ClientFilesError(f"{path!r} is no absolute path in its shortest form: begin with / or ~/, without ..")
    if not re.fullmatch("0[0-7]{3}", mode):
        raise ClientFilesError(f"the mode {mode!r} of {path} is not octal: write it as a string such as '0644'")
    return TextFile(path, file["content"], int(mode, 8), file["beside"] or "", file["login"], file["group"] or "")


def main() -> None:
    """Look, plan, and unless only checking, apply."""
    # no_log: the arguments hold passwords, and the system log would show them if one has odd quotes in it
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, no_log=True)
    os.umask(0o022)

    def fail(error: Exception) -> NoReturn:
        module.fail_json(msg=str(error), files=[], kept={}, missing_commands=[])
        raise AssertionError

    def run(command: tuple[str, ...]) -> bool:
        program = module.get_bin_path(command[0])
        if program is None:
            return False
        code, _output, errors = module.run_command([program, *command[1:]])
        if code != 0:
            raise ClientFilesError(f"{' '.join(command)} failed with {code}: {errors.strip()}")
        return True

    store = Store(f"{module.params['state_directory']}/{module.params['name']}")
    result: dict[str, Any] = {"changed": False, "files": [], "kept": {}, "missing_commands": []}
    try:
        wanted, notes = resolve(request_from(module.params), lenient=module.check_mode)
        store.load()
        todo = plan(wanted, store)
        result["changed"] = bool(todo.changes or todo.commands or notes)
        result["files"] = [{"path": change.path, "action": change.action} for change in todo.changes]
        result["diff"] = todo.diff()
        if not module.check_mode:
            outcome = apply(todo, store, run)
            result.update(kept=outcome.kept, missing_commands=outcome.missing_commands)
    except ClientFilesError as error:
        fail(error)
    for note in [*notes, *todo.notes]:
        module.warn(note)
    for path, copy in result["kept"].items():
        module.warn(f"the version of {path} that was edited by hand is now {copy}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
