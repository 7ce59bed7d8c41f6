"""Pages of devpi in nginx: every answer is what devpi would say at that moment, to who may know, and costs devpi nothing."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.devpi_index import PROJECT_TOKEN, Index
from tests.unit.nginx.devpi_service import basic, form, release_fields, wheel
from tests.unit.nginx.front import Answer, Client

JSON = "application/vnd.pypi.simple.v1+json"
PIP = {"User-Agent": "pip/23.0", "Accept": f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"}
OLD_PIP = {"User-Agent": "pip/21.3.1", "Accept": "text/html"}
BROWSER = {"User-Agent": "Mozilla/5.0 Firefox/140.0", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
CURL = {"User-Agent": "curl/8.0", "Accept": "*/*"}
# Of writing and reading, in each of two ways and on each of two servers
ROUNDS = 500


def read(index: Index, path: str, *, user: str = "reader", **more: Any) -> Answer:
    """Ask for a page as pip does, as a user with a login."""
    headers = {**PIP, **index.token(user), **more.pop("headers", {})}
    return index.client().ask("GET", path, headers=headers, **more)


def files(answer: Answer) -> set[str]:
    assert answer.status == 200, answer.body
    return {file["filename"] for file in json.loads(answer.body)["files"]}


def rendered(index: Index) -> int:
    """How many pages devpi has made."""
    return (index.devpi.folder / "log").read_text(errors="replace").count("/+simple/")


def upload(index: Index, target: str, project: str, version: str) -> str:
    """Publish a release through the front, as twine does; return the name of its file."""
    name, content = wheel(project, version)
    body, kind = form(release_fields(project, version), name, content)
    headers = {"User-Agent": "twine/6.0", **index.token("owner"), "Content-Type": kind}
    answer = index.client().ask("POST", f"/{target}/", body=body, headers=headers)
    assert answer.status == 200, answer.body
    return name


def change(index: Index, method: str, path: str, user: str, document: object = None) -> None:
    headers = {"Accept": "application/json", **index.token(user), "Content-Type": "application/json"}
    answer = index.client().ask(method, path, body=json.dumps(document).encode(), headers=headers)
    assert answer.status in (200, 201), (answer.status, answer.body)


@contextmanager
def readers(read_once: Callable[[], object], number: int = 4) -> Iterator[list[Exception]]:
    """Readers in the background, until the end of the with statement; yields what went wrong with them."""
    done = threading.Event()
    wrong: list[Exception] = []

    def work() -> None:
        while not done.is_set():
            try:
                read_once()
            except (AssertionError, OSError, http.client.HTTPException) as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=work) for _unused in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()


class Connection:
    """One connection to the front, kept open: rounds of requests cost no handshakes."""

    def __init__(self, client: Client, headers: dict[str, str]) -> None:
        self.headers = {**PIP, **headers, "Host": f"{client.name}:{client.port}"}
        self.connection = http.client.HTTPConnection(client.name)
        self.connection.sock = client.secure(
            socket.create_connection(("127.0.0.1", client.port), 30, (client.address, 0))
        )

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        self.connection.request(method, path, body=body, headers={**self.headers, **headers})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def files(self, path: str) -> set[str]:
        status, body = self.ask("GET", path)
        assert status in (200, 404), (status, body)
        return {file["filename"] for file in json.loads(body)["files"]} if status == 200 else set()


@contextmanager
def connected(index: Index, user: str = "reader") -> Iterator[Connection]:
    connection = Connection(index.client(), index.token(user))
    try:
        yield connection
    finally:
        connection.connection.close()


def test_a_page_is_made_once(index: Index) -> None:
    path = "/owner/dev/+simple/example/"
    first = read(index, path)
    before = rendered(index)
    answers = [read(index, path) for _unused in range(20)]
    assert {answer.body for answer in answers} == {first.body}
    assert rendered(index) == before
    for answer in [first, *answers]:
        assert answer.headers["content-type"] == JSON
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "x-pyindex-keep" not in answer.headers
        assert {"accept", "user-agent"} <= {word.strip().lower() for word in answer.headers["vary"].split(",")}
        assert answer.headers["etag"] == first.headers["etag"]


def test_a_page_is_what_devpi_says_to_this_client(index: Index) -> None:
    """Whoever came first."""
    for path in ("/owner/dev/+simple/example/", "/owner/stable/+simple/", "/owner/dev/+simple/mirrored/"):
        for _unused in range(2):
            for headers in (PIP, OLD_PIP, BROWSER, CURL, {**CURL, "Accept": f"text/html, {JSON};q=0.5"}):
                through = read(index, path, headers={**headers, "Host": f"localhost:{index.port}"})
                outside = {**headers, "X-Outside-Url": f"https://localhost:{index.port}", **index.token("reader")}
                status, body = index.devpi.ask("GET", path, headers={**outside, "Accept": headers["Accept"]})
                assert (through.status, through.body) == (status, body), headers


def test_a_page_is_kept_by_the_name_that_it_is_made_with(index: Index) -> None:
    """However a client writes the site's name."""
    path = "/owner/dev/+simple/example/"
    host = f"localhost:{index.port}"
    page = read(index, path, host=host)
    before = rendered(index)
    assert read(index, path, host=host.upper()).body == page.body
    assert rendered(index) == before


def test_conditional_requests(index: Index) -> None:
    path = "/owner/dev/+simple/example/"
    read(index, path)
    etag = read(index, path).headers["etag"]
    assert etag.startswith('"')
    known = read(index, path, headers={"If-None-Match": etag})
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", etag)
    assert known.headers["cache-control"] == "private, no-cache"
    assert read(index, path, headers={"If-None-Match": '"another"'}).status == 200
    head = index.client().ask("HEAD", path, headers={**PIP, **index.token("reader")})
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", etag)
    upload(index, "owner/dev", "example", f"1.{time.time_ns()}")
    assert read(index, path, headers={"If-None-Match": etag}).status == 200


def test_gzip(index: Index) -> None:
    for number in range(10):
        upload(index, "owner/dev", "zipped", f"1.{number}")
    path = "/owner/dev/+simple/zipped/"
    plain = read(index, path)
    for _unused in range(2):
        for accepted in ("gzip", "gzip, deflate, br", "br, gzip;q=0.5"):
            packed = read(index, path, headers={"Accept-Encoding": accepted})
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body) == plain.body
        for refused in ("", "identity", "gzip;q=0", "br"):
            answer = read(index, path, headers={"Accept-Encoding": refused})
            assert "content-encoding" not in answer.headers
            assert answer.body == plain.body


@pytest.mark.parametrize("way", ["front", "socket"])
def test_the_next_read_sees_a_write(way: str, index: Index) -> None:
    """Under read load: uploads, promotions and removals, through the front and past it."""
    page, other = "/owner/dev/+simple/rounds/", "/owner/stable/+simple/rounds/"

    def read_once() -> None:
        read(index, page)
        read(index, other)

    def write(method: str, path: str, body: bytes, kind: str) -> None:
        if way == "front":
            status, said = writer.ask(method, path, body, **{"Content-Type": kind, "Accept": "application/json"})
        else:
            headers = {"Content-Type": kind, **index.token("owner")}
            status, said = index.devpi.ask(method, path, body=body, headers=headers)
        assert status in (200, 201), (method, path, said)

    stale = 0
    start = time.time_ns()
    with connected(index) as reader, connected(index, "owner") as writer, readers(read_once) as wrong:
        for number in range(ROUNDS // 4):
            version = f"{start}.{number}"
            name, content = wheel("rounds", version)
            body, kind = form(release_fields("rounds", version), name, content)
            write("POST", "/owner/dev/", body, kind)
            stale += name not in reader.files(page)
            push = {"name": "rounds", "version": version, "targetindex": "owner/stable"}
            write("PUSH", "/owner/dev", json.dumps(push).encode(), "application/json")
            stale += name not in reader.files(other)
            write("DELETE", f"/owner/dev/rounds/{version}", b"", "application/json")
            stale += name in reader.files(page)
    assert wrong == []
    assert stale == 0


def test_a_changed_index_shows_at_once(index: Index) -> None:
    upload(index, "owner/stable", "inherited", "1.0")
    page = "/owner/derived/+simple/inherited/"
    change(index, "PUT", "/owner/derived", "root", {"type": "stage", "bases": []})
    with connected(index) as reader:
        for _unused in range(30):
            assert reader.files(page) == set()
            change(index, "PATCH", "/owner/derived", "root", ["bases=owner/stable"])
            assert len(reader.files(page)) == 1
            change(index, "PATCH", "/owner/derived", "root", ["bases="])
        change(index, "DELETE", "/owner/derived", "root")
        assert reader.ask("GET", page)[0] == 404


def test_a_list_of_projects_shows_a_new_one_at_once(index: Index) -> None:
    with connected(index) as reader:
        for _unused in range(30):
            name = f"listed-{time.time_ns()}"
            upload(index, "owner/stable", name.replace("-", "_"), "1.0")
            projects = json.loads(reader.ask("GET", "/owner/stable/+simple/")[1])["projects"]
            assert name in {project["name"] for project in projects}


def test_other_projects_stay_kept(index: Index) -> None:
    path = "/owner/dev/+simple/example/"
    for _unused in range(2):
        read(index, path)
    upload(index, "owner/dev", "somethingelse", f"1.{time.time_ns()}")
    before = rendered(index)
    read(index, path)
    assert rendered(index) == before


def test_who_may_not_read_never_sees_a_kept_page(locked: Index) -> None:
    path = "/owner/dev/+simple/example/"
    content = read(locked, path).body
    for _unused in range(3):
        assert read(locked, path).body == content
        refused: dict[str, dict[str, Any]] = {
            "nobody": {"user": ""},
            "wrong password": {"user": "", "login": "reader:wrong"},
            "unknown user": {"user": "", "login": "nobody:reader-password"},
            "wrong token": {"user": "", "headers": {"X-Devpi-Auth": "cmVhZGVyOng="}},
            "wrong cookie": {"user": "", "headers": {"Cookie": "auth_tkt=reader%3Ax"}},
            "right one spelt as another header": {"user": "", "headers": {"X-Authorization": basic("reader", "x")}},
        }
        for name, how in refused.items():
            answer = read(locked, path, **how)
            assert (answer.status, content in answer.body) == (401, False), name
            assert "etag" not in answer.headers
            known = read(locked, path, **{**how, "headers": {**how.get("headers", {}), "If-None-Match": "*"}})
            assert known.status == 401, name


def test_a_removed_user_is_refused_at_once(locked: Index) -> None:
    for _unused in range(5):
        change(locked, "PUT", "/leaving", "root", {"password": "leaving-password"})
        assert read(locked, "/owner/dev/+simple/example/", user="", login="leaving:leaving-password").status == 200
        change(locked, "DELETE", "/leaving", "root")
        assert read(locked, "/owner/dev/+simple/example/", user="", login="leaving:leaving-password").status == 401


def test_a_changed_password_is_refused_at_once(locked: Index) -> None:
    path = "/owner/dev/+simple/example/"
    change(locked, "PUT", "/changing", "root", {"password": "password-0"})
    try:
        for number in range(5):
            for _unused in range(2):
                assert read(locked, path, user="", login=f"changing:password-{number}").status == 200
            change(locked, "PATCH", "/changing", "root", {"password": f"password-{number + 1}"})
            assert read(locked, path, user="", login=f"changing:password-{number}").status == 401
            assert read(locked, locked.paths["dev"], user="", login=f"changing:password-{number}").status == 401
    finally:
        change(locked, "DELETE", "/changing", "root")


def test_changed_read_rights_hold_at_once(index: Index) -> None:
    """Files of an index with read rights of its own (of a plugin of these tests: by the index's title)."""
    path = index.paths["stable"]
    try:
        for _unused in range(5):
            assert read(index, path).status == 200
            change(index, "PATCH", "/owner/stable", "root", ["title=secret"])
            assert read(index, path).status == 403
            assert read(index, path, user="").status == (401 if index.needs_login else 403)
            assert read(index, path, user="owner").status == 200
            change(index, "PATCH", "/owner/stable", "root", ["title="])
    finally:
        change(index, "PATCH", "/owner/stable", "root", ["title="])


def test_a_kept_page_is_for_who_may_read_its_index(index: Index) -> None:
    """Whoever read it first, with a login and without."""
    for path in ("/owner/secret/+simple/example/", "/owner/secret/+simple/"):
        content = read(index, path, user="owner").body
        for _unused in range(2):
            assert (read(index, path, user="owner").status, read(index, path, user="owner").body) == (200, content)
            for user, status in {"": 401 if index.needs_login else 403, "reader": 403, "other": 403}.items():
                answer = read(index, path, user=user)
                assert (answer.status, content in answer.body) == (status, False), (path, user)


def test_pages_are_hidden_as_soon_as_read_rights_change(index: Index) -> None:
    path = "/owner/stable/+simple/example/"
    try:
        for _unused in range(3):
            for user in ("owner", "reader") if index.needs_login else ("owner", "reader", ""):
                assert read(index, path, user=user).status == 200
            change(index, "PATCH", "/owner/stable", "root", ["title=secret"])
            assert read(index, path, user="reader").status == 403
            assert read(index, path, user="").status == (401 if index.needs_login else 403)
            assert read(index, path, user="owner").status == 200
            change(index, "PATCH", "/owner/stable", "root", ["title="])
    finally:
        change(index, "PATCH", "/owner/stable", "root", ["title="])


def test_a_token_for_one_project_reads_no_other_page(index: Index) -> None:
    """Whatever page of the index it has read before."""
    upload(index, "owner/dev", "unrelated", "1.0")
    allowed, other = "/owner/dev/+simple/example/", "/owner/dev/+simple/unrelated/"
    assert read(index, other).status == 200
    for _unused in range(2):
        assert read(index, allowed, user="", login=PROJECT_TOKEN).status == 200
        for path in (other, f"{other}?a=b"):
            assert read(index, path, user="", login=PROJECT_TOKEN).status == 401, path


def test_many_at_once_are_one_question(index: Index) -> None:
    upload(index, "owner/dev", "crowd", "1.0")
    path = "/owner/dev/+simple/crowd/"
    read(index, path)
    upload(index, "owner/dev", "crowd", "2.0")
    before = rendered(index)
    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(lambda _number: len(files(read(index, path))), range(30)))
    assert set(found) == {2}
    assert rendered(index) == before + 1


def test_a_reload_keeps_logins_right_and_pages_true(index: Index) -> None:
    path = "/owner/dev/+simple/reloaded/"
    with readers(lambda: read(index, path)) as wrong:
        for number in range(5):
            name = upload(index, "owner/dev", "reloaded", f"{time.time_ns()}.{number}")
            pid = int((index.front.folder / "nginx.pid").read_text())
            subprocess.run(["kill", "-HUP", str(pid)], check=True)
            assert name in files(read(index, path))
    assert wrong == []


def memory(index: Index) -> int:
    """What nginx's worker has in memory, in KiB."""
    pid = (index.front.folder / "nginx.pid").read_text().strip()
    worker = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1]
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_long_addresses_are_not_remembered(locked: Index) -> None:
    """Nobody has to log in to ask for them."""
    with connected(locked, "") as stranger:

        def ask(number: int) -> None:
            path = f"/owner/dev/+simple/made-up-{number}/?{'a' * 7000}"
            assert stranger.ask("GET", path)[0] == 401

        for number in range(200):
            ask(number)
        before = memory(locked)
        for number in range(4000):
            ask(number)
    assert memory(locked) - before < 10_000


def test_pages_that_are_not_kept_have_the_headers_of_others(index: Index) -> None:
    """Each one once, whoever of devpi and nginx has said it."""
    for path in ("/owner/dev/+simple/mirrored/", "/owner/dev/+simple/missing/", "/owner/dev/+simple/Example/"):
        with connected(index) as reader:
            reader.connection.request("GET", path, headers=reader.headers)
            answer = reader.connection.getresponse()
            answer.read()
        assert answer.headers.get_all("X-Frame-Options") == ["SAMEORIGIN"], path
        assert len(answer.headers.get_all("Cache-Control", [])) <= 1, path
        assert "X-Pyindex-Keep" not in answer.headers


def test_odd_addresses_are_devpis_to_answer(index: Index) -> None:
    read(index, "/owner/dev/+simple/example/")
    for path, status in {
        "/owner/dev/+simple/Example/": 302,
        "/owner/dev/+simple/exam.ple/": 302,
        "/owner/dev/+simple/example": 200,
        "/owner/dev/+simple/example/?a=b": 200,
        "/owner/dev/+simple/ex%61mple/": 200,
        "/owner/dev/+simple/-/": 404,
        "/owner/dev/+simple/missing/": 404,
        "/owner/missing/+simple/example/": 404,
        "/nobody/missing/+simple/": 404,
    }.items():
        for _unused in range(2):
            assert read(index, path).status == status, path


@pytest.fixture(params=["locked", "opened"])
def index(request: pytest.FixtureRequest) -> Index:
    """First where reading needs a login, then where it does not."""
    found: Index = request.getfixturevalue(request.param)
    return found
