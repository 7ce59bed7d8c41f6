# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules for devpi share: arguments, and what is made of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import InvalidPlanError, nearest
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_plan import Declared, Index, User
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECTION: dict[str, Any] = {
    "server_url": {"type": "str"},
    "unix_socket": {"type": "path"},
    "username": {"type": "str", "default": "root"},
    "password": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout_seconds": {"type": "float", "default": 30},
}
# For AnsibleModule, with CONNECTION
ONE_ADDRESS: dict[str, Any] = {
    "mutually_exclusive": [("server_url", "unix_socket")],
    "required_one_of": [("server_url", "unix_socket")],
}
USER_FIELDS: dict[str, Any] = {
    "email": {"type": "str"},
    "title": {"type": "str"},
    "description": {"type": "str"},
    "custom_data": {"type": "raw"},
}
INDEX_OPTIONS: dict[str, Any] = {
    "type": {"type": "str", "choices": ["stage", "mirror", "constrained"], "default": "stage"},
    "bases": {"type": "list", "elements": "str"},
    "volatile": {"type": "bool"},
    "acl_upload": {"type": "list", "elements": "str"},
    "acl_toxresult_upload": {"type": "list", "elements": "str"},
    "mirror_whitelist": {"type": "list", "elements": "str"},
    "mirror_whitelist_inheritance": {"type": "str", "choices": ["intersection", "union"]},
    "title": {"type": "str"},
    "description": {"type": "str"},
    "custom_data": {"type": "raw"},
    "mirror_url": {"type": "str"},
    "mirror_web_url_fmt": {"type": "str"},
    "mirror_cache_expiry": {"type": "int", "aliases": ["mirror_cache_expiry_seconds"]},
    "mirror_ignore_serial_header": {"type": "bool"},
    "mirror_no_project_list": {"type": "bool"},
    "mirror_provides_core_metadata": {"type": "bool"},
    "mirror_use_external_urls": {"type": "bool"},
    "constraints": {"type": "list", "elements": "str"},
    "options": {"type": "dict", "default": {}},
}
_NO_DEVPI_OPTION = ("type", "options")


def client_from(params: Mapping[str, Any]) -> Client:
    """Return a client for the server that the parameters of a module name; DevpiError if they cannot be."""
    transport = HttpTransport(
        params["server_url"] or "",
        params["unix_socket"] or "",
        params["ca_path"] or "",
        params["validate_certs"],
        params["timeout_seconds"],
    )
    return Client(transport, params["username"], params["password"])


def user_from(entry: Mapping[str, Any], password: str | None) -> User:
    """Return the user that *entry* declares."""
    fields = {name: entry[name] for name in USER_FIELDS if entry[name] is not None}
    return User(entry["name"], fields, password, entry["state"] == "present")


def index_from(entry: Mapping[str, Any]) -> Index:
    """Return the index that *entry* declares; InvalidPlanError when it gives an option twice."""
    options = {name: entry[name] for name in INDEX_OPTIONS if name not in _NO_DEVPI_OPTION and entry[name] is not None}
    others = entry["options"] or {}
    twice = sorted(set(options) & set(others))
    if twice:
        raise InvalidPlanError(f"index {entry['name']!r}: {', '.join(twice)} is given twice, once below options")
    wrong = sorted(set(others) & {"type", "projects"})
    if wrong:
        raise InvalidPlanError(f"index {entry['name']!r}: {wrong[0]!r} cannot stand below options")
    return Index(entry["name"], entry["type"], {**options, **others}, entry["state"] == "present")


def plan_from(params: Mapping[str, Any]) -> Declared:
    """Return the whole plan that the parameters of devpi_plan declare."""
    return Declared(
        users=tuple(user_from(user, user["password"]) for user in params["users"]),
        indexes=tuple(index_from(index) for index in params["indexes"]),
        complete=True,
        prune=params["prune"],
        new_passwords=params["update_password"] != "on_create",  # noqa: S105 - a choice
    )


def hidden(params: Any) -> set[str]:
    """Return the passwords in URLs among the parameters: Ansible does not know that they are secret."""
    return {unquote(secret) for secret in _url_passwords(params)} | set(_url_passwords(params))


def _url_passwords(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _url_passwords(item)
    elif isinstance(value, str) and "://" in value and "@" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            password = None
        if password:
            yield password


def with_hint(message: str) -> str:
    """Return Ansible's message about unknown parameters, with the nearest known one for each."""
    found = re.search(
        r"^Unsupported parameters for .*? module: (.+?)\. Supported parameters include: (.+?)\.?$", message
    )
    if not found:
        return message
    known = [name for name in re.split(r"[,\s()]+", found[2]) if name]
    return message + "".join(nearest(name.rpartition(".")[2], known) for name in found[1].split(", "))
