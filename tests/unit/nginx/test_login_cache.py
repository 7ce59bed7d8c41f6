"""Logins are looked at once and remembered for a while: how often the verifier is asked, and what it means."""

from __future__ import annotations

import base64
import itertools
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Answer, Client, Front, backend, connects, debian_release, free_ports
from tests.unit.nginx.verifier import Question, Verifier, verifying

LIMIT = 5
GOOD, WRITER = "reader:r-password", "writer:w-password"
COUNTER = itertools.count(2)


@dataclass
class Index:
    """A running front, the verifier that it asks, and its clients."""

    front: Front
    verifier: Verifier
    client: Client

    def somebody(self) -> Client:
        """A client with an address of its own."""
        return replace(self.client, address=f"127.0.3.{next(COUNTER)}")

    @property
    def log(self) -> str:
        return (self.front.folder / "error.log").read_text(encoding="utf-8", errors="replace")

    @property
    def master(self) -> int:
        """nginx listens before it has written who it is."""
        pid = self.front.folder / "nginx.pid"
        until(lambda: pid.read_text().endswith("\n"))
        return int(pid.read_text())

    def reload(self) -> None:
        """Have new workers, as after a change of the configuration."""
        master = self.master
        before = workers(master)
        os.kill(master, signal.SIGHUP)
        until(lambda: not workers(master) & before and bool(workers(master)))


def workers(master: int) -> set[str]:
    return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())


def until(ready: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def together(requests: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Send all requests at the same time."""
    with ThreadPoolExecutor(len(requests)) as pool:
        return [each.result() for each in [pool.submit(request) for request in requests]]


@contextmanager
def indexed(
    folder: Path,
    certificates: Certificates,
    verifier: Verifier | None,
    environment: Mapping[str, str] | None = None,
    **variables: Any,
) -> Iterator[Index]:
    """A front that asks `verifier`, or without one that of the role, with those variables of the role."""
    folder.mkdir()
    http_port, https_port = free_ports(2)
    readers, writers = str(folder / "readers"), str(folder / "writers")
    for path, login in ((readers, GOOD), (writers, WRITER)):
        user, _colon, password = login.partition(":")
        Path(path).write_text(f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n")
    for name in ("pages", "files"):
        (folder / name).mkdir()
    site = {
        "name": "index",
        "server_name": "index.pyindex.test",
        "http_port": http_port,
        "https_port": https_port,
        "certificate": str(certificates.certificate),
        "certificate_key": str(certificates.key),
        "upstream": f"unix:{folder / 'backend.sock'}",
        "locations": [
            {"match": "/simple/", "readers_file": readers, "pages": str(folder / "pages")},
            {"match": "/files/", "readers_file": readers, "files": str(folder / "files"), "immutable": True},
            {"match": "/", "readers_file": readers, "writers_file": writers},
        ],
    }
    settings = {"nginx_worker_processes": 2, "nginx_failed_logins_per_minute": LIMIT, **variables}
    front = Front(folder, [site], settings, release=debian_release())
    assert front.problems() == ""
    front.write()
    # What the shared dictionaries hold, for the tests
    (front.configuration / "conf.d" / "zz-look.conf").write_text(
        ""
        if not front.value("__nginx_lua")
        else f"server {{ listen unix:{folder / 'look.sock'}; location / {{ content_by_lua_block {{"
        ' for _, name in ipairs({"pyindex_logins", "pyindex_failed_logins"}) do'
        " local dict = ngx.shared[name] for _, key in ipairs(dict:get_keys(0)) do"
        ' ngx.print(name, " ", key, " ", tostring(dict:get(key)), " ", dict:ttl(key), "\\n") end end } } }\n'
    )
    assert front.check() == ""
    stand_in = verifying(folder / "verifier" / "verifier.sock", verifier) if verifier else nullcontext()
    with stand_in, backend(folder / "backend.sock"), front.running(verified=not verifier, environment=environment):
        yield Index(front, verifier or Verifier(), Client(https_port, certificates.authority))


Start = Callable[..., AbstractContextManager[Index]]


@pytest.fixture
def start(folder: Path, certificates: Certificates) -> Start:
    """Starts an index with settings of its own."""

    def begin(verifier: Verifier | None = None, **variables: Any) -> AbstractContextManager[Index]:
        place = folder / f"cache-{next(COUNTER)}"
        return indexed(place, certificates, verifier or Verifier({GOOD}), **variables)

    return begin


def test_a_burst_of_one_login_is_looked_at_once(start: Start) -> None:
    """By all workers together, and from all addresses."""
    with start(Verifier({GOOD}, seconds=0.5)) as index:
        clients = [index.somebody() for _unused in range(30)]
        answers = together([lambda c=client: c.ask("GET", "/x", login=GOOD) for client in clients])  # type: ignore[misc]
        assert {answer.status for answer in answers} == {200}
        assert len(index.verifier.questions) == 1
        # It is known for this file: to write is another right
        assert index.client.status("POST", "/x", GOOD) == 200
        assert len(index.verifier.questions) == 2


def test_the_login_is_renewed_before_its_time_is_over_and_nobody_waits(start: Start) -> None:
    """One question in each period, however many ask; and none of them takes the time of one."""
    seconds = 0.6
    with start(Verifier({GOOD}, seconds=seconds), nginx_login_cache_seconds=6) as index:
        assert index.client.status("GET", "/x", GOOD) == 200
        end, slowest = time.monotonic() + 8, 0.0
        while time.monotonic() < end:
            began = time.monotonic()
            assert index.client.status("GET", "/x", GOOD) == 200
            slowest = max(slowest, time.monotonic() - began)
        assert len(index.verifier.questions) == 2
        assert slowest < seconds, f"somebody waited {slowest:.3f} s"


def test_many_logins_are_renewed_together(start: Start) -> None:
    """Also more than nginx runs timers, unless it is told otherwise."""
    people = [f"user-{number}:right" for number in range(400)]
    held, released = threading.Event(), threading.Event()

    def answer(_question: Question) -> bytes:
        assert not held.is_set() or released.wait(20)
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    settings = {"nginx_worker_processes": 1, "nginx_login_cache_seconds": 18, "__nginx_open_files": 16384}
    with start(Verifier(answer=answer), **settings) as index:
        first = time.monotonic()
        assert set(index.client.statuses("/x", people)) == {200}
        last = time.monotonic()
        held.set()
        time.sleep(last + 15.1 - time.monotonic())
        assert set(index.client.statuses("/x", people)) == {200}
        assert time.monotonic() < first + 18, "too slow to tell"
        released.set()
        until(lambda: len(index.verifier.questions) == 2 * len(people))


def test_who_is_refused_at_the_renewal_is_out(start: Start) -> None:
    """Under constant traffic, within the stated time."""
    with start(nginx_login_cache_seconds=2) as index:
        assert index.client.status("GET", "/x", GOOD) == 200
        index.verifier.logins.clear()
        removed = time.monotonic()
        while index.client.status("GET", "/x", GOOD) == 200:
            assert time.monotonic() < removed + 2, "a removed user is still served"
        assert index.client.status("GET", "/x", GOOD) == 401


def test_a_clock_that_is_set_back_makes_no_login_known_for_longer(start: Start, folder: Path) -> None:
    """Who is removed is out in time, whatever the time of day is said to be."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    offset = folder / "offset"
    offset.write_text("+0")
    clock = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with start(nginx_login_cache_seconds=2, environment=clock) as index:
        assert index.client.status("GET", "/x", GOOD) == 200
        known = time.monotonic()
        index.verifier.logins.clear()
        offset.write_text("-5h")
        # By the time of day it is known for hours
        until(lambda: any(float(left) > 3600 for left in re.findall(rb" ([\d.]+)\n", look(index))))
        time.sleep(max(0.0, known + 2 - time.monotonic()))
        assert index.client.status("GET", "/x", GOOD) == 401


def test_an_answer_at_the_last_moment_is_not_kept_for_good(start: Start) -> None:
    """The dictionary takes less than a millisecond for no end at all."""
    with start(nginx_login_cache_seconds=30) as index:
        (index.front.configuration / "conf.d" / "zz-late.conf").write_text(
            f"server {{ listen unix:{index.front.folder / 'late.sock'}; location / {{ content_by_lua_block {{"
            # With a clock of the test's: what was loaded with another one is loaded anew
            " local at, loaded = 1000, package.loaded"
            ' loaded["pyindex.clock"] = function() return at end loaded["pyindex.logins"] = nil'
            " local function ask() at = at + 30 - 0.0005 return 204 end"
            ' ngx.print(require("pyindex.logins").check("scope", "", ask))'
            ' loaded["pyindex.clock"] = nil loaded["pyindex.logins"] = nil } } }\n'
        )
        index.reload()
        until(lambda: connects(index.front.folder / "late.sock"))
        assert say(index.front.folder / "late.sock") == b"204"
        time.sleep(0.01)
        assert b"pyindex_logins " not in look(index)


def test_wrong_logins_are_not_remembered(start: Start) -> None:
    with start(Verifier(), nginx_failed_logins_per_minute=0) as index:
        assert [index.client.status("GET", "/x", GOOD) for _unused in range(3)] == [401] * 3
        assert len(index.verifier.questions) == 3
        index.verifier.logins.add(GOOD)
        assert index.client.status("GET", "/x", GOOD) == 200


@pytest.mark.parametrize("period", [30, 0])
def test_a_name_without_a_password_is_no_guess(start: Start, period: int) -> None:
    """pip sends one each time before it asks the keyring."""
    with start(nginx_login_cache_seconds=period) as index:
        client = index.somebody()
        assert {client.status("GET", "/x", "reader:") for _unused in range(2 * LIMIT)} == {401}
        assert index.verifier.questions == []
        assert client.status("GET", "/x", GOOD) == 200


@pytest.mark.parametrize("period", [30, 0])
def test_parallel_wrong_logins_do_not_pass_the_limit_together(start: Start, period: int) -> None:
    """Of many at once no more are looked at than one after the other."""
    with start(Verifier({GOOD}, seconds=0.05), nginx_login_cache_seconds=period) as index:
        client = index.somebody()
        wrong = [f"reader:wrong-{number}" for number in range(60)]
        answers = together([lambda w=each: client.ask("GET", "/x", login=w) for each in wrong])  # type: ignore[misc]
        assert sorted(answer.status for answer in answers) == [401] * LIMIT + [429] * (60 - LIMIT)
        assert len(index.verifier.questions) == LIMIT
        assert client.status("GET", "/x", GOOD) == 429
        assert index.somebody().status("GET", "/x", GOOD) == 200


def test_parallel_right_logins_pass_the_limit(start: Start) -> None:
    """Also when they are more than may fail: each waits for its place."""
    people = [f"user-{number}:right" for number in range(4 * LIMIT)]
    with start(Verifier(set(people), seconds=0.02)) as index:
        client = index.somebody()
        answers = together([lambda p=each: client.ask("GET", "/x", login=p) for each in people])  # type: ignore[misc]
        assert {answer.status for answer in answers} == {200}


def test_places_of_a_worker_that_died_are_free_again(start: Start) -> None:
    """Within a minute, also while the address tries again and again."""
    with start(Verifier(seconds=1), nginx_worker_processes=1) as index, ThreadPoolExecutor(LIMIT) as pool:
        client = index.somebody()
        for number in range(LIMIT):
            pool.submit(client.ask, "GET", "/x", login=f"reader:{number}")
        until(lambda: places(index)[:1] == [str(LIMIT)])
        for worker in workers(index.master):
            os.kill(int(worker), signal.SIGKILL)
        plain = socket.create_connection(("127.0.0.1", client.port), 30, (client.address, 0))
        with client.secure(plain) as waiting:
            login = base64.b64encode(GOOD.encode()).decode()
            waiting.sendall(f"GET /x HTTP/1.1\r\nHost: {client.name}\r\nAuthorization: Basic {login}\r\n\r\n".encode())
            until(lambda: float(places(index)[1]) < 57)
            assert int(places(index)[0]) >= LIMIT


def test_a_guess_is_not_answered_from_the_cache(start: Start) -> None:
    """An address over the limit learns nothing of a password that somebody uses meanwhile."""
    with start() as index:
        guesser = index.somebody()
        assert index.client.status("GET", "/x", GOOD) == 200
        for _unused in range(LIMIT):
            assert guesser.status("GET", "/x", "reader:guess") == 401
        assert guesser.status("GET", "/x", GOOD) == 429
        assert index.client.status("GET", "/x", GOOD) == 200


def test_without_a_cache_everybody_is_looked_at_every_time(start: Start) -> None:
    with start(nginx_login_cache_seconds=0) as index:
        assert [index.client.status("GET", "/x", GOOD) for _unused in range(3)] == [200] * 3
        assert len(index.verifier.questions) == 3
        # Once only, also where nginx goes on to another location
        assert index.client.status("GET", "/simple/absent/", GOOD) == 200
        assert len(index.verifier.questions) == 4
        index.verifier.logins.clear()
        assert index.client.status("GET", "/x", GOOD) == 401


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 421 Misdirected Request\r\n\r\n",
        b"204\r\n",
    ],
)
def test_no_answer_lets_nobody_in(start: Start, nonsense: bytes) -> None:
    with start(Verifier(answer=lambda _question: nonsense)) as index:
        answer = index.client.ask("GET", "/x", login=GOOD)
        assert (answer.status, answer.challenges) == (503, 0)
        assert "pyindex: a login could not be checked" in index.log
        # It was nobody's failure
        assert {index.client.status("GET", "/x", GOOD) for _unused in range(2 * LIMIT)} == {503}


def test_a_renewal_without_an_answer_waits_until_the_time_is_over(start: Start) -> None:
    dead: list[bool] = []

    def answer(_question: Question) -> bytes:
        return b"" if dead else b"HTTP/1.1 204 No Content\r\n\r\n"

    with start(Verifier(answer=answer), nginx_login_cache_seconds=3) as index:
        began = time.monotonic()
        assert index.client.status("GET", "/x", GOOD) == 200
        dead.append(True)
        while index.client.status("GET", "/x", GOOD) == 200:
            assert time.monotonic() < began + 4, "it has been valid for too long"
        assert time.monotonic() > began + 2.5
        assert index.client.status("GET", "/x", GOOD) == 503
        dead.clear()
        assert index.client.status("GET", "/x", GOOD) == 200


def test_a_reload_forgets_nothing(start: Start) -> None:
    with start() as index:
        bad = index.somebody()
        assert index.client.status("GET", "/x", GOOD) == 200
        assert [bad.status("GET", "/x", "reader:no") for _unused in range(LIMIT)] == [401] * LIMIT
        asked = len(index.verifier.questions)
        index.reload()
        assert index.client.status("GET", "/x", GOOD) == 200
        assert bad.status("GET", "/x", "reader:no") == 429
        assert len(index.verifier.questions) == asked


def test_what_was_sent_is_nowhere(start: Start) -> None:
    """Neither a right password nor a wrong one, in clear or as it was sent: in no dictionary, log or file."""
    right, wrong = "reader:Right-Secret-1", "reader:Wrong-Secret-2"
    with start(Verifier({right})) as index:
        assert index.client.status("GET", "/x", right) == 200
        assert index.client.status("GET", "/x", wrong) == 401
        dictionaries = look(index)
        # Something is there to be seen, and nothing in it can be read
        assert dictionaries.count(b"pyindex_logins ") == 1
        found = {path: path.read_bytes() for path in index.front.folder.rglob("*") if path.is_file()}
        for text in (right, wrong, "Right-Secret-1", "Wrong-Secret-2", "cmVhZGVyOl", "UmlnaHQ", "V3Jvbmct"):
            assert text.encode() not in dictionaries
            assert [path for path, content in found.items() if text.encode() in content] == []


def say(path: Path) -> bytes:
    """What a server on a Unix socket answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2]


def look(index: Index) -> bytes:
    """The keys, values and seconds left of the shared dictionaries."""
    return say(index.front.folder / "look.sock")


def places(index: Index) -> list[str]:
    """How many logins of an address are being looked at, and the seconds for which that counts."""
    return [word.decode() for word in look(index).partition(b"+ ")[2].split()[:2]]
