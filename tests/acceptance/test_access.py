"""Who may do what on pypiserver: the whole matrix, every URL, and every way round that we could think of."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from .distributions import PREFIX, Project, module_name, wheel
from .expectations import PYPISERVER_ACTIONS, PYPISERVER_IDENTITIES, Action, Identity, expected_status
from .indexes import Pypiserver, User
from .kinds import PYPISERVER
from .logins import WrongLogins, door, local_address
from .machines import Machine
from .shelf import publish, publisher
from .spellings import CLAIMS, spellings
from .web import Answer, Request, ask, removal, upload

pytestmark = PYPISERVER

VERIFIER = "nginx-verifier.service"


@dataclass(frozen=True)
class Deed:
    """What somebody tried to do, what it was answered, and what became of the file that it was about (its SHA-256;
    '' = not there)."""

    answer: Answer
    file: str
    before: str
    sent: str
    after: str


def users(index: Pypiserver) -> dict[Identity, User | None]:
    """Who the identities are on `index`; those that it does not have are left out."""
    found: dict[Identity, User | None] = {
        Identity.ANONYMOUS: None,
        Identity.UNKNOWN_USER: User(f"nobody-{secrets.token_hex(4)}", secrets.token_hex(12)),
    }
    if index.reader:
        found[Identity.READER] = index.reader
    if index.uploader:
        found[Identity.UPLOADER] = index.uploader
        found[Identity.WRONG_PASSWORD] = User(index.uploader.name, secrets.token_hex(12))
    return found


def try_everything(index: Pypiserver, machine: Machine, user: User | None, name: str) -> dict[Action, Deed]:
    """Do each thing once, from `machine`, with project `name`, of which releases 1.0 and 2.0 are there."""
    new, other, old = wheel(name, "3.0"), wheel(name, "1.0", value="replaced"), wheel(name, "2.0")
    requests = {
        Action.LIST: (Request(f"/simple/{name}/", user=user), other[0], b""),
        Action.DOWNLOAD: (Request(f"/packages/{other[0]}", user=user), other[0], b""),
        Action.UPLOAD: (upload(user, *new), *new),
        Action.OVERWRITE: (upload(user, *other), *other),
        Action.DELETE: (removal(user, name, "2.0"), old[0], b""),
    }
    before = index.published(f"{module_name(name)}*")
    answers = ask(machine, index, [request for request, _unused, _other in requests.values()])
    after = index.published(f"{module_name(name)}*")
    return {
        action: Deed(
            answer,
            file,
            before=before.get(file, ""),
            sent=hashlib.sha256(content).hexdigest() if content else "",
            after=after.get(file, ""),
        )
        for answer, (action, (_unused, file, content)) in zip(answers, requests.items(), strict=True)
    }


@pytest.fixture(scope="session")
def deeds(index: Pypiserver, run_id: str, wrong_logins: WrongLogins) -> dict[Identity, dict[Action, Deed]]:
    """Every identity does everything once, each with a project of its own."""
    projects = {identity: f"{PREFIX}-{run_id}-{identity.replace(' ', '-')}" for identity in PYPISERVER_IDENTITIES}
    publish(index, *(wheel(name, version) for name in projects.values() for version in ("1.0", "2.0")))
    found = {}
    for identity, user in users(index).items():
        refused = sum(expected_status(index, identity, action) == 401 for action in PYPISERVER_ACTIONS)
        with wrong_logins.spend(index, refused if user else 0) as machine:
            found[identity] = try_everything(index, machine, user, projects[identity])
    return found


@pytest.mark.parametrize("action", PYPISERVER_ACTIONS, ids=str)
@pytest.mark.parametrize("identity", PYPISERVER_IDENTITIES, ids=str)
def test_right(
    index: Pypiserver, deeds: Mapping[Identity, Mapping[Action, Deed]], identity: Identity, action: Action
) -> None:
    """Allowed: done, and on disk when it is answered. Refused: the right status, and nothing on disk has changed."""
    if identity not in deeds:
        pytest.skip(f"{index} has no such user (htpasswd_users)")
    deed, expected = deeds[identity][action], expected_status(index, identity, action)
    assert deed.answer.status == expected, str(deed.answer)
    if expected == 401:
        assert deed.answer.headers["www-authenticate"].lower().startswith("basic ")
    if action is Action.LIST:
        assert (deed.file in deed.answer.text) == (expected == 200)
    elif action is Action.DOWNLOAD:
        assert (deed.answer.sha256 == deed.before) == (expected == 200)
    else:
        assert deed.after == (deed.sent if expected == 200 else deed.before)
        assert deed.before != deed.sent


# Every address at which pypiserver answers, by the right that it takes
LISTS = ["/simple/", "/simple", "/simple/{name}/", "/simple/{name}", "/packages/", "/packages", "/{name}/json"]
LISTS += ["/{name}", "/{name}/"]
DOWNLOADS = ["/packages/{wheel}", "/packages/{sdist}"]
PAGES = ["/simple/", "/simple/{name}/"]


def fill(target: str, project: Project) -> str:
    return target.format(name=project.name, module=project.module, wheel=project.wheel.name, sdist=project.sdist.name)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_address_asks_for_the_right(index: Pypiserver, published: Project, method: str) -> None:
    """Without a login, a protected address says 401, or nothing of what is there; with one, or unprotected, it answers."""
    targets = [*LISTS, *DOWNLOADS]
    anonymous = ask(index.vantages[0], index, [Request(fill(t, published), method) for t in targets], parallel=4)
    allowed = ask(
        index.vantages[0], index, [Request(fill(t, published), method, publisher(index)) for t in targets], parallel=4
    )
    for target, without, answer in zip(targets, anonymous, allowed, strict=True):
        right = "download" if target in DOWNLOADS else "list"
        if right in index.protected:
            assert without.status in {301, 302, 303, 307, 308, 401, 404, 405}, f"{target}: {without}"
            assert published.module not in without.text.replace("-", "_"), target
            if target in DOWNLOADS or target in PAGES:
                assert without.status == 401, f"{target}: {without}"
        if target in DOWNLOADS or target in PAGES:
            assert answer.status == 200, f"{target}: {answer}"
            assert method == "HEAD" or answer.length, target
        for location in (reply.headers.get("location") for reply in (without, answer)):
            # No redirect to http://, to another host, or out of the sub-path
            assert location is None or location.startswith(("./", "../", index.url, f"{index.url_path}/")), location


def test_front_page_is_open_and_tells_nothing(index: Pypiserver, published: Project) -> None:
    """It says how to use the index and names no project; links and URLs in it are the ones that clients use."""
    answer = ask(index.vantages[0], index, [Request("/")])[0]
    assert answer.status == 200
    assert f"{index.url}simple/" in answer.text
    assert "http://" not in answer.text
    assert published.module not in answer.text.replace("-", "_")


def test_simple_page_is_normalized_and_hashed(index: Pypiserver, published: Project) -> None:
    """Any spelling of a name finds the project (PEP 503), and each link carries the file's SHA-256."""
    user = publisher(index)
    spellings = [published.name, published.name.upper(), published.module, published.name.replace("-", ".")]
    for answer in ask(index.vantages[0], index, [Request(f"/simple/{name}/", user=user) for name in spellings]):
        if answer.status in {301, 302, 308}:
            assert answer.headers["location"].rstrip("/").endswith(f"simple/{published.name}")
            continue
        assert answer.status == 200, str(answer)
        for path in published.files:
            assert f"{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}" in answer.text


def test_unknown_projects_are_unknown(index: Pypiserver, run_id: str) -> None:
    """404 and no redirect: names of projects never leave, and a public index never answers for this one."""
    user = publisher(index)
    names = [f"no-such-project-{run_id}", f"{PREFIX}-{run_id}-unknown"]
    targets = [f"/simple/{name}/" for name in names] + [f"/{name}/json" for name in names]
    for target, answer in zip(
        targets, ask(index.vantages[0], index, [Request(t, user=user) for t in targets]), strict=True
    ):
        assert answer.status == 404, f"{target}: {answer}"
        assert "location" not in answer.headers


def test_no_spelling_reads_what_is_protected(index: Pypiserver, published: Project) -> None:
    """However an address is written, and whatever headers claim, what needs a login is not shown without one."""
    paths = {
        "list": ["simple/", f"simple/{published.name}/", "packages/", f"{published.name}/json"],
        "download": [f"packages/{published.wheel.name}"],
    }
    user = index.uploader.name if index.uploader else "admin"
    requests = []
    for right in sorted({"list", "download"} & index.protected):
        for path in paths[right]:
            requests += [Request(spelling) for spelling in spellings(index, path)]
            requests += [
                Request(target, headers=((name, value.format(p=path, user=user)),))
                for name, value in CLAIMS
                for target in ("/", f"/{path}")
            ]
    content = published.wheel.read_bytes()
    for request, answer in zip(requests, ask(index.vantages[0], index, requests, parallel=4), strict=True):
        assert content[:64] not in answer.body, f"{request} {request.headers}: {answer.status}"
        shown = "list" in index.protected and published.module in answer.text.replace("-", "_").casefold()
        # An answer may repeat what it was asked for
        asked = published.module in request.target.replace("-", "_").casefold()
        assert not shown or (asked and answer.status != 200), f"{request} {request.headers}: {answer}"


def test_no_spelling_writes_what_is_protected(index: Pypiserver, run_id: str) -> None:
    """An upload by somebody who may not is refused at every address, by every method, whatever the headers claim."""
    if "update" not in index.protected:
        pytest.skip(f"{index} lets everybody upload (pypiserver_protected_actions)")
    name, content = wheel(f"{PREFIX}-{run_id}-intruder", "1.0")
    form = upload(None, name, content)
    writer = index.uploader.name if index.uploader else "admin"
    targets = spellings(index, "simple/")[:12] + spellings(index, f"packages/{name}")[:12]
    targets += [
        "/",
        "//",
        "/.",
        "/%2e",
        "/?",
        "/?:action=file_upload",
        "/RPC2",
        "/pypi",
        "/legacy/",
        "/simple/",
        "/packages/",
    ]
    requests = [replace(form, target=target) for target in targets]
    requests += [
        Request(target, method, body=content)
        for method in ("PUT", "PATCH", "DELETE", "MKCOL", "post", "FOO")
        for target in ("/", f"/packages/{name}")
    ]
    requests += [
        replace(form, headers=(*form.headers, (header, value.format(p="", user=writer)))) for header, value in CLAIMS
    ]
    # The reader's from many addresses: should they count as failed logins, nobody is locked out
    sent = requests + [
        replace(request, user=index.reader, source=local_address(), address="127.0.0.1")
        for request in requests
        if index.reader
    ]
    half = len(requests)
    answers = ask(index.vantages[0], index, sent[:half], 4) + ask(index.machine, index, sent[half:], 4)
    for request, answer in zip(sent, answers, strict=True):
        assert answer.status not in {200, 201, 204, 409, 500}, f"{request} {request.headers}: {answer}"
    assert index.published(f"*{run_id}_intruder*") == {}


def test_nothing_but_packages_is_served(index: Pypiserver, published: Project) -> None:
    """No path leads out of the packages folder or to its hidden files, even for those who may do everything."""
    user = publisher(index)
    places = ["etc/passwd", "../etc/passwd", ".incoming/lock", ".htpasswd", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"]
    places += ["../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc/passwd", "%2fetc%2fpasswd", "..\\..\\etc\\passwd"]
    places += [
        f"{published.wheel.name}/../../../../../etc/passwd",
        ".incoming/",
        "%2eincoming/lock",
        "x/../.incoming/lock",
    ]
    requests = [Request(f"/packages/{place}", user=user) for place in places]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests, parallel=4), strict=True):
        assert answer.status in {0, 301, 400, 401, 403, 404}, f"{request}: {answer}"
        assert "root:" not in answer.text


def test_outside_of_the_sub_path_is_nothing(index: Pypiserver, published: Project) -> None:
    """An index below a URL path leaves the rest of the server alone."""
    if not index.url_path:
        return
    targets = [
        "^/",
        "^/simple/",
        f"^/simple/{published.name}/",
        f"^/packages/{published.wheel.name}",
        f"^{index.url_path}x/simple/",
    ]
    requests = [Request(target, user=publisher(index)) for target in targets]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests), strict=True):
        assert answer.status == 404, f"{request}: {answer}"
    redirect = ask(index.vantages[0], index, [Request(f"^{index.url_path}")])[0]
    assert redirect.status in {301, 302, 308}
    assert redirect.headers["location"] in {index.url, f"{index.url_path}/"}


def test_a_login_is_looked_at_once(index: Pypiserver) -> None:
    """Many requests with one login cost one look at its password: the verifier hardly works for them."""
    if not index.protected or not int(index["nginx_login_cache_seconds"]):
        pytest.skip(f"{index} looks at a password in every request (nginx_login_cache_seconds), or at none")
    request = replace(door(index), user=publisher(index))

    def worked() -> int:
        """Processor time of the verifier in nanoseconds."""
        shown = index.machine.check("systemctl", "show", "--value", "--property", "CPUUsageNSec", VERIFIER)
        return int(shown)

    start = worked()
    answers = ask(index.machine, index, [request])
    first = worked() - start
    answers += ask(index.machine, index, [request] * 300, parallel=8)
    assert {answer.status for answer in answers} <= {200, 400, 404}
    # At most a few looks in 300 requests, however long they took
    assert worked() - start < 20 * max(first, 20_000_000)


@pytest.mark.disruptive
def test_a_killed_verifier_comes_back(index: Pypiserver) -> None:
    """SIGKILL to all of it: nobody is let in without it, and soon it is there again with nobody's help."""
    if not index.protected:
        pytest.skip(f"{index} asks nobody for a password (pypiserver_protected_actions)")
    index.machine.check("systemctl", "kill", "--signal", "SIGKILL", VERIFIER)
    deadline = time.monotonic() + 30
    while True:
        # Of another address each time: nobody is locked out
        wrong = replace(
            door(index), user=User("nobody", secrets.token_hex(8)), source=local_address(), address="127.0.0.1"
        )
        status = ask(index.machine, index, [wrong])[0].status
        assert status in {401, 503}
        if status == 401:
            break
        assert time.monotonic() < deadline, "the verifier is still away"
        time.sleep(0.2)
    answer = ask(index.machine, index, [replace(door(index), user=publisher(index))])[0]
    assert answer.status in {200, 400, 404}, str(answer)


def test_damaged_logins_are_no_logins(index: Pypiserver, wrong_logins: WrongLogins) -> None:
    """A header that is no login, an empty password and another case of a user's name are refused as any other."""
    if not index.protected:
        return
    writer = index.uploader or User("admin", "")
    claims = [f"Basic {base64.b64encode(text.encode()).decode()}" for text in (f"{writer.name}:", writer.name.upper())]
    claims.append("Basic !!!")
    requests = [replace(door(index), headers=(*door(index).headers, ("Authorization", claim))) for claim in claims]
    with wrong_logins.spend(index, len(claims)) as machine:
        answers = ask(machine, index, requests)
    assert [answer.status for answer in answers] == [401] * len(claims), [str(answer) for answer in answers]
