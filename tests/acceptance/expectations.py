"""Who may do what: the answer that an index should give, from its variables alone."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol


class Identity(StrEnum):
    """As whom a request is made."""

    ANONYMOUS = "anonymous"
    READER = "reader"
    UPLOADER = "uploader"
    WRONG_PASSWORD = "wrong password"
    UNKNOWN_USER = "unknown user"


class Action(StrEnum):
    """What a request is for."""

    LIST = "list"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    OVERWRITE = "overwrite"
    DELETE = "delete"


class Policy(Protocol):
    """What an inventory decides."""

    @property
    def protected(self) -> Collection[str]:
        """pypiserver's actions that want a login: list, download, update."""

    @property
    def overwrite(self) -> bool:
        """Whether a published file may be replaced."""

    @property
    def removal(self) -> bool:
        """Whether a release may be removed."""


def expected_status(policy: Policy, identity: Identity, action: Action) -> int:
    """The status of the answer: 401 to the unknown, 403 to the known without the right, 409 for a file that exists."""
    reading = action in (Action.LIST, Action.DOWNLOAD)
    if (action if reading else "update") in policy.protected:
        if identity not in (Identity.READER, Identity.UPLOADER):
            return 401
        if identity is Identity.READER and not reading:
            return 403
    if action is Action.OVERWRITE and not policy.overwrite:
        return 409
    if action is Action.DELETE and not policy.removal:
        return 403
    return 200
