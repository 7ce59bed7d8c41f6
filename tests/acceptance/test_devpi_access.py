"""Who may do what on devpi: the whole matrix, for every index that the inventory declares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from .devpi import JSON, People, file_path, listing, put
from .distributions import PREFIX, wheel
from .expectations import DEVPI_IDENTITIES, UNKNOWN, Action, Identity, expected_devpi_status
from .indexes import Devpi, Stage, User
from .kinds import DEVPI
from .logins import local_address
from .web import Answer, Request, ask

pytestmark = DEVPI


@dataclass(frozen=True)
class Deed:
    """What somebody tried to do, what it was answered, and what became of the file that it was about (its SHA-256;
    '' = not there)."""

    answer: Answer
    file: str
    before: str
    sent: str
    after: str


def attempts(index: Devpi, stage: Stage, user: User | None, name: str) -> dict[Action, tuple[Request, str, bytes]]:
    """Each thing that can be done with project `name`, of which releases 1.0 and 2.0 are there: the request, the file
    that it is about, and what it would become."""
    there, old = wheel(name, "1.0"), wheel(name, "2.0")
    new, other = wheel(name, "3.0"), wheel(name, "1.0", value="replaced")
    own = user.name if user else stage.owner
    kind = (*JSON, ("Content-Type", "application/json"))
    return {
        Action.LIST: (listing(stage.name, name, user), there[0], b""),
        Action.DOWNLOAD: (Request(file_path(stage.name, *there), user=user), there[0], b""),
        Action.UPLOAD: (index.post(stage.name, user, *new), *new),
        Action.OVERWRITE: (index.post(stage.name, user, *other), *other),
        Action.DELETE: (Request(f"/{stage.name}/{name}/2.0", "DELETE", user, headers=JSON), old[0], b""),
        Action.CREATE_INDEX: (Request(f"/{own}/{name}", "PUT", user, b'{"type": "stage"}', kind), "", b""),
    }


@pytest.fixture(scope="session")
def devpi_deeds(
    stage: tuple[Devpi, Stage], run_id: str, people: People
) -> dict[Identity, tuple[str, dict[Action, Deed]]]:
    """Every identity does everything once, each with a project of its own. With the name of each on the server."""
    index, declared = stage
    users = {identity: people.of(index, identity, declared) for identity in DEVPI_IDENTITIES}
    projects = {identity: f"{PREFIX}-{run_id}-{identity.replace(' ', '-')}" for identity in users}
    put(index, declared, *(wheel(name, version) for name in projects.values() for version in ("1.0", "2.0")))

    tried = {identity: attempts(index, declared, user, projects[identity]) for identity, user in users.items()}
    before = index.stored(declared.name, f"*{run_id}*")
    answers = {identity: answered(index, identity, tried[identity]) for identity in tried}
    after = index.stored(declared.name, f"*{run_id}*")
    index.rest(*(("DELETE", f"/{user.name}/{projects[identity]}", None) for identity, user in users.items() if user))

    found: dict[Identity, tuple[str, dict[Action, Deed]]] = {}
    for identity, user in users.items():
        deeds = {}
        for action, (_request, file, content) in tried[identity].items():
            sent = hashlib.sha256(content).hexdigest() if content else ""
            deeds[action] = Deed(answers[identity][action], file, before.get(file, ""), sent, after.get(file, ""))
        found[identity] = (user.name if user and identity not in UNKNOWN else "", deeds)
    return found


def answered(
    index: Devpi, identity: Identity, tried: Mapping[Action, tuple[Request, str, bytes]]
) -> dict[Action, Answer]:
    """The answers to them. Strangers ask from addresses of the host itself that nobody else uses, so that wrong logins
    are held against nobody."""
    requests = [request for request, _file, _content in tried.values()]
    machine = index.vantages[0]
    if identity in UNKNOWN:
        requests = [replace(request, source=local_address(), address="127.0.0.1") for request in requests]
        machine = index.machine
    return dict(zip(tried, ask(machine, index, requests), strict=True))


@pytest.mark.parametrize("action", Action, ids=str)
@pytest.mark.parametrize("identity", DEVPI_IDENTITIES, ids=str)
def test_devpi_right(
    stage: tuple[Devpi, Stage],
    devpi_deeds: Mapping[Identity, tuple[str, Mapping[Action, Deed]]],
    identity: Identity,
    action: Action,
) -> None:
    """Allowed: done, and on disk when it is answered. Refused: the right status, and nothing on disk has changed."""
    index, declared = stage
    user, deeds = devpi_deeds[identity]
    deed = deeds[action]
    expected = expected_devpi_status(declared, identity, user, action, locked=index.locked)
    assert deed.answer.status == expected, str(deed.answer)
    if expected == 401:
        assert deed.answer.headers["www-authenticate"].lower().startswith("basic ")
    if action is Action.LIST:
        assert (deed.file in deed.answer.text) == (expected == 200)
    elif action is Action.DOWNLOAD:
        assert (deed.answer.sha256 == deed.before) == (expected == 200)
    elif action is not Action.CREATE_INDEX:
        assert deed.after == (deed.sent if expected == 200 else deed.before)
        assert deed.before != deed.sent
