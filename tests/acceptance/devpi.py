"""What the tests of devpi share: temporary users, and the addresses of what devpi holds."""

from __future__ import annotations

import hashlib
import io
import secrets
import zipfile
from dataclasses import dataclass, field

from .distributions import PREFIX
from .expectations import Identity
from .indexes import Devpi, Stage, User
from .web import Request, ask

PIP_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
BROWSER_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PIP = (("Accept", PIP_ACCEPT), ("User-Agent", "pip/26.3"))
BROWSER = (("Accept", BROWSER_ACCEPT), ("User-Agent", "Mozilla/5.0"))
JSON = (("Accept", "application/json"),)
DEVPI_CLIENT = (("Accept", "application/json"), ("User-Agent", "devpi-client/7.3.0 (py3.13; linux)"))


def file_path(stage: str, filename: str, content: bytes) -> str:
    """Where an index serves a file that was uploaded to it."""
    digest = hashlib.sha256(content).hexdigest()
    return f"/{stage}/+f/{digest[:3]}/{digest[3:16]}/{filename}"


def documentation(word: str) -> bytes:
    """A ZIP file of web pages, as devpi takes it."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("index.html", f"<html><body><h1>{word}</h1></body></html>")
    return memory.getvalue()


def put(index: Devpi, stage: Stage, *files: tuple[str, bytes]) -> None:
    """Publish files on an index of the server, by somebody who may."""
    user = index.publisher(stage)
    answers = ask(index.vantages[0], index, [index.post(stage.name, user, *file) for file in files])
    assert {answer.status for answer in answers} == {200}, [str(answer) for answer in answers]


@dataclass
class People:
    """Who the identities of the tests are on a devpi server. Where the inventory has nobody who fits, a user is made,
    and removed when the suite is done (`Devpi.tidy`)."""

    run_id: str
    _made: dict[tuple[str, str], User] = field(default_factory=dict)

    def of(self, index: Devpi, identity: Identity, stage: Stage) -> User | None:
        """Who that is, for an index of the server; None: nobody."""
        owner = index.user(stage.owner) or index.publisher(stage)
        match identity:
            case Identity.ANONYMOUS:
                return None
            case Identity.ROOT:
                return index.root
            case Identity.OWNER | Identity.UPLOADER:
                return owner
            case Identity.WRONG_PASSWORD:
                return User(owner.name, secrets.token_hex(12))
            case Identity.UNKNOWN_USER:
                return User(f"nobody-{secrets.token_hex(4)}", secrets.token_hex(12))
        without = [user for user in index.users if not stage.takes_uploads_of(user.name) and user.name != "root"]
        candidates = without if identity is Identity.READER else without[1:]
        return candidates[0] if candidates else self.make(index, identity.replace(" ", "-"))

    def make(self, index: Devpi, label: str) -> User:
        """A user of the suite's own."""
        key = (index.machine.name, label)
        if key not in self._made:
            user = User(f"{PREFIX}-{self.run_id}-{label}", secrets.token_hex(12), frozenset({"read"}))
            ((status, result),) = index.rest(("PUT", f"/{user.name}", {"password": user.password}))
            assert status == 201, result
            self._made[key] = user
        return self._made[key]


def listing(stage: str, project: str, user: User | None) -> Request:
    """A project's page, as pip asks for it."""
    return Request(f"/{stage}/+simple/{project}/", user=user, headers=PIP)
