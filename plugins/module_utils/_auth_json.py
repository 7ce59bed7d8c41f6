# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One login in a person's ~/.devpi/client/auth.json, with everything else in that file kept.

devpi-client sends the login of the netrc but in one case: ``devpi test`` downloads without it. What is written here is for
the files of one index only. A login for the whole server would also become a part of the URL that ``devpi test`` hands to
pip, and pip hands it on to its helpers in their arguments, where everybody on the host can read it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ansible_collections.pyindex.fleet.plugins.module_utils import _current_json


def key(index_url: str) -> str:
    """Return what devpi-client looks up for the files of an index (https://HOST/USER/INDEX/): a URL with its port."""
    url = urlsplit(index_url.rstrip("/") + "/+f/")
    if ":" not in url.netloc:
        url = url._replace(netloc=f"{url.netloc}:{'80' if url.scheme == 'http' else '443'}")
    return url.geturl()


def merge(existing: bytes, index_url: str, username: str, password: str) -> bytes:
    """Return the file with this login for the files of this index, and with everything else as it was."""
    found = _current_json.parse(existing)
    return _current_json.encode({**found, "basic_auth": {**_logins(found), key(index_url): [username, password]}})


def unmerge(current: bytes, original: bytes, keys: list[str]) -> bytes:
    """Return the file without our logins, with the original ones for the same URLs back in it."""
    found, before = _current_json.parse(current), _logins(_current_json.parse(original))
    logins = {url: login for url, login in _logins(found).items() if url not in keys}
    logins |= {url: before[url] for url in keys if url in before}
    rest = {name: value for name, value in found.items() if name != "basic_auth"}
    if logins:
        rest["basic_auth"] = logins
    return _current_json.encode(rest) if rest else b""


def redact(text: str) -> str:
    """Return the text without passwords and tokens; all of it if it cannot be read."""
    try:
        found = _current_json.parse(text.encode())
    except _current_json.CurrentError:
        return "(not shown: this is not a file of devpi-client)\n"
    if not found:
        return text
    hidden: dict[str, Any] = dict.fromkeys(found, "********")
    if _logins(found):
        hidden["basic_auth"] = dict.fromkeys(_logins(found), "********")
    return _current_json.encode(hidden).decode()


def _logins(found: dict[str, Any]) -> dict[str, Any]:
    logins = found.get("basic_auth")
    return logins if isinstance(logins, dict) else {}
