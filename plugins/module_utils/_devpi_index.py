# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of devpi's indexes: which there are, how the server writes them, how two values compare."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import normalize_project
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What an option holds: text, bool, int, a list whose order counts, or lists whose order does not
TEXT, BOOL, INT, LIST, ACL, PROJECTS = "text", "bool", "int", "list", "acl", "projects"

_ANY = {"title": TEXT, "description": TEXT, "custom_data": "", "volatile": BOOL}
_STAGE = {
    **_ANY,
    "bases": LIST,
    "acl_upload": ACL,
    "acl_toxresult_upload": ACL,
    "mirror_whitelist": PROJECTS,
    "mirror_whitelist_inheritance": TEXT,
}
# By type of index, as devpi-server 6.20 and devpi-constrained 2.1 know them
OPTIONS: dict[str, dict[str, str]] = {
    "stage": _STAGE,
    "constrained": {**_STAGE, "constraints": LIST},
    "mirror": {
        **_ANY,
        "mirror_url": TEXT,
        "mirror_web_url_fmt": TEXT,
        "mirror_cache_expiry": INT,
        "mirror_ignore_serial_header": BOOL,
        "mirror_no_project_list": BOOL,
        "mirror_provides_core_metadata": BOOL,
        "mirror_use_external_urls": BOOL,
    },
}
# Options that plugins give to every type of index
_OF_PLUGINS = {
    "devpi-admin": {"acl_read": ACL, "package_allowlist": LIST, "package_denylist": LIST},
    "devpi-jenkins": {"uploadtrigger_jenkins": TEXT},
}
# Distributions whose options stand above or that have none; with any other the server alone knows what is right
_KNOWN_PLUGINS = {
    *_OF_PLUGINS,
    "devpi-common",
    "devpi-constrained",
    "devpi-ldap",
    "devpi-lockdown",
    "devpi-postgresql",
    "devpi-server",
    "devpi-tokens",
    "devpi-web",
}
_PRINCIPALS = (":ANONYMOUS:", ":AUTHENTICATED:")
# devpi-server 6.20.3, model.py: any ASCII symbol but - . @ _ is blocked
_FORBIDDEN = re.compile(r"""[\x00-\x20!"#$%&'()*+,/:;<=>?\[\\\]^`{|}~\x7f]""")


def forbidden_name(name: str) -> str:
    """Return why devpi forbids *name* for a user or an index, or an empty string."""
    found = _FORBIDDEN.search(name)
    if found:
        return f"{found[0]!r} is not allowed, of ASCII only letters, digits and - . @ _ are"
    return "it is empty" if not name else "it is a folder's name" if name in (".", "..") else ""


def known_options(index_type: str, plugins: Iterable[str] | None, seen: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what an index of that type can have, with what each option holds ("" if that is not known).

    *plugins* are the distributions that the server has loaded, None if it is not known; *seen* are indexes that it has.
    """
    known = dict(OPTIONS[index_type])
    for plugin, options in _OF_PLUGINS.items():
        if plugins is None or plugin in plugins:
            known.update(options)
    for index in seen:
        if index.get("type") == index_type:
            for name in index:
                known.setdefault(name, "")
    known.pop("type", None)
    return known


def may_have_others(plugins: Iterable[str] | None) -> bool:
    """Return whether a plugin is loaded of which we do not know what options it has."""
    return plugins is None or bool(set(plugins) - _KNOWN_PLUGINS)


def resent(current: Mapping[str, Any], plugins: Iterable[str] | None) -> dict[str, Any]:
    """Return the options of *current* that have to go with every change: devpi resets those of plugins otherwise.

    Those that a plugin has left behind that is no longer loaded are not among them, devpi would refuse them.
    """
    own = OPTIONS.get(current.get("type", ""), {})
    of_plugins = known_options(current["type"], plugins, ()) if current.get("type") in OPTIONS else {}
    return {
        name: value
        for name, value in current.items()
        if name not in own and name != "type" and (name in of_plugins or may_have_others(plugins))
    }


def option_problems(index_type: str, options: Mapping[str, Any], known: Mapping[str, str], others: bool) -> list[str]:
    """Return what is wrong with the declared *options*; *others* says that unknown ones may be right as well."""
    problems = []
    for name, value in options.items():
        if name not in known and not others:
            problems.append(f"a {index_type} has no option {name!r}.{nearest(name, known)}")
            continue
        try:
            normalize(known.get(name, ""), value)
        except (TypeError, ValueError):
            problems.append(f"{name}: {value!r} is no {known[name]}")
    inheritance = str(options.get("mirror_whitelist_inheritance", "union")).lower()
    if inheritance not in ("intersection", "union"):
        problems.append(f"mirror_whitelist_inheritance: {inheritance!r} is neither intersection nor union")
    url = options.get("mirror_url")
    if url is not None and not str(url).startswith(("http://", "https://")):
        problems.append("mirror_url does not begin with http:// or https://")
    return problems


def normalize(kind: str, value: Any) -> Any:
    """Return *value* as devpi writes it; ValueError or TypeError when it is not of that *kind*."""
    if kind == BOOL:
        return _boolean(value)
    if kind == INT:
        return int(value)
    if kind == TEXT:
        return "" if value is None else value if isinstance(value, (str, dict, list)) else str(value)
    if kind in (LIST, ACL, PROJECTS):
        items = _items(value)
        if kind == ACL:
            return [item.upper() if item.upper() in _PRINCIPALS else item for item in items]
        return [item if item == "*" or kind == LIST else normalize_project(item) for item in items]
    return value


def same(kind: str, one: Any, other: Any) -> bool:
    """Return whether two values mean the same to devpi."""
    if not kind:
        kind = BOOL if isinstance(one, bool) else LIST if isinstance(one, list) else TEXT
    try:
        one, other = normalize(kind, one), normalize(kind, other)
    except (TypeError, ValueError):
        return False
    return set(one) == set(other) if kind in (ACL, PROJECTS) else bool(one == other)


def closed(owner: str, index_type: str, options: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declared *options*, and for a stage who may store test results: without a word those who may upload.

    devpi's own default is anybody, without a login.
    """
    if index_type == "mirror" or "acl_toxresult_upload" in options:
        return dict(options)
    uploaders = options.get("acl_upload", current.get("acl_upload", [owner]))
    return {**options, "acl_toxresult_upload": uploaders}


def difference(known: Mapping[str, str], wanted: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the *wanted* options, normalised, that *current* does not have."""
    return {
        name: normalize(known.get(name, ""), value)
        for name, value in wanted.items()
        if not _is_held(known.get(name, ""), name, value, current)
    }


def _is_held(kind: str, name: str, value: Any, current: Mapping[str, Any]) -> bool:
    if name not in current:
        return kind == TEXT and value in ("", None)
    return same(kind, current[name], value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
    if found is None:
        raise ValueError(value)
    return found


def _items(value: Any) -> list[str]:
    if isinstance(value, str):
        return [item.strip() for item in re.split(r"[,\n]", value) if item.strip()]
    if isinstance(value, (list, tuple)):
        return [str(item).strip() for item in value]
    raise TypeError(value)
