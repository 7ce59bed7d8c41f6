# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work with the rights of another user.

Root writes here into folders that belong to other people. Every look and every change in such a folder is done with the
effective user id of its owner: whatever links somebody has planted, nothing is read or written that they could not have
read or written themselves.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class ClientFilesError(Exception):
    """What is asked for cannot be done; nothing has been changed. The message says what to change, a line a fault."""


@dataclass(frozen=True)
class Account:
    """Whose rights are used."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


def account_of(name: str) -> Account:
    """Return a system user, who must exist and have a home directory."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise ClientFilesError(
            f"the system user {name!r} does not exist on this host: create it first, or take it out of the list of "
            f"users (pip_client_users)"
        ) from None
    account = account_from(entry)
    with acting(account):
        if not os.path.isdir(account.home) or account.home == "/":
            raise ClientFilesError(
                f"the home directory {account.home!r} of the system user {name!r} is missing or cannot be entered: "
                f"create it, or take the user out of the list of users (pip_client_users)"
            )
    return account


def account_for(path: str) -> Account:
    """Return who controls a path outside of homes: root, or the one other user who owns a part of it.

    That user can put anything there by links, so more rights than theirs must not be used.
    """
    owners: set[int] = set()
    parts = path.split("/")
    for count in range(2, len(parts)):
        try:
            status = os.lstat("/".join(parts[:count]))
        except FileNotFoundError:
            break
        except OSError as error:
            raise ClientFilesError(f"{path}: {error.strerror}") from None
        owners.add(status.st_uid)
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX and stat.S_ISDIR(status.st_mode):
            raise ClientFilesError(f"{path}: every user may write to {'/'.join(parts[:count])}; nothing is safe there")
    owners.discard(0)
    if len(owners) > 1:
        raise ClientFilesError(f"{path}: the folders on the way to it belong to several users; nothing is safe there")
    return account_by_id(owners.pop() if owners else 0)


def account_by_id(uid: int, gid: int = -1) -> Account:
    """Return the account of a number, also of one that has no name (any more)."""
    try:
        return account_from(pwd.getpwuid(uid))
    except KeyError:
        group = gid if gid >= 0 else uid
        return Account(f"uid {uid}", uid, group, (group,))


def account_from(entry: pwd.struct_passwd) -> Account:
    """Return the account of an entry of the user database."""
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


@contextlib.contextmanager
def acting(account: Account) -> Iterator[None]:
    """Use the rights of this account, and no others, inside of the block."""
    if account.uid == os.geteuid():
        yield
        return
    if os.geteuid() != 0:
        raise ClientFilesError(f"files of {account.name} can only be managed by root: run this task with become")
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)
