# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One login in a person's ~/.devpi/client/auth.json, with everything else in that file kept.

That file is what ``devpi login`` writes and every command of devpi-client reads. It has a token there, which ends after ten
hours; devpi-server takes the password in the same place. Most commands would do with the netrc, but not ``devpi test``
of an index that asks who reads it, and not ``devpi index``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.pyindex.fleet.plugins.module_utils import _current_json

if TYPE_CHECKING:
    from collections.abc import Iterable

Logins = list[list[str]]


def key(index_url: str, username: str) -> str:
    """Return what stands for this login in the list that `unmerge` takes."""
    return f"{_current_json.root_url(index_url)} {username}"


def merge(existing: bytes, index_url: str, username: str, password: str) -> bytes:
    """Return the file with this login, the first one of its server, and with every other login as it was."""
    found = _current_json.parse(existing)
    root = _current_json.root_url(index_url)
    others = [login for login in _logins(found, root) if login[0] != username]
    return _with(found, {root: [[username, password], *others]})


def unmerge(current: bytes, original: bytes, keys: list[str]) -> bytes:
    """Return the file without our logins, with the original logins of the same users back in it."""
    found, before = _current_json.parse(current), _current_json.parse(original)
    after: dict[str, Logins] = {}
    for root, username in (each.rsplit(" ", 1) for each in keys):
        back = [login for login in _logins(before, root) if login[0] == username]
        now = after.get(root, _logins(found, root))
        after[root] = back + [login for login in now if login[0] != username]
    text = _with(found, after)
    return b"" if text == b"{}" else text


def redact(text: str) -> str:
    """Return the text without passwords and tokens; all of it if it cannot be read."""
    try:
        found = _current_json.parse(text.encode())
    except _current_json.CurrentError:
        return "(not shown: this is not a file of devpi-client)\n"
    if not found:
        return text
    hidden: dict[str, Any] = {
        root: [[login[0], "********"] for login in _logins(found, root)] for root in _roots(found)
    }
    rest = dict.fromkeys(set(found) - {"auth"}, "********")
    return _current_json.encode({**rest, "auth": hidden}).decode()


def _roots(found: dict[str, Any]) -> Iterable[str]:
    auth = found.get("auth")
    return list(auth) if isinstance(auth, dict) else []


def _logins(found: dict[str, Any], root: str) -> Logins:
    """Return the logins of a server: pairs of a name and a password or token."""
    auth = found.get("auth")
    logins = auth.get(root) if isinstance(auth, dict) else None
    if not isinstance(logins, list):
        return []
    return [login for login in logins if isinstance(login, list) and len(login) == 2]


def _with(found: dict[str, Any], changed: dict[str, Logins]) -> bytes:
    auth = found.get("auth")
    logins = {**(auth if isinstance(auth, dict) else {}), **changed}
    logins = {root: some for root, some in logins.items() if some}
    rest = {name: value for name, value in found.items() if name != "auth"}
    return _current_json.encode({**rest, "auth": logins} if logins else rest)
