# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong with a devpi server: each error names the cause and what to do about it."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UNIT = "devpi.service"
_LOOK = f"on the index host look at: systemctl status {UNIT}; journalctl -u {UNIT}"
_URL_LOGIN = re.compile(r"(://)[^/@\s]+@")


class DevpiError(Exception):
    """Base of all errors; the message is for the person who runs the playbook and holds no secret."""


class ServerNotReadyError(DevpiError):
    """Nobody answers, or a proxy says that nobody does."""


class TlsError(DevpiError):
    """The server's certificate is not trusted."""


class NotDevpiError(DevpiError):
    """Something answers, but not devpi's JSON interface."""


class LoginRefusedError(DevpiError):
    """User name and password do not fit."""


class PermissionDeniedError(DevpiError):
    """The user is known, but may not do that."""


class NotFoundError(DevpiError):
    """There is no such user, index, project or file."""


class ConflictError(DevpiError):
    """A non-volatile index holds other content under that name."""


class TooLargeError(DevpiError):
    """The file is larger than what the server or the proxy in front of it accepts."""


class RefusedError(DevpiError):
    """The server does not accept what it was asked for."""


class ServerFaultError(DevpiError):
    """The server failed while it worked on the request."""


class InvalidPlanError(DevpiError):
    """What is declared cannot be; nothing has been changed."""


def not_ready(address: str, cause: str) -> ServerNotReadyError:
    """Return the error for a server at *address* that cannot be reached."""
    return ServerNotReadyError(f"devpi does not answer at {address}: {cause}. Is it running? {_LOOK}")


def fault(address: str, status: int, message: str) -> ServerFaultError:
    """Return the error for an internal error of the server."""
    said = f" ({message})" if message else ""
    return ServerFaultError(
        f"devpi at {address} failed with status {status}{said}. A full disk is a usual cause; {_LOOK}"
    )


def login_refused(username: str) -> LoginRefusedError:
    """Return the error for a refused login; it says which parameter and which variable hold the password."""
    where = (
        "the parameter password (role devpi: the variable devpi_root_password)"
        if username == "root"
        else "the parameters username and password"
    )
    return LoginRefusedError(
        f"devpi refuses the login of user {username!r}: wrong password, or no such user. Check {where}"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as " Did you mean 'volatile'?", or an empty string when nothing is near."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def without_login(text: str) -> str:
    """Return *text* with the logins in its URLs replaced by asterisks."""
    return _URL_LOGIN.sub(r"\1********@", text)
