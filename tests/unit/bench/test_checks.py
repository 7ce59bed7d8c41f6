"""A server that is quick to answer something else has no speed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.bench.peers.host import checks, wheels
from tests.bench.peers.host.bench import QUICK, Bench, FigureError, Look
from tests.bench.peers.host.clients import HTML, JSON, Answer
from tests.bench.peers.host.dataset import SMALL, Dataset
from tests.bench.peers.host.targets import Target

URL = "https://index.test/simple/bench-00001/"
PROJECT = "bench-00001"


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    extras = tmp_path / "extras"
    extras.mkdir()
    (extras / "real-2.0-py3-none-any.whl").write_bytes(wheels.padded("real", "2.0", 100))
    made = Dataset(tmp_path / "data", 40)
    made.make(extras)
    return made


def page(data: Dataset, name: str = "index.html") -> bytes:
    return (data.simple / PROJECT / name).read_bytes()


def test_finished_pages_are_right(data: Dataset) -> None:
    assert checks.page(data, URL, HTML)(Answer(200, page(data), HTML)) == ""
    assert checks.page(data, URL, JSON)(Answer(200, page(data, "index.json"), JSON)) == ""
    lists = (data.simple / "index.html").read_bytes()
    assert checks.project_list(data, "https://index.test/simple/")(Answer(200, lists, HTML)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _text: b"", "lacks 20 of 20"),
        (lambda text: text.replace(b"1.10", b"9.10"), "lacks 1 of 20"),
        (lambda text: text.replace(b"sha256=", b"sha256=00"), "wrong hash"),
    ],
    ids=["nothing", "a file", "hashes"],
)
def test_wrong_pages_are_seen(data: Dataset, change: Callable[[bytes], bytes], said: str) -> None:
    assert said in checks.page(data, URL, HTML)(Answer(200, change(page(data)), HTML))


def test_wrong_media_type_is_seen(data: Dataset) -> None:
    assert "answers text/html" in checks.page(data, URL, JSON)(Answer(200, page(data), HTML))


def test_error_page_in_json_is_no_page(data: Dataset) -> None:
    for content in (b"{}", b"[]", b"no JSON", b'{"files": [1]}'):
        assert "lacks 20" in checks.page(data, URL, JSON)(Answer(200, content, JSON))


def test_list_without_a_project_is_seen(data: Dataset) -> None:
    content = (data.simple / "index.html").read_bytes().replace(b"bench-00001/", b"other/")
    assert "lacks 1 of 2" in checks.project_list(data, "https://index.test/simple/")(Answer(200, content, HTML))


def test_other_content_of_a_file_is_seen(data: Dataset) -> None:
    [path] = (data.files / SMALL).iterdir()
    assert checks.file(path)(Answer(200, path.read_bytes(), "")) == ""
    assert path.name in checks.file(path)(Answer(200, path.read_bytes()[:-1], ""))


class Server(BaseHTTPRequestHandler):
    """Answers pages of the data, or what a test wants."""

    root: Path
    status = 200

    def do_GET(self) -> None:
        content = (self.root / self.path.strip("/") / "index.html").read_bytes()
        self.send_response(self.status)
        self.send_header("Content-Type", HTML)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_about: object) -> None:
        pass


@pytest.fixture
def handler(data: Dataset) -> type[Server]:
    return type("Handler", (Server,), {"root": data.folder})


@pytest.fixture
def look(data: Dataset, handler: type[Server], tmp_path: Path) -> Iterator[Callable[[], Look]]:
    bench = Bench(replace(QUICK), data, tmp_path, tmp_path, tmp_path, tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        target = Target(key="a", title="a", simple_url=f"http://127.0.0.1:{server.server_port}/simple/")
        urls = [target.page(project) for project in data.sample()]
        yield partial(bench.look, target, urls, HTML, lambda url: checks.page(data, url, HTML))
        server.shutdown()


def test_look_knows_how_large_the_answers_are(look: Callable[[], Look], data: Dataset) -> None:
    assert look() == Look(slow=False, size=len(page(data)))


def test_errors_are_no_figures(look: Callable[[], Look], handler: type[Server]) -> None:
    handler.status = 429
    with pytest.raises(FigureError, match="answered 429"):
        look()


def test_each_of_some_pages_is_looked_at(look: Callable[[], Look], data: Dataset) -> None:
    (data.simple / PROJECT / "index.html").write_text("nothing")
    with pytest.raises(FigureError, match=f"{PROJECT}/: the page lacks 20"):
        look()
