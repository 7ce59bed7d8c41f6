"""A plugin of devpi-server: /+authcheck says the truth about a login, for the front that asks it.

devpi-server takes who gives a wrong password for anonymous, so that passwords could be tried without end
where reading is open; and it lets some addresses pass without a look (``+api`` of every index). Which
addresses need no login is for the front to say. The front keeps pages, too: who may read an index has to be said
here, where devpi-server itself says it of files only and plugins look at the request for the page.
"""

from __future__ import annotations

from devpi_server.config import hookimpl
from pyramid.request import Request

# Headers in which devpi-server looks for a name and a password; devpi-lockdown itself judges its cookie
CREDENTIALS = ("Authorization", "X-Devpi-Auth")
# The routes of pages of installers
PAGES = "/{user}/{index}/+simple"


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


@hookimpl(tryfirst=True)  # type: ignore[untyped-decorator]
def devpiserver_authcheck_forbidden(request: Request) -> bool | None:
    """Return True for a *request* for a page of an index that it may not read, None to let others decide.

    False where the credentials are wrong: that is what is said first, whatever the address, so that it is counted.
    """
    if request.registry["xom"].config.hook.devpiserver_authcheck_unauthorized(request=request):
        return False
    route, context = request.matched_route, request.context
    if route is None or not route.name.startswith(PAGES):
        return None
    # Of what is not there devpi-server says that it is not
    if context.model.getstage(context.username, context.index) is None or request.has_permission("pkg_read"):
        return None
    return True
