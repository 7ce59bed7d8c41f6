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
    OWNER = "owner"
    OTHER = "other user"
    ROOT = "root"
    WRONG_PASSWORD = "wrong password"
    UNKNOWN_USER = "unknown user"


class Action(StrEnum):
    """What a request is for."""

    LIST = "list"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    OVERWRITE = "overwrite"
    DELETE = "delete"
    CREATE_INDEX = "create index"


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


PYPISERVER_IDENTITIES = (
    Identity.ANONYMOUS,
    Identity.READER,
    Identity.UPLOADER,
    Identity.WRONG_PASSWORD,
    Identity.UNKNOWN_USER,
)
PYPISERVER_ACTIONS = (Action.LIST, Action.DOWNLOAD, Action.UPLOAD, Action.OVERWRITE, Action.DELETE)
DEVPI_IDENTITIES = tuple(identity for identity in Identity if identity is not Identity.UPLOADER)
UNKNOWN = (Identity.ANONYMOUS, Identity.WRONG_PASSWORD, Identity.UNKNOWN_USER)


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


class StagePolicy(Protocol):
    """What an inventory decides about an index of a devpi server."""

    @property
    def volatile(self) -> bool:
        """Whether a file may be replaced and removed."""

    def takes_uploads_of(self, user: str) -> bool:
        """Whether `user` ('' = nobody) may upload."""


def expected_devpi_status(policy: StagePolicy, identity: Identity, user: str, action: Action, *, locked: bool) -> int:
    """The same of an index of a devpi server, where `user` ('' = unknown) is that identity's name there. `locked`:
    reading needs a login. Users are root's business alone, and so are indexes."""
    if identity in (Identity.WRONG_PASSWORD, Identity.UNKNOWN_USER):
        # Also where reading is open: who says who they are has to be believed
        return 401
    refused = 403 if user else 401
    if action in (Action.LIST, Action.DOWNLOAD):
        return refused if locked and not user else 200
    if action in (Action.CREATE_INDEX, Action.DELETE) and not user and not locked:
        # devpi asks nobody to log in for what no installer does
        return 403
    if action is Action.CREATE_INDEX:
        return 200 if user == "root" else refused
    # root removes what others uploaded, and uploads where it is named
    if not policy.takes_uploads_of(user) and not (user == "root" and action is Action.DELETE):
        return refused
    if action is Action.OVERWRITE and not policy.volatile:
        return 409
    if action is Action.DELETE and not policy.volatile:
        return 403
    return 200
