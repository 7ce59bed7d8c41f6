# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks the URLs of a package index, as those will who are told them: does one install from here, upload to there?

Nothing is changed by it. An upload is asked for with a form that every server refuses, but only after it has looked at who
asks and what they may do.
"""

from __future__ import annotations

import http.client
import ssl
from base64 import b64encode
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

# No project of anybody, and no action of any server
NOBODYS = "pyindex-url-check"
_JSON = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_LARGEST = 65536  # bytes of an answer that are looked at
_BOUNDARY = "pyindex-url-check-boundary"
_FORM = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name=":action"\r\n\r\n{NOBODYS}\r\n--{_BOUNDARY}--\r\n'


class UrlError(Exception):
    """The URL gives no answer, or not over TLS that can be trusted; the message says why."""


@dataclass(frozen=True)
class Target:
    """A URL and who asks it ('' = nobody). ``login_required``: whoever asks without a login has to be refused."""

    url: str
    use: str
    """install or upload"""
    username: str = ""
    password: str = field(default="", repr=False)
    login_required: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of it. ``works``: the URL does what it is for, or asks for the login that is required.

    ``status`` is 0 where there was no answer.
    """

    works: bool
    status: int
    message: str


@dataclass(frozen=True)
class Response:
    """Status and the beginning of what was said."""

    status: int
    text: str


class Client:
    """Makes requests. ``authority`` is the CA certificate (PEM) to trust and no other ('' = those of the system)."""

    def __init__(self, authority: str, timeout: float) -> None:
        self.timeout = timeout
        try:
            self.context = ssl.create_default_context(cadata=authority or None)
        except ssl.SSLError:
            raise UrlError("the CA certificate cannot be read: give one in PEM form") from None

    def get(self, target: Target, url: str, accept: str) -> Response:
        return self._ask(target, "GET", url, None, {"Accept": accept})

    def post(self, target: Target) -> Response:
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        return self._ask(target, "POST", target.url, _FORM.encode(), {"Content-Type": kind})

    def _ask(self, target: Target, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Response:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=self.timeout)
        )
        if target.username:
            login = b64encode(f"{target.username}:{target.password}".encode()).decode()
            headers = {**headers, "Authorization": f"Basic {login}"}
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, body, {"User-Agent": NOBODYS, **headers})
            response = connection.getresponse()
            # devpi says in the reason what it does not like
            text = response.reason + "\n" + response.read(_LARGEST).decode("utf-8", "replace")
            return Response(response.status, text)
        except ssl.SSLCertVerificationError as error:
            raise UrlError(f"the certificate of {host} is not to be trusted: {error.verify_message}") from None
        except TimeoutError:
            raise UrlError(f"{parts.netloc} does not answer within {self.timeout:g} seconds") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UrlError(f"{parts.netloc} cannot be asked: {reason}") from None
        finally:
            connection.close()


def shown(target: Target) -> str:
    """Return the URL with the name of who asks, and no password."""
    name = f"{quote(target.username, safe='')}:********@" if target.username else ""
    return target.url.replace("//", f"//{name}", 1)


def ask(client: Client, server: str, target: Target) -> Answer:
    """Ask a URL of a ``server`` (pypiserver or devpi); never raises for what comes of it."""
    try:
        if target.use == "upload":
            return _judge_upload(target, client.post(target))
        if server == "devpi":
            return _ask_devpi(client, target)
        return _judge_install(target, client.get(target, target.url, _JSON))
    except UrlError as error:
        return Answer(False, 0, str(error))


def _ask_devpi(client: Client, target: Target) -> Answer:
    """The page of an index of devpi names all projects of a mirror: it is asked for the index, and for one project."""
    index = target.url.rstrip("/").rpartition("/")[0]
    answer = _judge_install(target, client.get(target, f"{index}?no_projects=", "application/json"))
    if not answer.works or answer.status != 200:
        return answer
    status = client.get(target, f"{target.url}{NOBODYS}/", _JSON).status
    if status in (200, 404):
        return answer
    if status >= 500:
        return Answer(False, status, "the index answers, but what it mirrors cannot be reached")
    return Answer(False, status, "the index answers, but refuses the pages of projects")


def _judge_install(target: Target, response: Response) -> Answer:
    if response.status == 200:
        return _allowed(target, response)
    return _refused(target, response)


def _judge_upload(target: Target, response: Response) -> Answer:
    # Refused because of the form, and so not because of who asks
    if response.status == 400 and NOBODYS in response.text:
        answer = _allowed(target, response)
        return replace(answer, message=f"{answer.message}; this form, which holds no file, is refused as it has to be")
    if response.status in (200, 405):
        return Answer(False, response.status, "nothing takes uploads at this URL")
    return _refused(target, response)


def _allowed(target: Target, response: Response) -> Answer:
    if target.username:
        return Answer(True, response.status, "works")
    if target.login_required:
        return Answer(
            False,
            response.status,
            "lets in whoever asks, but by the inventory it has to ask for a login: deploy the index",
        )
    return Answer(True, response.status, "works without a login")


def _refused(target: Target, response: Response) -> Answer:
    status = response.status
    if status == 401 and not target.username:
        if target.login_required:
            return Answer(True, status, "asks for a login, as it has to")
        return Answer(False, status, "asks for a login, but by the inventory everybody may: deploy the index")
    reasons = {
        401: f"does not know {target.username} with this password: deploy the users (--tags users)",
        403: f"{target.username or 'who asks without a login'} may not {target.use} there",
        404: "there is no such index on the server: deploy it (--tags users), or correct its name",
        429: "too many failed logins came from this address: try again in a minute",
    }
    fault = "the server behind nginx does not answer" if status in (502, 503, 504) else "an answer that no index gives"
    return Answer(False, status, reasons.get(status, fault))
