"""What our plugins add to devpi-server, in its own Python: removals, mirrors without an upstream, a full disk."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.devpi_server import install
from tests.unit.repository import ROOT


def run(program: str) -> Any:
    """Run a *program* that has devpi-server and our plugins, and return the JSON that it prints."""
    done = subprocess.run(
        [install() / "python", "-W", "ignore", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "roles/devpi/files"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_removal_through_the_front_has_no_force() -> None:
    program = """
import json
from pyramid.request import Request
from pyindex_devpi.releases import tween

seen = []
handle = tween(lambda request: seen.append([request.query_string, request.body.decode()]), None)
for method, headers in (("DELETE", {"X-Real-IP": "192.0.2.1"}), ("DELETE", {}), ("POST", {"X-Real-IP": "192.0.2.1"})):
    handle(Request.blank("/a/b/c?force=yes", method=method, headers=headers, body=b"force=yes"))
print(json.dumps(seen))
"""
    kept = ["force=yes", "force=yes"]
    assert run(program) == [["", ""], kept, kept]


def test_a_list_that_is_unchanged_upstream_is_complete() -> None:
    program = """
import json
from types import SimpleNamespace
from pyindex_devpi.mirrors import complete

stage = SimpleNamespace(cache_projectnames=SimpleNamespace(get=lambda: {"a": "a", "b": "b"}))
print(json.dumps([complete(lambda self, timeout: ({"a": "a"}, stale))(stage) for stale in (False, True)]))
"""
    # Old, but all that is known: the upstream did not answer
    assert run(program) == [[{"a": "a", "b": "b"}, False], [{"a": "a"}, True]]


def test_nothing_found_is_told_from_an_upstream_that_is_down() -> None:
    program = """
import json
from pyramid.request import Request
from pyramid.response import Response
from pyindex_devpi.mirrors import FAILED, tween

pages = [
    Response("<!DOCTYPE html><h1>six</h1>"),
    Response(b'{"files":[]}', content_type="application/json"),
    Response("no such project", status=404),
    Response('<!DOCTYPE html><a href="six-1.0.tar.gz">six</a>'),
    Response(b'{"files":[{"filename":"six-1.0.tar.gz"}]}', content_type="application/json"),
]
found = []
for page in pages:
    for path, failed in (("/root/pypi/+simple/six/", "down"), ("/root/pypi/+simple/six/", ""), ("/root/pypi/six", "down")):
        request = Request.blank(path, environ={FAILED: failed} if failed else {})
        answer = tween(lambda request: page, None)(request)
        found.append(answer.status_code)
print(json.dumps(found))
"""
    empty, missing, files = [502, 200, 200], [502, 404, 404], [200, 200, 200]
    assert run(program) == [*empty, *empty, *missing, *files, *files]


def test_a_full_disk_is_named_and_left_clean() -> None:
    program = """
import errno, json, pathlib, sqlite3, tempfile
from types import SimpleNamespace
from devpi_server.filestore_fs import FSFactory
from pyindex_devpi import disk

# Begun by this thread, as devpi-server does it, then by another; and one that is complete
base = pathlib.Path(tempfile.mkdtemp())
folder = base / "+files"
FSFactory.from_content(base, SimpleNamespace(relpath="u/i/+f/a.whl"), b"PK")
begun = [path.name for path in folder.rglob("a.whl-*-tmp")]
for name in ("b.whl-somebody-tmp", "c.whl"):
    (folder / "u/i/+f" / name).touch()
disk._folders.add(folder)
answers = []

def failing(error):
    def application(environ, start_response):
        raise error
    try:
        body = disk.guarded(application)({}, lambda status, headers: answers.append(status))
        answers.append(b"".join(body).decode())
    except Exception as raised:
        answers.append(type(raised).__name__)

failing(OSError(errno.ENOSPC, "No space left on device"))
failing(sqlite3.OperationalError("database or disk is full"))
failing(sqlite3.OperationalError("database is locked"))
failing(PermissionError(errno.EACCES, "Permission denied"))
print(json.dumps([len(begun), answers, sorted(path.name for path in folder.rglob("*") if path.is_file())]))
"""
    message = "The disk of the package index is full: nothing was stored"
    full = [f"507 {message}", f"{message}\n"]
    assert run(program) == [
        1,
        [*full, *full, "OperationalError", "PermissionError"],
        ["b.whl-somebody-tmp", "c.whl"],
    ]


def test_a_page_says_how_long_it_may_be_kept() -> None:
    program = """
import gzip, json
from pyramid.request import Request
from pyramid.response import Response
from pyindex_devpi.mirrors import FAILED
from pyindex_devpi.pages import HEADER, LEFT, LONGEST_SECONDS, tween

def answer(path="/u/i/+simple/p/", status=200, asked={HEADER: "3000"}, size=2000, method="GET", **environ):
    body = [b"x" * 500] * (size // 500)
    page = Response(app_iter=iter(body), status=status, content_type="text/html")
    page.cache_expires()
    request = Request.blank(path, method=method, headers=asked, environ=environ)
    said = tween(lambda request: page, None)(request)
    content = b"".join(said.app_iter)
    whole = len(gzip.decompress(content) if said.content_encoding else content) == size
    kept = said.headers.get(HEADER)
    return [kept, bool(said.etag), said.content_encoding, "Cache-Control" not in said.headers, whole]

packed = {HEADER: "3000", "Accept-Encoding": "gzip"}
print(json.dumps([
    answer() == [str(LONGEST_SECONDS), True, None, True, True],
    answer("/u/i/+simple/") == [str(LONGEST_SECONDS), True, None, True, True],
    answer(asked=packed) == [str(LONGEST_SECONDS), True, "gzip", True, True],
    answer(asked=packed, size=20000) == [str(LONGEST_SECONDS), True, "gzip", True, True],
    answer(**{LEFT: 17.9}) == ["17", True, None, True, True],
    # Not for long enough, the upstream fails, too large, none of these pages, nobody asks
    [answer(**{LEFT: 0.9})[0], answer(**{FAILED: "down"})[0], answer(status=404)[0]],
    answer(size=5000), answer(asked=packed, size=50000)[0::4], answer("/u/i/p"), answer(asked={}), answer(method="HEAD")[0],
]))
"""
    no = [None, False, None, False, True]
    kept, none = [True] * 5, [None] * 3
    assert run(program) == [*kept, none, no, [None, True], no, no, None]
