"""The WSGI application: what is published is read from disk, an upload is all or nothing, the rest is pypiserver.

nginx in front of it does TLS and authentication; nothing else can reach its socket. So the headers
X-Forwarded-Proto, X-Forwarded-Host and X-Remote-User are the front's own words.
"""

from __future__ import annotations

import errno
import html
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pypiserver
from pypiserver.backend import BackendProxy
from pypiserver.bottle_wrapper import response as bottle_response
from pypiserver.config import Config

from . import pypiserver_version
from .archives import shorten
from .distributions import DistributionError, compare_form
from .reading import Content, Published, host_of, origin_of
from .storage import AlreadyPublishedError, DiskBackend, PackageStore
from .uploads import Form, Refusal, read_form

if TYPE_CHECKING:
    from collections.abc import Mapping

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_STORAGE_PROBLEMS: Final = {
    errno.ENOSPC: "the disk of the index is full",
    errno.EDQUOT: "the disk of the index is full",
    errno.EROFS: "the index cannot write to its disk: it is read-only",
    errno.EACCES: "the index may not write to its folders",
    errno.EPERM: "the index may not write to its folders",
}

# The reason stands in the status line too, and a line of headers has to fit into nginx's buffer
_REASON_LENGTH: Final = 400

_WELCOME: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{host}: Python packages</title><link rel="icon" href="data:,"></head>
<body>
<h1>Python packages of {host}</h1>
<p>Install: <code>pip install --index-url {url}simple/ PROJECT</code></p>
<p>Upload: <code>twine upload --repository-url {url} dist/*</code></p>
<p><a href="{path}simple/">All projects</a>, <a href="{path}packages/">all files</a></p>
<p>pypiserver {version}</p>
</body>
</html>
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the service unit sets in the environment."""

    packages_dir: Path
    pages_dir: Path
    url_path: str = ""
    overwrite: bool = False
    removal: bool = False
    max_upload_bytes: int = 1024 * 2**20

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read ``PYINDEX_*``: the folders of packages and pages, the URL path ('' or '/path'), two
        switches (1 or 0) and the upload limit in MiB. Raises KeyError or ValueError for a faulty one."""
        return cls(
            packages_dir=Path(environ["PYINDEX_PACKAGES_DIR"]),
            pages_dir=Path(environ["PYINDEX_PAGES_DIR"]),
            url_path=environ.get("PYINDEX_URL_PATH", "").rstrip("/"),
            overwrite=bool(int(environ.get("PYINDEX_OVERWRITE", "0"))),
            removal=bool(int(environ.get("PYINDEX_REMOVAL", "0"))),
            max_upload_bytes=int(environ.get("PYINDEX_MAX_UPLOAD_MB", "1024")) * 2**20,
        )


class Index:
    """The application below its URL path."""

    def __init__(self, settings: Settings, store: PackageStore) -> None:
        self.settings = settings
        self.store = store
        self._published = Published(store)
        self._pypiserver = _pypiserver_app(store)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        prefix = self.settings.url_path
        path: str = environ.get("PATH_INFO", "")
        method = environ.get("REQUEST_METHOD", "GET")
        if prefix and path != prefix and not path.startswith(f"{prefix}/"):
            return _text(start_response, HTTPStatus.NOT_FOUND, f"the index is below {prefix}/")
        environ["SCRIPT_NAME"] = prefix
        environ["PATH_INFO"] = path = path.removeprefix(prefix)
        if method == "POST" and path in ("", "/"):
            return self._post(environ, start_response)
        if method not in ("GET", "HEAD"):
            allowed = "GET, HEAD, POST" if path in ("", "/") else "GET, HEAD"
            message = f"{shorten(method, 20)} is not possible here; uploads are POST requests to {prefix}/"
            return _text(start_response, HTTPStatus.METHOD_NOT_ALLOWED, message, ("Allow", allowed))
        if path == "":
            return _text(start_response, HTTPStatus.MOVED_PERMANENTLY, "", ("Location", f"{prefix}/"))
        if path == "/":
            return self._welcome(environ, start_response)
        answer = self._published(environ, path)
        if answer is None:
            return self._pypiserver(environ, start_response)
        if isinstance(answer, Content):
            return answer.send(environ, start_response)
        return _text(start_response, answer.status, answer.message, *answer.headers)

    def _welcome(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Say how to use the index; it is open to all, so it names no project and no number."""
        path = f"{self.settings.url_path}/"
        page = _WELCOME.format(
            host=html.escape(host_of(environ)),
            url=html.escape(f"{origin_of(environ)}{quote(path)}"),
            path=html.escape(path),
            version=pypiserver_version,
        ).encode()
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]

    def _post(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        user = shorten(environ.get("HTTP_X_REMOTE_USER") or "-")
        try:
            with read_form(environ, self.store, self.settings.max_upload_bytes) as form:
                message = self._act(form)
        except Refusal as refusal:
            status, message = refusal.status, refusal.message
        except OSError as error:
            reason = _STORAGE_PROBLEMS.get(error.errno or 0)
            if reason is None:
                raise
            log.error("%s", error)
            status, message = HTTPStatus.INSUFFICIENT_STORAGE, f"{reason}; nothing was changed"
        else:
            log.info("user %s: %s", user, message)
            return _text(start_response, HTTPStatus.OK, message)
        log.warning("user %s: refused with %d: %s", user, status, message)
        return _text(start_response, status, message)

    def _act(self, form: Form) -> str:
        action = form.fields.get(":action")
        if action is None:
            raise Refusal(400, "the form has no field :action")
        if action == "file_upload":
            return self._upload(form)
        if action == "remove_pkg":
            return self._remove(form)
        if action in ("submit", "verify"):
            return "nothing to do: projects need no registration here"
        raise Refusal(400, f"unknown :action {shorten(action)}; file_upload and remove_pkg are known")

    def _upload(self, form: Form) -> str:
        if form.content is None or form.name is None:
            raise Refusal(400, "the form has no file in the field content")
        expected = form.fields.get("sha256_digest", "").lower()
        if expected and expected != form.content.sha256:
            raise Refusal(400, f"{form.name.text} was damaged on its way: its SHA-256 is not the one in the form")
        try:
            compare_form(form.name, form.fields.get("name"), form.fields.get("version"))
            self.store.publish(form.content, form.name, overwrite=self.settings.overwrite)
        except DistributionError as error:
            raise Refusal(400, str(error)) from None
        except AlreadyPublishedError as error:
            name, existing = form.name.text, error.existing
            spelling = "" if existing == name else f" as {shorten(existing)}"
            text = f"{name} already exists{spelling}, and published files are never replaced: use a new version"
            raise Refusal(409, text) from None
        return f"stored {form.name.text}, {form.content.size} bytes, sha256 {form.content.sha256}"

    def _remove(self, form: Form) -> str:
        if not self.settings.removal:
            raise Refusal(403, "this index does not allow uploaders to remove releases (pypiserver_removal is off)")
        project, version = form.fields.get("name"), form.fields.get("version")
        if not project or not version:
            raise Refusal(400, "remove_pkg needs the fields name and version")
        names = self.store.find_release(project, version)
        if not names:
            raise Refusal(404, f"there is no release {shorten(version)} of {shorten(project)}")
        self.store.remove(names)
        return f"removed {', '.join(names)}"


def application() -> Index:
    """Build the application from the environment; the WSGI server calls this once, before it forks."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # It writes a line for each request; nginx does that already
    logging.getLogger("pypiserver").setLevel(logging.WARNING)
    settings = Settings.from_environ(os.environ)
    os.umask(0o027)
    store = PackageStore(settings.packages_dir, settings.pages_dir)
    removed = store.clean()
    if removed:
        log.warning("removed %d unfinished uploads of an earlier process", removed)
    return Index(settings, store)


def _pypiserver_app(store: PackageStore) -> Wsgi:
    config = Config.default_with_overrides(
        roots=[store.root],
        # -a . -P . : nginx has asked for the password already
        authenticate=[],
        password_file=".",  # noqa: S106
        # A name that is unknown here must never be asked for elsewhere
        disable_fallback=True,
        backend_arg="simple-dir",
    )
    config.backend = BackendProxy(DiskBackend(config, store))
    bottle = pypiserver.setup_routes_from_config(pypiserver.app_from_config(config), config)
    bottle.default_error_handler = _plain_error
    app: Wsgi = bottle
    return app


def _plain_error(error: Any) -> str:
    """Answer pypiserver's errors with a line of text instead of bottle's page."""
    bottle_response.content_type = "text/plain; charset=utf-8"
    return f"{' '.join(str(error.body).split())}\n"


def _text(
    start_response: StartResponse, status: HTTPStatus, message: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Answer with one line of plain text; for an error also in the status line, which twine shows."""
    line = " ".join(message.split())
    reason = status.phrase
    if status >= HTTPStatus.BAD_REQUEST:
        reason = line.encode("ascii", "replace").decode()[:_REASON_LENGTH]
    body = f"{line}\n".encode()
    start_response(
        f"{status.value} {reason}",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers],
    )
    return [body]
