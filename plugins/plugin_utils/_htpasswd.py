# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Credentials files for nginx's auth_basic: one ``name:hash`` a line, bcrypt hashes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER = "# Managed by Ansible (pyindex.fleet, role htpasswd): changes made here are lost.\n"
RIGHTS = ("read", "upload")
# bcrypt reads no further, so what follows would not be part of the password
MAX_PASSWORD_BYTES = 72


def problems(users: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what is wrong with *users* (name, password, rights), a sentence each, never with a password in it."""
    found = []
    for number, user in enumerate(users, start=1):
        name = user.get("name") or ""
        who = f'user "{name}"' if name else f"user number {number} of htpasswd_users"
        if not name:
            found.append(f"{who} has no name: set name")
        elif name.startswith("#") or any(char == ":" or char.isspace() or not char.isprintable() for char in name):
            found.append(f"{who}: a name has no colon, no blank, no control character and no leading #")
        found += [f"{who} {problem}" for problem in _password_problems(user.get("password"))]
        rights = user.get("rights", ["read"])
        found += [
            f'{who} has the unknown right "{right}": write {" or ".join(RIGHTS)}'
            for right in rights
            if right not in RIGHTS
        ]
        if not rights:
            found.append(f"{who} has no right at all: give it one of {', '.join(RIGHTS)}, or remove it")
    counts = Counter(user.get("name") for user in users if user.get("name"))
    found += [
        f'user "{name}" is declared {count} times: keep one entry with all its rights'
        for name, count in counts.items()
        if count > 1
    ]
    return found


def _password_problems(password: object) -> list[str]:
    if not password:
        return ["has no password: set password, for example from a vault"]
    text = str(password)
    size = len(text.encode())
    found = []
    if size > MAX_PASSWORD_BYTES:
        found.append(f"has a password of {size} bytes: bcrypt takes at most {MAX_PASSWORD_BYTES}, choose a shorter one")
    if not text.isprintable():
        found.append("has a password with control characters: leave them out")
    return found


def content(users: Sequence[Mapping[str, Any]], right: str, existing: str, cost: int) -> str:
    """Return the text of the file for *right*: the line of an unchanged user is the one of *existing*.

    A line is kept when its hash belongs to the password and has the *cost* (log2 of rounds, 4 to 31).
    """
    old = dict(line.split(":", 1) for line in existing.splitlines() if ":" in line and not line.startswith("#"))
    lines = []
    for user in sorted(users, key=lambda user: str(user["name"])):
        if right in user.get("rights", ["read"]):
            name, password = str(user["name"]), str(user["password"]).encode()
            hashed = old.get(name, "")
            lines.append(f"{name}:{hashed if _fits(password, hashed, cost) else _hash(password, cost)}\n")
    return HEADER + "".join(lines)


def _fits(password: bytes, hashed: str, cost: int) -> bool:
    import bcrypt

    if not hashed.startswith(f"$2y${cost:02d}$"):
        return False
    try:
        return bcrypt.checkpw(password, hashed.encode())
    except ValueError:
        return False


def _hash(password: bytes, cost: int) -> str:
    import bcrypt

    # 2y is the name under which every crypt(3) knows this algorithm
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode().replace("$2b$", "$2y$", 1)
