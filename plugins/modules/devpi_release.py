#!/usr/bin/python
# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: releases on the indexes of a devpi server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: devpi_release
short_description: Upload, promote and remove releases on a devpi server
version_added: 0.2.0
author: The pyindex team (@pyindex)
description:
  - Uploads wheels, source distributions and documentation; pushes a release from one index to another, as
    C(devpi push) does; removes a release or one of its files.
  - Whether a file is on the index already is decided by its SHA-256.
extends_documentation_fragment:
  - pyindex.fleet.devpi
  - pyindex.fleet.devpi.attributes
options:
  index:
    description: Index V(user/index) that is changed.
    type: str
    required: true
  state:
    description:
      - V(present) uploads O(files), what is in O(directory), and O(documentation). Broken files do not hold up the
        others. They are named, and the task fails in the end.
      - V(promoted) pushes the release from O(from_index) to O(index), with its documentation and test results.
      - V(absent) removes the release, or one file of it.
    type: str
    choices: [present, promoted, absent]
    default: present
  files:
    description:
      - Wheels (C(.whl)), source distributions (C(.tar.gz), C(.zip)) and documentation (C(.doc.zip)) on the host that
        the task runs on.
    type: list
    elements: path
    default: []
  directory:
    description: Folder of such files on that host. Other files in it are skipped. A folder without any is an error.
    type: path
  recursive:
    description: Whether folders in O(directory) are looked into as well. Links to folders are not followed.
    type: bool
    default: true
  documentation:
    description:
      - ZIP files named V(PROJECT-VERSION.doc.zip) with an C(index.html) at the top, for devpi's web pages.
    type: list
    elements: path
    default: []
  project:
    description: Name of the project, for O(state=promoted) and O(state=absent).
    type: str
    aliases: [name]
  version:
    description: Version, for O(state=promoted) and O(state=absent). Put it in quotes, or YAML makes 1.1 of 1.10.
    type: str
  from_index:
    description: Index V(user/index) that has the release, for O(state=promoted).
    type: str
  file:
    description: Name of the one file that O(state=absent) removes. Without it the whole release goes.
    type: str
  force:
    description: Whether O(state=absent) removes from a non-volatile index as well.
    type: bool
    default: false
attributes:
  check_mode:
    description:
      - Can run in check mode, and says what would change. A folder or file that is not there is a warning then, since an
        earlier task may be going to make it.
    support: full
  diff_mode:
    description: Returns the names of the files with their SHA-256.
    support: full
  idempotent:
    description: A second run changes nothing. After an interrupted one it sends what is missing.
    support: full
notes:
  - A file on a volatile index is replaced when its content differs. On a non-volatile index that is an error.
  - A release that is on a non-volatile index in part cannot be pushed there again. Upload the missing files.
"""

EXAMPLES = r"""
- name: Upload a folder of wheels
  pyindex.fleet.devpi_release:
    server_url: https://devpi.example.org
    username: devuser
    password: "{{ vault_devpi_devuser_password }}"
    index: devuser/dev
    directory: /srv/wheels

- name: Upload a release with its documentation
  pyindex.fleet.devpi_release:
    server_url: https://devpi.example.org
    username: devuser
    password: "{{ vault_devpi_devuser_password }}"
    index: devuser/dev
    files: [dist/example-1.0-py3-none-any.whl, dist/example-1.0.tar.gz]
    documentation: [dist/example-1.0.doc.zip]

- name: Promote it
  pyindex.fleet.devpi_release:
    server_url: https://devpi.example.org
    username: devuser
    password: "{{ vault_devpi_devuser_password }}"
    state: promoted
    project: example
    version: "1.0"
    from_index: devuser/dev
    index: devuser/staging

- name: Remove it from dev
  pyindex.fleet.devpi_release:
    server_url: https://devpi.example.org
    username: devuser
    password: "{{ vault_devpi_devuser_password }}"
    state: absent
    project: example
    version: "1.0"
    index: devuser/dev
"""

RETURN = r"""
uploaded:
  description: Files that have been sent, in check mode those that would be. After a failure those that have arrived.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [example-1.0-py3-none-any.whl]
present:
  description: Files that are on the index already.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [example-1.0.tar.gz]
failed_files:
  description: Paths of files that cannot be uploaded, with the reason.
  returned: when O(state=present)
  type: dict
  sample:
    /srv/wheels/broken-1.0-py3-none-any.whl: "it is damaged or truncated: File is not a zip file"
other_files:
  description: Paths of files in O(directory) that are no distributions.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [/srv/wheels/README]
promoted:
  description: Files that have been pushed, in check mode those that would be.
  returned: when O(state=promoted)
  type: list
  elements: str
  sample: [example-1.0-py3-none-any.whl]
removed:
  description: Files that have been removed, in check mode those that would be.
  returned: when O(state=absent)
  type: list
  elements: str
  sample: [example-1.0-py3-none-any.whl]
"""

import os
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import normalize_project
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_arguments import (
    CONNECTION,
    ONE_ADDRESS,
    client_from,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import DevpiError
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_files import find
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_release import (
    Shelf,
    Upload,
    plan_promotion,
    plan_removal,
    plan_uploads,
    promote,
    remove,
    upload,
    upload_failures,
)

if TYPE_CHECKING:
    from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "index": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "promoted", "absent"], "default": "present"},
    "files": {"type": "list", "elements": "path", "default": []},
    "directory": {"type": "path"},
    "recursive": {"type": "bool", "default": True},
    "documentation": {"type": "list", "elements": "path", "default": []},
    "project": {"type": "str", "aliases": ["name"]},
    "version": {"type": "str"},
    "from_index": {"type": "str"},
    "file": {"type": "str"},
    "force": {"type": "bool", "default": False},
}
# Not required_if, which takes a null for a value
NEEDED = {"promoted": ("project", "version", "from_index"), "absent": ("project", "version")}
SOME_OF = ("files", "directory", "documentation")


def make_present(module: AnsibleModule, client: Client, result: dict[str, Any]) -> None:
    """Upload what the index does not have; DevpiError, in the end, when files are left."""
    params = module.params
    result.update(uploaded=[], present=[], failed_files={}, other_files=[])
    shelf = Shelf(client, params["index"])
    if module.check_mode and not _all_there(module):
        result["changed"] = True
        return
    found = find(params["files"], params["directory"] or "", params["recursive"], params["documentation"])
    if not found.candidates and not found.broken:
        raise DevpiError(f"There is nothing to upload: no wheel or source distribution in {params['directory']}")
    uploads = plan_uploads(shelf, found)
    result.update(present=uploads.present, failed_files=uploads.failed, other_files=found.skipped)
    names = [one.stored_name for one in uploads.todo]
    result["diff"] = _diff(
        params["index"],
        {one.stored_name: one.before for one in uploads.todo if one.before},
        {one.stored_name: one.sha256 for one in uploads.todo},
    )

    def sent(one: Upload, warning: str) -> None:
        result["uploaded"].append(one.stored_name)
        result["changed"] = True
        if warning:
            module.warn(f"{one.stored_name}: {warning}")

    if module.check_mode:
        result.update(changed=bool(names), uploaded=names)
    else:
        upload(shelf, uploads, sent)
    if uploads.failed:
        raise DevpiError(upload_failures(uploads.failed, sent=not module.check_mode))


def _all_there(module: AnsibleModule) -> bool:
    paths = [*module.params["files"], *module.params["documentation"]]
    if module.params["directory"]:
        paths.append(module.params["directory"])
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        module.warn(f"Not there (yet): {', '.join(missing)}. So what would be uploaded is not known")
    return not missing


def make_promoted(module: AnsibleModule, client: Client, result: dict[str, Any]) -> None:
    """Push the release unless the index has it all."""
    params = module.params
    result["promoted"] = []
    source, target = Shelf(client, params["from_index"]), Shelf(client, params["index"])
    todo = plan_promotion(source, target, normalize_project(params["project"]), params["version"])
    if todo is None:
        return
    result["diff"] = _diff(target.name, todo.before, todo.after)
    if not module.check_mode:
        promote(source, target, todo)
    result.update(changed=True, promoted=sorted(todo.after))


def make_absent(module: AnsibleModule, client: Client, result: dict[str, Any]) -> None:
    """Remove the release or the file, if it is there."""
    params = module.params
    result["removed"] = []
    shelf = Shelf(client, params["index"])
    project = normalize_project(params["project"])
    todo = plan_removal(shelf, project, params["version"], params["file"] or "", params["force"])
    if todo is None:
        return
    result["diff"] = _diff(shelf.name, dict.fromkeys(todo.names, "(there)"), {})
    if not module.check_mode:
        remove(shelf, todo, params["force"])
    result.update(changed=True, removed=todo.names)


def _diff(index: str, before: dict[str, str], after: dict[str, str]) -> dict[str, Any]:
    return {"before_header": index, "after_header": index, "before": before, "after": after}


def main() -> None:
    """Compare, and unless only checking, act."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, no_log=True, **ONE_ADDRESS)
    result: dict[str, Any] = {"changed": False}
    state = module.params["state"]
    missing = [name for name in NEEDED.get(state, ()) if not module.params[name]]
    if state == "present" and not any(module.params[name] for name in SOME_OF):
        missing = ["one of " + ", ".join(SOME_OF)]
    if missing:
        module.fail_json(msg=f"state is {state}: give {', '.join(missing)}", **result)
    make = {"present": make_present, "promoted": make_promoted, "absent": make_absent}[state]
    try:
        make(module, client_from(module.params), result)
    except DevpiError as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
