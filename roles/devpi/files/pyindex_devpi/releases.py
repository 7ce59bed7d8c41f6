"""A plugin of devpi-server: what an index that is not volatile holds is not removed from outside.

devpi-server itself lets whoever may upload to such an index remove from it with ``force``. Here that holds for those
alone who come by the socket itself, on this host, and not through the front.
"""

from __future__ import annotations

from collections.abc import Callable

from devpi_server.config import hookimpl
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

Handler = Callable[[Request], Response]

# The front says in every request for whom it is (waitress takes X-Forwarded-For away)
FRONT = "X-Real-IP"


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: object, pyramid_config: Configurator) -> None:  # noqa: ARG001 - named by devpi-server
    """Look at every request."""
    pyramid_config.add_tween(f"{__name__}.tween")


def tween(handler: Handler, registry: object) -> Handler:  # noqa: ARG001 - named by pyramid
    """Return a handler that does not learn of the ``force`` of a removal that comes through the front."""

    def handle(request: Request) -> Response:
        if request.method == "DELETE" and FRONT in request.headers:
            # A removal has no other parameter; this one is taken from a form as well
            request.query_string = ""
            request.body = b""
        return handler(request)

    return handle
