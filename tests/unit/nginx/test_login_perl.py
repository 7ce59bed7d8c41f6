"""Where nginx has no Lua module (EL): its own cache and Perl keep the same promises. Tried with Debian's nginx."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.test_login_cache import COUNTER, GOOD, LIMIT, WRITER, Index, Start, indexed, together
from tests.unit.nginx.verifier import Verifier

WRONG = "reader:Wrong-Secret"


@pytest.fixture
def start(folder: Path, certificates: Certificates) -> Start:
    """Starts an index without Lua, with the verifier of the role or one of the test."""

    def begin(verifier: Verifier | None = None, **variables: Any) -> AbstractContextManager[Index]:
        settings = {"__nginx_lua": False, **variables}
        return indexed(folder / f"perl-{next(COUNTER)}", certificates, verifier, **settings)

    return begin


def test_who_may_do_what(start: Start) -> None:
    """As with Lua, and asked for a password as often."""
    with start() as index:
        for _unused in range(2):
            found = {}
            for login in ("", GOOD, WRITER):
                answers = [index.client.ask(method, "/x", login=login) for method in ("GET", "POST")]
                found[login] = [answer.status for answer in answers]
                assert [answer.challenges for answer in answers] == [int(answer.status == 401) for answer in answers]
            assert found == {"": [401, 401], GOOD: [200, 403], WRITER: [403, 200]}
        answer = index.client.ask("GET", "/x", login=GOOD, headers={"X-Remote-User": "root"})
        assert answer.seen()["headers"]["X-Remote-User"] == "reader"
        assert "Authorization" not in answer.seen()["headers"]


def test_what_comes_from_disk_says_how_long_it_holds(start: Start) -> None:
    """The first time, when the password is looked at, and from then on."""
    with start() as index:
        (index.front.folder / "pages" / "_list.html").write_text("<html></html>")
        (index.front.folder / "files" / "x.whl").write_text("")
        for _unused in range(2):
            page, file, other = (
                index.client.ask("GET", path, login=GOOD) for path in ("/simple/", "/files/x.whl", "/x")
            )
            assert (page.status, page.headers["cache-control"]) == (200, "private, no-cache")
            assert page.headers["vary"] == "Accept, Accept-Encoding"
            assert file.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert "vary" not in file.headers
            assert not {"cache-control", "vary"} & set(other.headers)


def test_a_burst_of_one_login_is_looked_at_once(start: Start) -> None:
    def answer(question: Any) -> bytes:
        known = b"204 No Content\r\nCache-Control: max-age=20" if question.login == GOOD else b"401 Unauthorized"
        return b"HTTP/1.1 " + known + b"\r\nConnection: close\r\n\r\n"

    with start(Verifier(answer=answer, seconds=0.5)) as index:
        answers = together([lambda: index.client.ask("GET", "/x", login=GOOD) for _unused in range(20)])
        assert {answer.status for answer in answers} == {200}
        assert len(index.verifier.questions) == 1
        # What is wrong is looked at each time
        assert [index.client.status("GET", "/x", WRONG) for _unused in range(2)] == [401] * 2
        assert len(index.verifier.questions) == 3


def test_a_removed_user_is_refused_in_time(start: Start) -> None:
    """Under constant traffic, which renews the login as often as it can."""
    seconds = 6
    with start(nginx_login_cache_seconds=seconds) as index:
        assert index.client.status("GET", "/x", GOOD) == 200
        (index.front.folder / "readers").write_text("")
        removed = time.monotonic()
        assert index.client.status("GET", "/x", GOOD) == 200, "it is not remembered"
        while index.client.status("GET", "/x", GOOD) == 200:
            assert time.monotonic() - removed <= seconds, "the removed user is still served"


def test_without_a_cache_a_removed_user_is_refused_at_once(start: Start) -> None:
    with start(nginx_login_cache_seconds=0) as index:
        assert index.client.status("GET", "/x", GOOD) == 200
        (index.front.folder / "readers").write_text("")
        assert index.client.status("GET", "/x", GOOD) == 401


def test_failed_logins_are_limited(start: Start) -> None:
    """Also those that come at the same time; what is remembered helps nobody who guesses."""
    with start(nginx_worker_processes=1) as index:
        guesser, good = index.somebody(), index.client
        assert [good.status("GET", "/x", GOOD) for _unused in range(2 * LIMIT)] == [200] * 2 * LIMIT
        answers = together([lambda: guesser.ask("GET", "/x", login=WRONG) for _unused in range(30)])
        assert sorted(answer.status for answer in answers) == [401] * LIMIT + [429] * (30 - LIMIT)
        assert {1 <= int(each.headers["retry-after"]) <= 60 for each in answers if each.status == 429} == {True}
        assert guesser.status("GET", "/x", GOOD) == 429
        assert guesser.status("GET", "/x") == 401
        assert good.status("GET", "/x", GOOD) == 200
        assert index.somebody().status("GET", "/x", WRONG) == 401


def test_a_name_without_a_password_is_no_guess(start: Start) -> None:
    """pip sends one each time before it asks the keyring."""
    with start() as index:
        client = index.somebody()
        assert {client.status("GET", "/x", "reader:") for _unused in range(2 * LIMIT)} == {401}
        assert client.status("GET", "/x", GOOD) == 200
        assert [client.status("GET", "/x", "reader::") for _unused in range(LIMIT)] == [401] * LIMIT
        assert client.status("GET", "/x", "reader::") == 429


def test_without_the_verifier_nobody_is_let_in(start: Start) -> None:
    with start(Verifier(answer=lambda _question: b"")) as index:
        assert index.client.status("GET", "/x", GOOD) == 503
        assert index.client.ask("GET", "/x", login=GOOD).challenges == 0
        assert "upstream" in index.log


def test_what_was_sent_is_nowhere(start: Start) -> None:
    with start() as index:
        assert index.client.status("GET", "/x", GOOD) == 200
        assert index.client.status("GET", "/x", WRONG) == 401
        found = {path: path.read_bytes() for path in index.front.folder.rglob("*") if path.is_file()}
        assert any("logins" in path.parts for path in found), "nothing is remembered"
        for text in (b"r-password", b"Wrong-Secret", b"cmVhZGVyOl"):
            assert [path for path, content in found.items() if text in content] == []
