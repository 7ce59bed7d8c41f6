"""A plugin of devpi-server: /+authcheck says the truth about a login, for the front that asks it.

devpi-server takes who gives a wrong password for anonymous, so that passwords could be tried without end
where reading is open; and it lets some addresses pass without a look (``+api`` of every index). Which
addresses need no login is for the front to say.
"""

from __future__ import annotations

from devpi_server.config import hookimpl
from pyramid.request import Request

# Headers in which devpi-server looks for a name and a password; devpi-lockdown itself judges its cookie
CREDENTIALS = ("Authorization", "X-Devpi-Auth")


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_authcheck_always_ok(request: Request) -> bool:  # noqa: ARG001 - named by devpi-server
    """Return False: no address passes unseen."""
    return False


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_authcheck_unauthorized(request: Request) -> bool | None:
    """Return True for a *request* whose credentials are wrong, None to let others decide."""
    if any(request.headers.get(name) for name in CREDENTIALS) and not request.authenticated_userid:
        return True
    return None
