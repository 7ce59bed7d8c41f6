"""Kept pages of devpi when things go wrong: a server that is killed, a lost file, mirrors, pages that are too large."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.devpi_index import LIMIT, Index, site_of
from tests.unit.nginx.devpi_service import PASSWORDS, basic, devpi_server, upstream, wheel
from tests.unit.nginx.front import Front, debian_release
from tests.unit.nginx.test_devpi_pages import connected, files, read, rendered, upload

KEPT_SECONDS = 3
LARGEST_KB = 4
LOGIN_SECONDS = 2
PAGE = "/owner/dev/+simple/example/"
MIRRORED = "/root/mirror/+simple/mirrored/"
NO_ANSWER = ("", b"")
# What the mirror finds upstream
UPSTREAM = {"mirrored": wheel("mirrored", "1.0"), "other": wheel("other", "1.0")}


@pytest.fixture(scope="module")
def index(folder: Path, certificates: Certificates) -> Iterator[Index]:
    """A server that may be killed, with a mirror that soon asks again, behind a front with little memory for pages."""
    here = folder / "generations"
    here.mkdir()
    with (
        upstream(UPSTREAM) as mirror_url,
        devpi_server(here / "devpi", lockdown=True) as devpi,
    ):
        front = Front(here, [site_of(devpi, certificates, lockdown=True)], release=debian_release())
        front.variables = {
            "nginx_failed_logins_per_minute": LIMIT,
            "nginx_worker_processes": 2,
            "nginx_login_cache_seconds": LOGIN_SECONDS,
            "nginx_page_cache_mb": 1,
            "nginx_page_cache_max_kb": LARGEST_KB,
        }
        assert front.problems() == ""
        front.write()
        assert front.check() == ""
        for user in ("owner", "reader"):
            devpi.do("PUT", f"/{user}", "root", {"password": PASSWORDS[user]})
        mirror = {"type": "mirror", "mirror_url": mirror_url, "volatile": False, "mirror_cache_expiry": KEPT_SECONDS}
        devpi.do("PUT", "/root/mirror", "root", mirror)
        devpi.do("PUT", "/owner/dev", "root", {"acl_upload": ["owner"], "bases": []})
        devpi.do("PUT", "/owner/mixed", "root", {"acl_upload": ["owner"], "bases": ["root/mirror"]})
        with front.running():
            found = Index(devpi, front, certificates.authority)
            upload(found, "owner/dev", "example", "1.0")
            yield found


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_written_before_a_kill_is_read_after_it(index: Index) -> None:
    for number in range(2):
        read(index, PAGE)
        name = upload(index, "owner/dev", "example", f"2.{number}")
        before = index.devpi.generations.read_bytes()
        index.devpi.kill()
        index.devpi.start()
        assert name in files(read(index, PAGE))
        after = index.devpi.generations.read_bytes()
        slots = range(0, len(before), 8)
        assert len(before) == len(after)
        assert not [slot for slot in slots if before[slot : slot + 8] == after[slot : slot + 8]]


def test_a_kill_before_the_word_of_a_commit_leaves_nothing_old(index: Index) -> None:
    files(read(index, PAGE))
    # From now on the server's word goes to a file that nobody reads, as if it were killed after each commit
    copy = index.devpi.generations.with_name("copy")
    copy.write_bytes(index.devpi.generations.read_bytes())
    copy.rename(index.devpi.generations)
    read(index, PAGE)
    name = upload(index, "owner/dev", "example", "3.0")
    assert name not in files(read(index, PAGE))
    index.devpi.kill()
    index.devpi.start()
    assert name in files(read(index, PAGE))


def test_without_word_of_what_changes_nothing_is_kept(index: Index) -> None:
    read(index, PAGE)
    # As systemd does when the server ends
    index.devpi.generations.unlink()
    for number in range(3):
        before = rendered(index)
        name = upload(index, "owner/dev", "example", f"4.{number}")
        assert name in files(read(index, PAGE))
        assert name in files(read(index, PAGE))
        assert rendered(index) >= before + 2
        assert read(index, PAGE, user="", login="reader:wrong").status == 401
    index.devpi.generations.write_bytes(b"short")
    before = rendered(index)
    read(index, PAGE)
    read(index, PAGE)
    assert rendered(index) >= before + 2
    index.devpi.kill()
    index.devpi.start()
    read(index, PAGE)
    before = rendered(index)
    read(index, PAGE)
    assert rendered(index) == before


def test_a_page_of_a_mirror_is_kept_until_the_mirror_asks_again(index: Index) -> None:
    for path in (MIRRORED, "/owner/mixed/+simple/mirrored/"):
        UPSTREAM["mirrored"] = wheel("mirrored", "1.0")
        until(lambda path=path: files(read(index, path)) == {"mirrored-1.0-py3-none-any.whl"})  # type: ignore[misc]
        with connected(index) as reader:
            # Read while it is kept
            until(lambda: reads_without_devpi(index, lambda: reader.files(path)))  # noqa: B023 - used at once
            UPSTREAM["mirrored"] = wheel("mirrored", "2.0")
            start = time.monotonic()
            until(lambda: reader.files(path) == {"mirrored-2.0-py3-none-any.whl"})  # noqa: B023 - used at once
            assert time.monotonic() - start < KEPT_SECONDS + 3


def reads_without_devpi(index: Index, read_once: Callable[[], object]) -> bool:
    """Whether five reads were answered without a page of devpi's."""
    before = rendered(index)
    for _unused in range(5):
        read_once()
    return rendered(index) == before


def test_nothing_is_kept_while_the_upstream_fails(index: Index) -> None:
    known, other = UPSTREAM["mirrored"], UPSTREAM["other"]
    UPSTREAM.update(mirrored=NO_ANSWER, other=NO_ANSWER)
    try:
        with connected(index) as reader:
            # What the mirror has of it, old as it is, and each time anew
            until(lambda: not reads_without_devpi(index, lambda: reader.files(MIRRORED)))
            time.sleep(KEPT_SECONDS)
            for _unused in range(3):
                before = rendered(index)
                assert reader.files(MIRRORED)
                assert rendered(index) == before + 1
            UPSTREAM["mirrored"] = known
            until(lambda: reads_without_devpi(index, lambda: reader.files(MIRRORED)))
        for _unused in range(3):
            assert read(index, "/root/mirror/+simple/other/").status == 502
        UPSTREAM["other"] = other
        until(lambda: read(index, "/root/mirror/+simple/other/").status == 200)
    finally:
        UPSTREAM.update(mirrored=known, other=other)


def test_a_page_that_is_too_large_arrives(index: Index) -> None:
    for number in range(30):
        upload(index, "owner/dev", "large", f"1.{number}")
    path = "/owner/dev/+simple/large/"
    for _unused in range(3):
        before = rendered(index)
        answer = read(index, path)
        assert len(answer.body) > LARGEST_KB * 1024
        assert len(files(answer)) == 30
        assert rendered(index) == before + 1
    # Small enough when it is compressed
    read(index, path, headers={"Accept-Encoding": "gzip"})
    assert reads_without_devpi(index, lambda: read(index, path, headers={"Accept-Encoding": "gzip"}))


def test_more_pages_than_there_is_memory_for(index: Index) -> None:
    for number in range(14):
        upload(index, "owner/dev", "many", f"1.{number}")
    path = "/owner/dev/+simple/many/"
    with connected(index) as reader:
        size = len(reader.ask("GET", path)[1])
        assert 2048 < size < LARGEST_KB * 1024
        # Each name of the site has pages of its own
        for number in range(2 * 1024 * 1024 // size):
            status, body = reader.ask("GET", path, Host=f"localhost:{number + 1}")
            assert (status, len(body)) == (200, size)
        name = upload(index, "owner/dev", "many", "2.0")
        assert name in reader.files(path)
        assert reads_without_devpi(index, lambda: reader.files(path))
    assert "no memory" not in (index.front.folder / "error.log").read_text()


def test_a_login_in_use_is_asked_about_once_in_its_time(index: Index) -> None:
    def asked() -> int:
        return (index.devpi.folder / "log").read_text(errors="replace").count("/+authcheck")

    with connected(index) as reader:
        reader.files(PAGE)
        before, pages, start = asked(), rendered(index), time.monotonic()
        while time.monotonic() < start + 3 * LOGIN_SECONDS:
            assert reader.files(PAGE)
            # A connection has 10,000 requests
            time.sleep(0.002)
        assert 1 <= asked() - before <= 5
        assert rendered(index) == pages


def test_who_may_read_the_file(index: Index) -> None:
    assert index.devpi.generations.stat().st_mode & 0o777 == 0o644


def test_too_many_passwords_at_once_are_refused_in_words(locked: Index) -> None:
    """Nobody is let in by it, and afterwards all is as usual."""

    def ask(number: int) -> tuple[int, bytes]:
        headers = {"Authorization": basic("reader", f"wrong-{number}"), "X-Original-URI": "/owner/dev/+simple/"}
        return locked.devpi.ask("GET", "/+authcheck", headers=headers)

    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(ask, range(60)))
    assert {status for status, _body in answers} == {401, 503}
    assert all(b"too many passwords" in body for status, body in answers if status == 503)
    headers = {"Authorization": basic("reader", PASSWORDS["reader"]), "X-Original-URI": "/owner/dev/+simple/"}
    assert locked.devpi.ask("GET", "/+authcheck", headers=headers)[0] == 200
