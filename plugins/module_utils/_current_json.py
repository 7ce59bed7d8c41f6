# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The index in a person's ~/.devpi/client/current.json, with everything else in that file kept.

That file is what ``devpi use URL`` writes and every command of devpi-client reads. It holds no login: devpi-client sends
that of the netrc.
"""

from __future__ import annotations

import json
from typing import Any

# What devpi-server has been able to do since 6.14; devpi-client asks for it only at ``devpi use``
FEATURES = ["push-no-docs", "push-only-docs", "push-register-project", "server-keyvalue-parsing"]


class CurrentError(ValueError):
    """The file is not devpi-client's; the message does not quote it (it may hold a login)."""


def settings(index_url: str) -> dict[str, Any]:
    """Return what devpi-client has to know of an index, from its URL (https://HOST/USER/INDEX/)."""
    index = index_url.rstrip("/")
    root = index.rsplit("/", 2)[0]
    return {
        "index": index,
        "simpleindex": f"{index}/+simple/",
        "pypisubmit": f"{index}/",
        "login": f"{root}/+login",
        "features": FEATURES,
    }


KEYS = tuple(settings(""))


def merge(existing: bytes, index_url: str) -> bytes:
    """Return the file with this index; what devpi-client has learnt of the same server's features stays."""
    before = parse(existing)
    ours = settings(index_url)
    if before.get("login") == ours["login"] and before.get("features"):
        del ours["features"]
    return encode(before | ours)


def unmerge(current: bytes, original: bytes, keys: list[str]) -> bytes:
    """Return the file without what we put there, with the original values of these keys back in it."""
    before = parse(original)
    rest = {key: value for key, value in parse(current).items() if key not in keys}
    rest |= {key: before[key] for key in keys if key in before}
    return encode(rest) if rest else b""


def redact(text: str) -> str:
    """Return the text without the login that old versions of devpi-client kept there."""
    try:
        found = parse(text.encode())
    except CurrentError:
        return "(not shown: this is not a file of devpi-client)\n"
    if "auth" not in found:
        return text
    return encode(found | {"auth": "********"}).decode()


def parse(data: bytes) -> dict[str, Any]:
    """Return what a file of devpi-client holds; CurrentError if it is none."""
    try:
        found = json.loads(data) if data.strip() else {}
    except ValueError:
        raise CurrentError("this is no JSON") from None
    if not isinstance(found, dict):
        raise CurrentError("this is no JSON object")
    return found


def encode(found: dict[str, Any]) -> bytes:
    """Return it as devpi-client does, so that its own writing is no change."""
    return json.dumps(found, indent=2, sort_keys=True).encode()
