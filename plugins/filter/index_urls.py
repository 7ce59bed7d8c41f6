# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The URLs of an index host, and who may ask them, from its variables."""

from __future__ import annotations

DOCUMENTATION = r"""
name: index_urls
author: The pyindex team (@pyindex)
version_added: 0.2.0
short_description: List the URLs of a package index for installing and uploading
description:
  - Gives each URL that an application may be told, first for those who ask without a login, then for a user whom the
    inventory gives the right. Module P(pyindex.fleet.index_url_info#module) asks them.
  - For installing the user is one who may not upload, where there is such a user.
options:
  _input:
    description:
      - Variables of the host's role without the role's name before them. Of pypiserver C(install_url), C(upload_url),
        C(users) and C(protected_actions). Of devpi C(url), C(users), C(indexes), C(lockdown), C(root_pypi) and
        C(root_password).
    type: dict
    required: true
  server:
    description: The role.
    type: str
    choices: [pypiserver, devpi]
    required: true
"""

EXAMPLES = r"""
- name: Say where one installs from and uploads to
  ansible.builtin.debug:
    msg: "{{ variables | pyindex.fleet.index_urls('pypiserver') | map(attribute='url') | unique }}"
  vars:
    variables:
      install_url: https://index1.example.org/simple/
      upload_url: https://index1.example.org/
      protected_actions: [update]
      users:
        - name: ci
          password: "{{ vault_ci_password }}"
          rights: [read, upload]
"""

RETURN = r"""
_value:
  description:
    - For each URL and each who asks it C(index) (the name of the index, of devpi only), C(use) (V(install) or V(upload)),
      C(url), C(username), C(password), C(login_required), C(login_url), the URL with that login in it, and C(shown_url), the same
      with asterisks for the password.
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

from ansible_collections.pyindex.fleet.plugins.module_utils._index_urls import Target, shown

Login = tuple[str, str]
ANONYMOUS = ":ANONYMOUS:"


def index_urls(variables: Mapping[str, Any], server: str) -> list[dict[str, Any]]:
    """Return the URLs of an index host for the module index_url_info, with the URL that has the login in it."""
    kinds = {"pypiserver": _of_pypiserver, "devpi": _of_devpi}
    if server not in kinds:
        raise AnsibleFilterError(f"index_urls knows {' and '.join(kinds)}, and no {server}.")
    return list(kinds[server](variables))


def _of_pypiserver(variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    users = variables.get("users") or []
    readers = [user for user in users if "read" in user.get("rights", ["read"])]
    uploaders = [user for user in users if "upload" in user.get("rights", ["read"])]
    # Who may only read first: what one gives to an application should be able to do no more
    readers.sort(key=lambda user: user in uploaders)
    protected = variables["protected_actions"]
    yield from _url("", "install", variables["install_url"], _login(readers), "list" in protected)
    yield from _url("", "upload", variables["upload_url"], _login(uploaders), "update" in protected)


def _of_devpi(variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    users = {user["name"]: user for user in variables.get("users") or [] if user.get("password")}
    if variables.get("root_password"):
        # Last: nobody should give root's password to an application where there is another
        users["root"] = {"name": "root", "password": variables["root_password"]}
    mirror = [{"name": "root/pypi", "type": "mirror"}] if variables["root_pypi"] else []
    for index in [*(variables.get("indexes") or []), *mirror]:
        name, url = index["name"], f"{variables['url']}{index['name']}/"
        stage = index.get("type", "stage") == "stage"
        names = _words(index.get("acl_upload", [name.partition("/")[0]])) if stage else []
        uploaders = [user for user in users.values() if user["name"] in names or ":AUTHENTICATED:" in names]
        readers = sorted(users.values(), key=lambda user: (user["name"] == "root", user in uploaders))
        yield from _url(name, "install", f"{url}+simple/", _login(readers), bool(variables["lockdown"]))
        if stage:
            yield from _url(name, "upload", url, _login(uploaders), ANONYMOUS not in names)


def _words(value: Any) -> list[str]:
    words = value.split(",") if isinstance(value, str) else list(value or [])
    return [word.upper() if word.startswith(":") else word for word in words]


def _login(users: list[Mapping[str, Any]]) -> Login | None:
    return (users[0]["name"], users[0]["password"]) if users else None


def _url(index: str, use: str, url: str, login: Login | None, login_required: bool) -> Iterator[dict[str, Any]]:
    for username, password in [("", ""), *([login] if login else [])]:
        words = f"{quote(username, safe='')}:{quote(password, safe='')}@" if username else ""
        yield {
            "index": index,
            "use": use,
            "url": url,
            "username": username,
            "password": password,
            "login_required": login_required,
            "login_url": url.replace("//", f"//{words}", 1),
            "shown_url": shown(Target(url, use, username)),
        }


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"index_urls": index_urls}
