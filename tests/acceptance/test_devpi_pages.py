"""Pages of devpi that the front keeps: from outside they are what devpi would say at that moment, to who may know."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from .devpi import PIP, listing, put
from .distributions import PREFIX, wheel
from .indexes import Devpi, User
from .kinds import DEVPI, LOCKED
from .logins import local_address
from .web import Answer, Request, ask

pytestmark = DEVPI

ROUNDS = 25


@pytest.fixture
def page(index: Devpi, run_id: str) -> Request:
    """The page of a project with one release, as somebody who may publish it asks for it."""
    name = f"{PREFIX}-{run_id}-kept"
    put(index, index.target, wheel(name, "1.0"))
    return listing(index.target.name, name, index.publisher(index.target))


def read(index: Devpi, *requests: Request) -> list[Answer]:
    return ask(index.vantages[0], index, requests)


def at_home(*requests: Request) -> list[Request]:
    """The same from an address of the index's own host, so that wrong logins are held against nobody."""
    source = local_address()
    return [replace(request, source=source, address="127.0.0.1") for request in requests]


def test_next_read_sees_an_upload(index: Devpi, run_id: str) -> None:
    """Also where the page was read just before, again and again."""
    stage, name = index.target, f"{PREFIX}-{run_id}-again"
    user = index.publisher(stage)
    releases = [wheel(name, f"1.{number}") for number in range(ROUNDS)]
    page = listing(stage.name, name, user)
    requests = [part for file in releases for part in (index.post(stage.name, user, *file), page, page)]
    answers = read(index, *requests)
    for (file, _content), published, first, second in zip(
        releases, answers[::3], answers[1::3], answers[2::3], strict=True
    ):
        assert published.status == 200, str(published)
        assert (first.status, file in first.text) == (200, True), str(first)
        assert second.text == first.text
    index.discard(name)


def test_next_read_sees_a_change_past_the_front(index: Devpi, page: Request, run_id: str) -> None:
    """By the server's own socket, on its host."""
    name = f"{PREFIX}-{run_id}-kept"
    before = read(index, page, page)
    assert [answer.status for answer in before] == [200, 200]
    put(index, index.target, wheel(name, "2.0"))
    assert wheel(name, "2.0")[0] in read(index, page)[0].text
    index.discard(name)
    gone = read(index, page)[0]
    assert gone.status == 404 or ".whl" not in gone.text, str(gone)


def test_a_client_need_not_fetch_what_it_has(index: Devpi, page: Request) -> None:
    first, second = read(index, page, page)
    etag = second.headers["etag"]
    assert first.headers["etag"] == etag
    assert second.headers["cache-control"] == "private, no-cache"
    asked = replace(page, headers=(*page.headers, ("If-None-Match", etag)))
    assert [answer.status for answer in read(index, asked)] == [304]


@LOCKED
def test_a_kept_page_is_for_who_may_read(index: Devpi, page: Request) -> None:
    content = read(index, page, page)[1].text
    user = page.user
    assert user is not None
    wrong = User(user.name, secrets.token_hex(12))
    strangers = [
        replace(page, user=None),
        replace(page, user=wrong),
        replace(page, user=None, headers=(*page.headers, ("X-Devpi-Auth", "cm9vdDo="))),
        replace(page, user=None, headers=(*page.headers, ("Cookie", "auth_tkt=root%3Ax"))),
        replace(page, user=None, headers=(*page.headers, ("If-None-Match", "*"))),
    ]
    for answer in ask(index.machine, index, at_home(*strangers)):
        assert answer.status == 401, str(answer)
        assert answer.text != content
    assert read(index, page)[0].text == content


def test_a_changed_password_is_refused_at_once(index: Devpi, page: Request, run_id: str) -> None:
    """devpi says when users change, so that nobody is let in for the rest of the time that a login is kept."""
    user = User(f"{PREFIX}-{run_id}-changing", secrets.token_hex(12))
    changed = User(user.name, secrets.token_hex(12))
    ((status, result),) = index.rest(("PUT", f"/{user.name}", {"password": user.password}))
    assert status == 201, result
    before, after = at_home(*(Request(page.target, user=each, headers=PIP) for each in (user, changed)))
    assert [answer.status for answer in ask(index.machine, index, [before, before])] == [200, 200]
    index.rest(("PATCH", f"/{user.name}", {"password": changed.password}))
    assert [answer.status for answer in ask(index.machine, index, [before, after])] == [401, 200]
    index.rest(("DELETE", f"/{user.name}", None))
    assert [answer.status for answer in ask(index.machine, index, [after])] == [401]
