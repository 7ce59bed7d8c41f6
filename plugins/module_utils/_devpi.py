# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of devpi-server's REST interface (API version 2, devpi-server 6)."""

from __future__ import annotations

import base64
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import (
    ConflictError,
    DevpiError,
    LoginRefusedError,
    NotDevpiError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    TooLargeError,
    fault,
    login_refused,
    not_ready,
    without_login,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import Multipart, Request, Response, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import Body, Transport

# argon2 takes 64 MB and about 0.1 s of a core each time: more at once only starve the server's other users
_LOGINS_AT_ONCE = 4
_ENTRY_PATH = re.compile(r"/[^/]+/[^/]+/\+[ef]/.+")


@dataclass(frozen=True)
class Link:
    """A file of a release as devpi lists it. *rel* is releasefile, doczip or toxresult; *sha256* may be unknown ("")."""

    rel: str
    basename: str
    sha256: str
    path: str


def normalize_project(name: str) -> str:
    """Return *name* as devpi compares projects (PEP 503)."""
    return re.sub("[^A-Za-z0-9]+", "-", name).lower()


class Client:
    """What can be asked of a devpi server, and how it answers.

    Logs in once, at the first request; without a password it stays anonymous. Names of indexes are ``user/index``.
    All methods raise the errors of _devpi_errors. Several threads may share a client.
    """

    def __init__(self, transport: Transport, username: str = "root", password: str | None = None) -> None:
        self.transport = transport
        self.username = username
        self._password = password
        self._token = ""
        self._login = threading.Lock()

    # -- the server

    def status(self) -> dict[str, Any]:
        """Return what the server says of itself: role, serial, versions of its plugins."""
        return self._result("GET", "/+status")

    def password_is(self, username: str, password: str) -> bool:
        """Return whether *username* could log in with *password*; nothing is changed by asking."""
        # Not by /+login: that is a write transaction, of which devpi does one at a time
        answer = self._send(Request("GET", "/+api", _headers(username, password)))
        status = _json(answer, self.transport.address).get("result", {}).get("authstatus", [""])
        return bool(status[0] == "ok")

    def passwords_are(self, logins: Sequence[tuple[str, str]]) -> list[bool]:
        """Return for each user name and password what `password_is` does, a few at a time."""
        with ThreadPoolExecutor(_LOGINS_AT_ONCE) as threads:
            return list(threads.map(lambda login: self.password_is(*login), logins))

    # -- users

    def users(self) -> dict[str, dict[str, Any]]:
        """Return all users by name; each has its fields and, below ``indexes``, its indexes with their options."""
        return self._result("GET", "/")

    def create_user(self, name: str, fields: Mapping[str, Any]) -> None:
        """Make a user. Without a ``password`` in *fields* nobody can log in as it but by a plugin."""
        self._call("PUT", f"/{quote(name)}", {"password": None, **fields})

    def modify_user(self, name: str, fields: Mapping[str, Any]) -> None:
        """Set the fields given; an empty string removes one."""
        self._call("PATCH", f"/{quote(name)}", fields)

    def delete_user(self, name: str) -> None:
        """Remove a user with all indexes; devpi refuses that while one of them is non-volatile."""
        self._call("DELETE", f"/{quote(name)}")

    # -- indexes

    def index(self, name: str) -> dict[str, Any]:
        """Return the options of an index; NotFoundError if there is none of that name."""
        return self._result("GET", f"/{quote(name)}?no_projects=")

    def projects(self, name: str) -> list[str]:
        """Return the projects that an index itself has, not those of its bases."""
        return list(self._result("GET", f"/{quote(name)}").get("projects", []))

    def create_index(self, name: str, options: Mapping[str, Any]) -> None:
        """Make an index."""
        self._call("PUT", f"/{quote(name)}", options)

    def modify_index(self, name: str, options: Mapping[str, Any]) -> None:
        """Set the options given. devpi resets those of plugins that are left out."""
        self._call("PATCH", f"/{quote(name)}", options)

    def delete_index(self, name: str) -> None:
        """Remove an index with its files; devpi refuses that while it is non-volatile."""
        self._call("DELETE", f"/{quote(name)}")

    # -- releases

    def releases(self, index: str, project: str) -> dict[str, list[Link]]:
        """Return the files of each version of a project on the index itself; empty if it does not have the project."""
        try:
            found = self._result("GET", f"/{quote(index)}/{quote(normalize_project(project))}?ignore_bases=")
        except NotFoundError:
            return {}
        return {version: [_link(link) for link in data.get("+links", [])] for version, data in found.items()}

    def upload(self, index: str, action: str, fields: Sequence[tuple[str, str]], file: IO[bytes], filename: str) -> str:
        """Send a file as twine does; *action* is file_upload or doc_upload. Return a warning of the server, or "".

        ConflictError when a non-volatile index has other content under that name.
        """
        body = Multipart([(":action", action), *fields], file, filename)
        answer = self._authenticated("POST", f"/{quote(index)}/", body)
        if answer.status != 200:
            raise self._error(answer, f"upload {filename} to {index}")
        # A trigger such as Jenkins' that fails is told in the status line only
        return without_login(answer.reason) if "failed" in answer.reason else ""

    def push(self, index: str, project: str, version: str, target: str) -> None:
        """Copy a release with its documentation and test results from *index* to the index *target*."""
        asked = {"name": normalize_project(project), "version": version, "targetindex": target}
        self._call("POST", f"/{quote(index)}", asked, f"push {project} {version} from {index} to {target}")

    def delete_release(self, index: str, project: str, version: str, force: bool = False) -> None:
        """Remove a release with all its files; from a non-volatile index only with *force*."""
        path = f"/{quote(index)}/{quote(normalize_project(project))}/{quote(version, safe='')}"
        self._call("DELETE", path + ("?force=" if force else ""))

    def delete_file(self, link: Link, force: bool = False) -> None:
        """Remove one file; from a non-volatile index only with *force*."""
        self._call("DELETE", quote(link.path) + ("?force=" if force else ""))

    # -- how

    def _result(self, method: str, path: str) -> dict[str, Any]:
        result = self._call(method, path).get("result")
        if not isinstance(result, dict):
            raise NotDevpiError(f"{self.transport.address} answered {path} with JSON that is not devpi's")
        return result

    def _call(self, method: str, path: str, data: Mapping[str, Any] | None = None, what: str = "") -> dict[str, Any]:
        body = None if data is None else Text(json.dumps(data).encode())
        answer = self._authenticated(method, path, body)
        if answer.status not in (200, 201):
            raise self._error(answer, what or f"{method} {path.partition('?')[0]}")
        return _json(answer, self.transport.address)

    def _authenticated(self, method: str, path: str, body: Body | None) -> Response:
        headers = {"Accept": "application/json"}
        if self._password is not None:
            headers = _headers(self.username, self._current_token())
        return self._send(Request(method, path, headers, body))

    def _current_token(self) -> str:
        with self._login:
            if not self._token:
                asked = Text(json.dumps({"user": self.username, "password": self._password}).encode())
                answer = self._send(Request("POST", "/+login", {"Accept": "application/json"}, asked))
                if answer.status == 401 and _is_json(answer):
                    raise login_refused(self.username)
                if answer.status != 200:
                    raise self._error(answer, f"log in as {self.username}")
                self._token = str(_json(answer, self.transport.address).get("result", {}).get("password", ""))
                if not self._token:
                    raise NotDevpiError(
                        f"{self.transport.address} answered the login without a token: is it a devpi server?"
                    )
            return self._token

    def _send(self, request: Request) -> Response:
        answer = self.transport.send(request)
        if answer.status in (502, 503, 504):
            raise not_ready(self.transport.address, f"the proxy in front of it says {answer.status} {answer.reason}")
        return answer

    def _error(self, answer: Response, what: str) -> DevpiError:
        said = without_login(_message(answer))
        address, status = self.transport.address, answer.status
        as_whom = f"user {self.username!r}" if self._password is not None else "an anonymous user"
        if 300 <= status < 400:
            where = without_login(answer.headers.get("location", "elsewhere"))
            return NotDevpiError(
                f"{address} redirects to {where} (a login page, or another name): give devpi's own address"
            )
        if status == 413:
            return TooLargeError(
                f"The server does not accept a file of that size: {what}. Raise the limit (role devpi: devpi_max_upload_mb)"
            )
        if status == 429:
            return LoginRefusedError(f"{address} refuses further logins for a while: too many of them have failed")
        if status >= 500:
            return fault(address, status, said)
        if status == 404 and _is_json(answer):
            return NotFoundError(f"devpi has no such thing: {what} ({said})")
        if status == 409:
            return ConflictError(f"devpi refuses: {what} ({said})")
        if status in (401, 403):
            return PermissionDeniedError(f"devpi does not let {as_whom} do that: {what} ({said or answer.reason})")
        if not _is_json(answer):
            return _not_json(answer, address)
        return RefusedError(f"devpi refuses: {what} ({said})")


def _headers(username: str, secret: str) -> dict[str, str]:
    login = base64.b64encode(f"{username}:{secret}".encode()).decode()
    return {"Accept": "application/json", "X-Devpi-Auth": login}


def _is_json(answer: Response) -> bool:
    return answer.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


def _not_json(answer: Response, address: str) -> NotDevpiError:
    found = answer.headers.get("content-type", "no content type")
    return NotDevpiError(
        f"{address} answered with status {answer.status} and {found} in place of JSON: a proxy, a login page or another "
        "server stands there. Give the address of devpi itself"
    )


def _json(answer: Response, address: str) -> dict[str, Any]:
    if not _is_json(answer):
        raise _not_json(answer, address)
    try:
        content = json.loads(answer.body)
    except ValueError:
        raise NotDevpiError(f"{address} answered with broken JSON: does a proxy cut answers short?") from None
    if not isinstance(content, dict):
        raise NotDevpiError(f"{address} answered with JSON that is not devpi's")
    return content


def _message(answer: Response) -> str:
    """Return the sentence that says what is wrong; devpi has it in one of three places."""
    content: Any = {}
    if _is_json(answer):
        try:
            content = json.loads(answer.body)
        except ValueError:
            content = {}
    if not isinstance(content, dict):
        content = {}
    title, message = str(content.get("title") or ""), " ".join(str(content.get("message") or "").split())
    if title and title not in ("Forbidden", "Not Found", "Bad Request"):
        return title
    return message or answer.reason


def _link(data: Mapping[str, Any]) -> Link:
    path = unquote(urlsplit(str(data.get("href", ""))).path)
    found = _ENTRY_PATH.search(path)
    hashes = data.get("hashes") or {}
    kind, _equals, value = str(data.get("hash_spec") or "").partition("=")
    sha256 = str(hashes.get("sha256") or (value if kind == "sha256" else ""))
    return Link(str(data.get("rel", "")), path.rpartition("/")[2], sha256, found[0] if found else path)
