#!/usr/bin/python
# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: all files of an nginx host at once, tried before any of them is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_configuration
short_description: Write the configuration of nginx as a whole
description:
  - Writes and removes configuration files of nginx in one step. All changes together are tried with C(nginx -t) in a
    private copy of the configuration folder first. What nginx refuses never reaches the host, so that neither the
    running server nor its next start is at risk.
  - Knows what nginx has loaded. When a run was interrupted after files were written and before nginx was reloaded, or
    a certificate was exchanged since, the module reports a change and says in RV(action) what is to be done.
  - It does not touch the service. The caller reloads or restarts it and then writes RV(state) to O(state_file).
version_added: 0.1.0
author:
  - The pyindex team (@pyindex)
attributes:
  check_mode:
    support: full
    description: Nothing is written. C(nginx -t) is not run, as certificates of the same run may not be there yet.
  diff_mode:
    support: full
    description: Shows the difference of every file.
  idempotent:
    support: full
    description: A second run reports no change, once the caller has written RV(state) to O(state_file).
  platform:
    support: full
    description: Needs nginx 1.20 or newer.
    platforms: posix
options:
  files:
    description: The files as they should be. Missing folders are made.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      content:
        description: Text of the file.
        type: str
        required: true
      apply:
        description: What makes nginx use a change of this file.
        type: str
        choices: [reload, restart]
        default: reload
  absent:
    description:
      - Absolute paths, with shell patterns in the last part. A match that is not in O(files) is removed.
    type: list
    elements: str
    default: []
  watch:
    description:
      - Absolute paths of files that others write and nginx loads (certificates). A change of theirs asks for a reload.
    type: list
    elements: path
    default: []
  directory:
    description:
      - Configuration folder of nginx. Includes in its C(nginx.conf) are relative, so that the private copy is
        complete.
    type: path
    default: /etc/nginx
  backup_directory:
    description:
      - Where a file goes that is replaced or removed and was not written by this collection.
    type: path
    default: /var/lib/pyindex/nginx
  state_file:
    description: Where the caller has written RV(state) after the last reload or restart.
    type: path
    default: /var/lib/pyindex/nginx/applied.json
  executable:
    description: The nginx program that tries the configuration.
    type: str
    default: nginx
"""

EXAMPLES = r"""
- name: Write the configuration of nginx
  pyindex.fleet.nginx_configuration:
    files:
      - path: /etc/nginx/conf.d/pyindex-pypiserver.conf
        content: "{{ lookup('ansible.builtin.template', 'site.conf.j2') }}"
    absent:
      - /etc/nginx/conf.d/pyindex-*.conf
      - /etc/nginx/sites-enabled/default
    watch:
      - /etc/pyindex/tls/index.crt
  register: configuration
  notify: pyindex | nginx changed
"""

RETURN = r"""
action:
  description: What makes nginx run what is now on disk.
  type: str
  returned: success
  choices: [none, reload, restart]
  sample: reload
changed_files:
  description: Paths that were written or removed.
  type: list
  elements: str
  returned: success
  sample: [/etc/nginx/conf.d/pyindex-pypiserver.conf]
backups:
  description: Copies of files that were somebody else's work.
  type: list
  elements: str
  returned: success
  sample: [/var/lib/pyindex/nginx/etc_nginx_nginx.conf.2025-01-31T12-00-00]
state:
  description: What to write to O(state_file) once nginx runs it (SHA-256 digests).
  type: dict
  returned: success
  sample: {"reload": "6a1f...", "restart": "09bc..."}
"""

import json
import os
import shutil
import tempfile
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pyindex.fleet.plugins.module_utils._nginx import (
    ManagedFile,
    Plan,
    build_tree,
    digests,
    make_plan,
    needed_action,
    read_text,
    somebodys_work,
    still_applied,
)


def read_state(path: str) -> dict[str, str]:
    """What nginx has loaded as far as we know; an unreadable state file counts as nothing."""
    try:
        state = json.loads(read_text(path) or "{}")
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}


def try_configuration(module: AnsibleModule, files: list[ManagedFile], plan: Plan) -> None:
    """Run ``nginx -t`` on a private copy of the configuration with the plan carried out; fail if it is refused."""
    directory = module.params["directory"]
    executable = module.get_bin_path(module.params["executable"], opt_dirs=["/usr/sbin", "/sbin"])
    if executable is None:
        module.fail_json(msg=f"There is no program {module.params['executable']} on this host. Install nginx first.")
    tree = tempfile.mkdtemp(prefix="nginx-")
    try:
        build_tree(directory, tree, files, plan.remove)
        code, out, err = module.run_command([executable, "-t", "-q", "-c", os.path.join(tree, "nginx.conf")])
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    says = (out + err).replace(tree, directory).strip()
    if code != 0:
        module.fail_json(
            msg=f"nginx refuses the new configuration, so nothing was changed on the host. It says:\n{says}",
            refused_files=plan.paths,
        )
    for line in says.splitlines():
        if "[warn]" in line:
            module.warn(line)


def keep_backups(module: AnsibleModule, plan: Plan) -> list[str]:
    """Copy what somebody else wrote out of the way; return the paths of the copies."""
    folder = module.params["backup_directory"]
    backups = []
    for path in somebodys_work(plan):
        os.makedirs(folder, mode=0o755, exist_ok=True)
        name = path.strip("/").replace("/", "_") + time.strftime(".%Y-%m-%dT%H-%M-%S")
        shutil.copy2(path, os.path.join(folder, name))
        backups.append(os.path.join(folder, name))
    return backups


def carry_out(module: AnsibleModule, plan: Plan) -> None:
    """Write and remove the files."""
    for file in plan.write:
        if os.path.islink(file.path):
            os.unlink(file.path)
        write_text(module, file.path, file.content)
    for path in plan.remove:
        os.unlink(path)


def write_text(module: AnsibleModule, path: str, content: str) -> None:
    """Write a file in one step, world-readable."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix="nginx-")
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(content)
    module.atomic_move(temporary, path)
    module.set_mode_if_different(path, 0o644, False)


def show_difference(plan: Plan) -> list[dict[str, str]]:
    """The plan as Ansible shows it with --diff."""
    wanted = {file.path: file.content for file in plan.write}
    return [
        {
            "before_header": path,
            "after_header": path if path in wanted else f"{path} (removed)",
            "before": plan.before[path],
            "after": wanted.get(path, ""),
        }
        for path in plan.paths
    ]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the parameters ask for and return the result for Ansible."""
    files = [ManagedFile(file["path"], file["content"], file["apply"]) for file in module.params["files"]]
    plan = make_plan(files, module.params["absent"])
    state = digests(files, module.params["watch"])
    applied = read_state(module.params["state_file"])
    backups: list[str] = []
    if plan.changed and not module.check_mode:
        try_configuration(module, files, plan)
        backups = keep_backups(module, plan)
        # First of all: a run that is interrupted from here on leaves nothing behind that the next one takes for done
        write_text(module, module.params["state_file"], json.dumps(still_applied(applied, plan)))
        carry_out(module, plan)
    action = needed_action(state, applied, plan)
    return {
        "changed": action != "none",
        "action": action,
        "changed_files": plan.paths,
        "backups": backups,
        "state": state,
        "diff": show_difference(plan),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "apply": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
                },
            },
            "absent": {"type": "list", "elements": "str", "default": []},
            "watch": {"type": "list", "elements": "path", "default": []},
            "directory": {"type": "path", "default": "/etc/nginx"},
            "backup_directory": {"type": "path", "default": "/var/lib/pyindex/nginx"},
            "state_file": {"type": "path", "default": "/var/lib/pyindex/nginx/applied.json"},
            "executable": {"type": "str", "default": "nginx"},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
