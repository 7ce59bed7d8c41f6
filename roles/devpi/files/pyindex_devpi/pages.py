"""A plugin of devpi-server: pages of installers say how long the front may keep them, and what they are known by.

Only where the front asks for it: ``X-Pyindex-Keep`` of its request is the most bytes of a page that it keeps, and of the
answer the seconds for which it may. Without it the page is for this request only. A commit ends that time (see
``generations``); what ends it otherwise is that a mirror has to ask its upstream again.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
import time
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from devpi_server.config import hookimpl
from devpi_server.mirror import MirrorStage
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid.threadlocal import get_current_request

from pyindex_devpi.mirrors import FAILED

Handler = Callable[[Request], Response]

HEADER = "X-Pyindex-Keep"
# Pages without a mirror are right until a commit
LONGEST_SECONDS = 86400
# Below, a page is no smaller when it is compressed
SMALLEST_COMPRESSED = 1000
# ... and hardly ever smaller than by this
LARGEST_RATIO = 10
LEFT = "pyindex.seconds-left"
PATH = re.compile(r"/[^/+]+/[^/+]+/\+simple/(?:[^/+]+/)?")


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: object, pyramid_config: Configurator) -> None:  # noqa: ARG001 - named by devpi-server
    """Look at every answer, and at what it is made of."""
    pyramid_config.add_tween(f"{__name__}.tween")
    MirrorStage.get_simplelinks_perstage = limiting(MirrorStage.get_simplelinks_perstage, links_left)
    MirrorStage._list_projects_perstage = limiting(MirrorStage._list_projects_perstage, names_left)


def limiting(method: Callable[..., Any], left: Callable[..., float]) -> Callable[..., Any]:
    """Return a *method* of a mirror that notes with the request for how many seconds its result is what it was."""
    if hasattr(method, "is_limiting"):
        return method

    @wraps(method)
    def result_of(self: MirrorStage, *arguments: Any, **options: Any) -> Any:
        before = left(self, *arguments, **options)
        try:
            return method(self, *arguments, **options)
        finally:
            # What was too old before has been asked for; what is still too old could not be
            note(before if before > 0 else left(self, *arguments, **options))

    result_of.is_limiting = True  # type: ignore[attr-defined]
    return result_of


def links_left(mirror: MirrorStage, project: str) -> float:
    """Return for how many seconds a *mirror* does not ask for the files of a *project*."""
    if mirror.offline:
        return LONGEST_SECONDS
    return _left(mirror, mirror.cache_retrieve_times.get_timestamp(project))


def names_left(mirror: MirrorStage, *_unused: object, **_options: object) -> float:
    """Return for how many seconds a *mirror* does not ask for the names of all projects."""
    if mirror.offline or mirror.no_project_list:
        return LONGEST_SECONDS
    return _left(mirror, mirror.cache_projectnames._timestamp)


def _left(mirror: MirrorStage, asked_at: float) -> float:
    return float(asked_at + mirror.cache_expiry - time.time())


def note(left: float) -> None:
    """Note with the request that its answer is what it is for *left* seconds at most."""
    request = get_current_request()
    if request is not None:
        request.environ[LEFT] = min(left, request.environ.get(LEFT, LONGEST_SECONDS))


def tween(handler: Handler, registry: object) -> Handler:  # noqa: ARG001 - named by pyramid
    """Return a handler whose pages can be kept by the front."""

    def handle(request: Request) -> Response:
        response = handler(request)
        most = request.headers.get(HEADER, "")
        if most.isdecimal() and request.method == "GET" and PATH.fullmatch(request.path_info):
            keepable(request, response, int(most))
        return response

    return handle


def keepable(request: Request, response: Response, most: int) -> None:
    """Name the content of a page, compress it for who takes it so, and say for how long it may be kept."""
    if response.status_code != 200:
        return
    compressed = request.headers.get("Accept-Encoding") == "gzip"
    body = beginning(response, most * LARGEST_RATIO if compressed else most)
    if body is None:
        return
    response.body = body
    if compressed and len(body) >= SMALLEST_COMPRESSED:
        # The same content is the same answer, also tomorrow
        response.body = gzip.compress(body, 6, mtime=0)
        response.content_encoding = "gzip"
    if len(response.body) > most:
        return
    response.etag = hashlib.sha256(response.body).hexdigest()[:32]
    left = int(request.environ.get(LEFT, LONGEST_SECONDS))
    if left > 0 and FAILED not in request.environ:
        # devpi forbids to keep what comes from a mirror's memory, and can be told nothing of changes
        for name in ("Cache-Control", "Expires", "Pragma"):
            response.headers.pop(name, None)
        response.headers[HEADER] = str(left)


def beginning(response: Response, most: int) -> bytes | None:
    """Return the whole body of a *response* of at most *most* bytes; a larger one goes on as it is, in parts."""
    parts: list[bytes] = []
    size = 0
    rest: Iterable[bytes] = iter(response.app_iter)
    for part in rest:
        parts.append(part)
        size += len(part)
        if size > most:
            response.app_iter = itertools.chain(parts, rest)
            return None
    return b"".join(parts)
