"""A plugin of devpi-server: a mirror that cannot ask its upstream says so, and does not say that there is nothing.

devpi-server takes a base that fails for one without the project, so that installers report "no matching distribution"
where the public index is down. And when the list of projects has expired and is unchanged upstream, it takes the
projects that it has already for all of them, in one request.

And whoever asks for a file that another one is fetching gets it: devpi-server fetches it for both, and answers 500 to the
one who is later, since it asserts that a file that it is about to store is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from devpi_server.compat import SpooledTemporaryFile
from devpi_server.config import hookimpl
from devpi_server.filestore_fs_base import FSIOFileBase
from devpi_server.mirror import MirrorStage
from devpi_server.model import UpstreamError, UpstreamNotFoundError
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadGateway
from pyramid.request import Request
from pyramid.response import Response
from pyramid.threadlocal import get_current_request

Handler = Callable[[Request], Response]

FAILED = "pyindex.upstream-failed"
# As devpi-server has it: a larger file is on the disk while it is fetched
MEMORY_BYTES = 2**20
# What an installer finds on the page of a project without files
NOTHING = (b'"files":[]', b'"files": []')


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: object, pyramid_config: Configurator) -> None:  # noqa: ARG001 - named by devpi-server
    """Look at every answer, and at what mirrors are asked."""
    pyramid_config.add_tween(f"{__name__}.tween")
    MirrorStage.get_simplelinks_perstage = remembering(MirrorStage.get_simplelinks_perstage)
    MirrorStage._update_projects = complete(MirrorStage._update_projects)
    FSIOFileBase.new_open = new_open


def remembering(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that notes with the request that the upstream did not answer."""
    # Passed on to what other plugins make of it
    if hasattr(method, "is_remembering"):
        return method

    @wraps(method)
    def get_simplelinks_perstage(self: MirrorStage, project: str) -> Any:
        try:
            return method(self, project)
        except UpstreamNotFoundError:
            raise
        except UpstreamError as error:
            request = get_current_request()
            if request is not None:
                request.environ[FAILED] = f"{self.name} could not ask its upstream for {project}: {error}"
            raise

    get_simplelinks_perstage.is_remembering = True  # type: ignore[attr-defined]
    return get_simplelinks_perstage


def complete(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that gives all projects of an upstream whose list has not changed."""
    if hasattr(method, "is_complete"):
        return method

    @wraps(method)
    def update_projects(self: MirrorStage, timeout: float | None = None) -> Any:
        projects, stale = method(self, timeout=timeout)
        return (projects if stale else self.cache_projectnames.get()), stale

    update_projects.is_complete = True  # type: ignore[attr-defined]
    return update_projects


def new_open(self: FSIOFileBase, _path: object) -> Any:
    """Return a temporary file: the same content may be there meanwhile, and is replaced."""
    return SpooledTemporaryFile(dir=str(self.basedir), max_size=MEMORY_BYTES)


def tween(handler: Handler, registry: object) -> Handler:  # noqa: ARG001 - named by pyramid
    """Return a handler that answers 502 where nothing was found because the upstream did not answer."""

    def handle(request: Request) -> Response:
        response = handler(request)
        failed = request.environ.get(FAILED)
        if not failed or "/+simple/" not in request.path or not nothing(response):
            return response
        return HTTPBadGateway(failed)

    return handle


def nothing(response: Response) -> bool:
    """Say whether *response* is that there are no files of a project."""
    if response.status_code != 200:
        return bool(response.status_code == 404)
    body = response.body
    return any(words in body for words in NOTHING) or (b"<a " not in body and body.lstrip()[:1] == b"<")
