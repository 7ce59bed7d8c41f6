"""Around devpi-server's application: says that the disk is full, where it would only say that there was an error, and
does not leave there what it wrote until then.

Around all of it, because what runs out of space is the end of a transaction. (As a tween it would have to be told
its place, and that moves devpi-server's own: removals were then rolled back.)
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from devpi_server.config import hookimpl

Application = Callable[..., Iterable[bytes]]

MESSAGE = "The disk of the package index is full: nothing was stored"
_folders: set[Path] = set()


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: Any, pyramid_config: object) -> None:  # noqa: ARG001 - named by devpi-server
    """Learn where the files are."""
    _folders.add(config.server_path / "+files")


def guarded(application: Application) -> Application:
    """Return a WSGI *application* that answers 507 (RFC 4918) where there was no space left."""

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except (OSError, sqlite3.OperationalError) as error:
            if not is_full(error):
                raise
        for folder in _folders:
            remove_unfinished(folder)
        # The reason too: twine shows nothing else
        start_response(f"507 {MESSAGE}", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{MESSAGE}\n".encode()]

    return answer


def remove_unfinished(folder: Path) -> None:
    """Remove the files below *folder* that this thread has begun to write, by the names that devpi-server gives them."""
    for path in folder.rglob("*-tmp"):
        name, _dash, digest = path.name.removesuffix("-tmp").rpartition("-")
        key = f"{path.with_name(name)}{os.getpid()}{threading.get_ident()}"
        if hashlib.sha256(key.encode()).hexdigest() == digest:
            path.unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Say whether *error* is about space on a disk."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "disk is full" in str(error)
