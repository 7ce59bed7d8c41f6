"""A plugin of devpi-server: the front sends the files of documentation.

What an address has, and for whom, is devpi-web's to say: it unpacks the newest documentation when it is first asked
for, and leaves that of removed indexes on disk. Sending the file is the front's work where it says that it can, by
``X-Accel-Mapping: FOLDER=LOCATION`` (nginx's ``X-Accel-Redirect``).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from devpi_server.config import hookimpl
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import FileIter, FileResponse, Response

Handler = Callable[[Request], Response]


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: object, pyramid_config: Configurator) -> None:  # noqa: ARG001 - named by devpi-server
    """Look at every answer."""
    pyramid_config.add_tween(f"{__name__}.tween")


def tween(handler: Handler, registry: object) -> Handler:  # noqa: ARG001 - named by pyramid
    """Return a handler whose answers with a file below the front's folder name the file, and do not send it."""

    def handle(request: Request) -> Response:
        response = handler(request)
        folder, _separator, location = request.headers.get("X-Accel-Mapping", "").partition("=")
        if not location or not isinstance(response, FileResponse) or not isinstance(response.app_iter, FileIter):
            return response
        path = response.app_iter.file.name
        if path.startswith(folder):
            response.app_iter.close()
            response.app_iter = []
            # Parts, and files that the client has already, are the front's work too
            response.conditional_response = False
            response.headers["X-Accel-Redirect"] = quote(location + path.removeprefix(folder))
        return response

    return handle
