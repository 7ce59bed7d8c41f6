"""A plugin of devpi-server: says that the disk is full, where it would only say that there was an error, and does not
leave there what it wrote until then."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from devpi_server.config import hookimpl
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

Handler = Callable[[Request], Response]

# devpi-server's own
TRANSACTION = "devpi_server.views.tween_keyfs_transaction"
MESSAGE = "The disk of the package index is full: nothing was stored"


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: object, pyramid_config: Configurator) -> None:  # noqa: ARG001 - named by devpi-server
    """Look at every request from outside of its transaction, which is what runs out of space."""
    pyramid_config.add_tween(f"{__name__}.tween", over=TRANSACTION)


def tween(handler: Handler, registry: object) -> Handler:  # noqa: ARG001 - named by pyramid
    """Return a handler that answers 507 (RFC 4918) where there was no space left."""

    def handle(request: Request) -> Response:
        try:
            return handler(request)
        except (OSError, sqlite3.OperationalError) as error:
            if not is_full(error):
                raise
            remove_unfinished(request.registry["xom"].config.server_path / "+files")
        # The reason too: twine shows nothing else
        return Response(f"{MESSAGE}\n", status=f"507 {MESSAGE}", content_type="text/plain", charset="utf-8")

    return handle


def remove_unfinished(folder: Path) -> None:
    """Remove the files below *folder* that this thread has begun to write, by the names that devpi-server gives them."""
    for path in folder.rglob("*-tmp"):
        name, _, digest = path.name.removesuffix("-tmp").rpartition("-")
        key = f"{path.with_name(name)}{os.getpid()}{threading.get_ident()}"
        if hashlib.sha256(key.encode()).hexdigest() == digest:
            path.unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Say whether *error* is about space on a disk."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "disk is full" in str(error)
