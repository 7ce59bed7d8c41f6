"""nginx over pages that the index's own code published: what clients get, and when Python is asked at all."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

import bcrypt
import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Answer, Client, Front, debian_release, free_ports
from tests.unit.nginx.rendering import evaluate
from tests.unit.pypiserver import conftest as _path_of_the_package  # noqa: F401
from tests.unit.pypiserver.made import wheel
from tests.unit.pypiserver.published import publish

from pyindex_pypiserver.app import Index, Settings  # isort: skip
from pyindex_pypiserver.pages import negotiate  # isort: skip
from pyindex_pypiserver.storage import PackageStore  # isort: skip
from pyindex_pypiserver.yank import yank  # isort: skip

HTML, JSON, V1_HTML = (
    "text/html; charset=utf-8",
    "application/vnd.pypi.simple.v1+json",
    "application/vnd.pypi.simple.v1+html; charset=utf-8",
)
WHEEL = "demo-1.0-py3-none-any.whl"
# What clients send, and the form they then get
CLIENTS = {
    "pip": (f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01", JSON),
    "uv": (f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01", JSON),
    "poetry": (f"{JSON}, */*;q=0.1", JSON),
    "pdm": (f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01", JSON),
    "old pip": ("text/html", HTML),
    "older pip": ("text/html, application/xhtml+xml;q=0.9", HTML),
    "browser": ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", HTML),
    "curl": ("*/*", HTML),
    "nothing": (None, HTML),
    "twine": ("*/*", HTML),
    "JSON only": (JSON, JSON),
    "newest JSON": ("application/vnd.pypi.simple.latest+json", JSON),
    "HTML by its other name": ("application/vnd.pypi.simple.v1+html", V1_HTML),
    "newest HTML": ("application/vnd.pypi.simple.latest+html", V1_HTML),
    "both names of HTML": ("application/vnd.pypi.simple.v1+html, text/html;q=0.5", HTML),
    "capital letters": ("Application/VND.PyPI.Simple.v1+JSON", JSON),
    "another version": ("application/vnd.pypi.simple.v2+json", HTML),
    "plain JSON": ("application/json", HTML),
    "no sense": (",;q=,", HTML),
}


class Limited(WSGIRequestHandler):
    """One request over a Unix socket."""

    server: Python

    def setup(self) -> None:
        self.client_address = ("nginx", 0)
        super().setup()

    def get_environ(self) -> dict[str, Any]:
        self.server.asked.append(f"{self.command} {self.path}")
        return super().get_environ()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - named by http.server
        pass


class Python(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The index's application on a Unix socket; remembers what it was asked."""

    daemon_threads = True
    block_on_close = False
    base_environ: Mapping[str, str] = {"SERVER_NAME": "x", "SERVER_PORT": "80", "REMOTE_HOST": "", "CONTENT_LENGTH": ""}

    def __init__(self, path: Path, index: Index) -> None:
        super().__init__(str(path), Limited)
        self.index = index
        self.asked: list[str] = []

    def get_app(self) -> Callable[..., Iterable[bytes]]:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            # Not beyond the end of the request
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)))
            return self.index(environ, start_response)

        return application


@dataclass
class Deployed:
    """A deployed index: the store behind it, a client, and what Python was asked."""

    store: PackageStore
    client: Client
    path: str
    asked: list[str] = field(default_factory=list)

    def get(self, path: str, accept: str | None = None, method: str = "GET", login: str = "", **headers: str) -> Answer:
        """Ask for a path below the URL path of the index; underscores of header names become hyphens."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            fields["Accept"] = accept
        return self.client.ask(method, f"{self.path}{path}", login=login, headers=fields)

    def by_nginx(self, path: str, accept: str | None = None, method: str = "GET", **headers: str) -> Answer:
        """The same; fail when Python was asked."""
        before = len(self.asked)
        answer = self.get(path, accept, method, **headers)
        assert self.asked[before:] == []
        return answer

    def by_python(self, path: str, accept: str | None = None) -> Answer:
        """The same; fail when Python was not asked."""
        before = len(self.asked)
        answer = self.get(path, accept)
        assert len(self.asked) == before + 1
        return answer

    def page(self, project: str, name: str = "index.html") -> bytes:
        return (self.store.publisher.simple / project / name).read_bytes()

    def files(self, project: str, **headers: str) -> dict[str, dict[str, Any]]:
        """What the page of a project says of each file."""
        answer = self.by_nginx(f"/simple/{project}/", JSON, **headers)
        assert (answer.status, answer.headers["content-type"]) == (200, JSON)
        return {file["filename"]: file for file in json.loads(answer.body)["files"]}


READER = "reader:r-password"


@contextmanager
def deployed(folder: Path, certificates: Certificates, **variables: Any) -> Iterator[Deployed]:
    """The site that the role pypiserver exports, with a project `demo`, running until the end of the with statement."""
    folder.mkdir()
    packages = folder / "packages"
    packages.mkdir()
    store = PackageStore(packages, folder / "pages")
    store.publisher.records.set(complete=1)
    publish(store, WHEEL, wheel())
    hashed = bcrypt.hashpw(READER.partition(":")[2].encode(), bcrypt.gensalt(4)).decode()
    for name in ("readers", "uploaders"):
        (folder / name).write_text(f"reader:{hashed}\n")
    http_port, https_port = free_ports(2)
    wanted = {
        "pypiserver_server_name": "index.pyindex.test",
        "pypiserver_http_port": http_port,
        "pypiserver_https_port": https_port,
        "pypiserver_tls_certificate": str(certificates.certificate),
        "pypiserver_tls_key": str(certificates.key),
        "pypiserver_packages_dir": str(packages),
        "pypiserver_pages_dir": str(folder / "pages"),
        "pypiserver_socket": str(folder / "socket"),
        "pypiserver_readers_file": str(folder / "readers"),
        "pypiserver_uploaders_file": str(folder / "uploaders"),
        **variables,
    }
    path = wanted.get("pypiserver_url_path", "")
    site = evaluate("pypiserver_nginx_site", "Debian", wanted, "pypiserver")
    front = Front(folder, [site], {"nginx_worker_processes": 1}, release=debian_release())
    assert front.problems() == ""
    front.write()
    assert front.check() == ""
    index = Index(Settings(packages_dir=packages, pages_dir=folder / "pages", url_path=path), store)
    client = Client(https_port, certificates.authority)
    with Python(folder / "socket", index) as server:
        (folder / "socket").chmod(0o666)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            with front.running():
                yield Deployed(store, client, path, server.asked)
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def index(folder: Path, certificates: Certificates) -> Iterator[Deployed]:
    """An index that all may read."""
    with deployed(folder / "pages-open", certificates) as index:
        yield index


@pytest.fixture(scope="module")
def below(folder: Path, certificates: Certificates) -> Iterator[Deployed]:
    """The same below a URL path that a pattern could take for another one, and files may change."""
    with deployed(
        folder / "pages-path", certificates, pypiserver_url_path="/py.th-on", pypiserver_overwrite=True
    ) as index:
        yield index


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("path", ["/simple/", "/simple/demo/"])
def test_each_client_gets_the_form_it_wants(index: Deployed, path: str, name: str) -> None:
    accept, kind = CLIENTS[name]
    answer = index.by_nginx(path, accept)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    suffix = "json" if kind == JSON else "html"
    assert answer.body == index.page(path.split("/")[2], f"index.{suffix}")
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["cache-control"] == "public, no-cache"
    assert answer.headers["strict-transport-security"]


KINDS = ["application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json", "text/html", "*/*", "x/y"]
WEIGHTS = ["", ";q=1", "; q=0.5", ";q=0.2", ";q=0", " ; Q=0.9 ", ";q=", ";v=1;q=0.3"]


def test_weights_mean_what_the_standard_says(index: Deployed) -> None:
    """Whoever answers, nginx or Python: what the one parser of weights says (RFC 9110)."""
    entries = [kind + weight for kind, weight in itertools.product(KINDS, WEIGHTS)]
    pairs = [",".join(pair) for pair in itertools.product(entries, entries)][::7]
    for accept in [*entries, *pairs]:
        answer = index.get("/simple/demo/", accept)
        assert answer.status == 200
        assert answer.headers["content-type"] == {"html": HTML, "json": JSON}[negotiate(accept)], accept
        assert answer.headers["vary"] == "Accept"


def test_a_long_list_of_forms_takes_no_time(index: Deployed) -> None:
    """A pattern that tries all ways to read it would take longer than the universe has."""
    for accept in (f"{'a/b  ;  q=0.1  ,  ' * 300}{JSON};x", "a/b;q=0" * 700, f"{JSON}," * 150, "," * 4000, " " * 4000):
        assert index.get("/simple/demo/", accept).status == 200


@pytest.mark.parametrize("accept", [HTML, JSON, V1_HTML])
def test_head_is_get_without_the_page(index: Deployed, accept: str) -> None:
    got, head = (index.by_nginx("/simple/demo/", accept, method) for method in ("GET", "HEAD"))
    assert head.body == b""
    for answer in (got, head):
        del answer.headers["date"]  # type: ignore[attr-defined]
    assert (head.status, head.headers) == (got.status, got.headers)


@pytest.mark.parametrize("accept", [HTML, JSON, V1_HTML])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_what_a_client_has_is_not_sent_again(index: Deployed, accept: str, coding: str) -> None:
    for number in range(20):
        publish(index.store, f"cached-1.{number}.0-py3-none-any.whl", wheel("cached", f"1.{number}.0"), overwrite=True)
    first = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding)
    assert first.headers.get("content-encoding", "identity") == coding
    validators = {"If_None_Match": first.headers["etag"]}, {"If_Modified_Since": first.headers["last-modified"]}
    for validator in validators:
        same = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding, **validator)
        assert (same.status, same.body) == (304, b"")
        assert (same.headers["etag"], same.headers["cache-control"]) == (first.headers["etag"], "public, no-cache")
        assert "Accept" in same.headers["vary"]
    # Within the same second, and of the same size
    yank(index.store.publisher, "cached", "1.3.0", "no")
    changed = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding, **validators[0])
    yank(index.store.publisher, "cached", "1.3.0", "on")
    again = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding, If_None_Match=changed.headers["etag"])
    assert (changed.status, again.status) == (200, 200)
    assert len({first.body, changed.body, again.body}) == 3
    yank(index.store.publisher, "cached", "1.3.0", None)


def test_one_form_is_never_taken_for_the_other(index: Deployed) -> None:
    etags = set()
    for accept, coding in itertools.product((HTML, JSON), ("identity", "gzip")):
        etag = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding).headers["etag"]
        assert etag not in etags
        for other in etags:
            answer = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding, If_None_Match=other)
            assert answer.status == 200
        etags.add(etag)


@pytest.mark.parametrize(("accept", "name"), [(HTML, "index.html"), (V1_HTML, "index.html"), (JSON, "index.json")])
def test_large_pages_are_compressed_beforehand(index: Deployed, accept: str, name: str) -> None:
    for number in range(20):
        publish(index.store, f"large-1.{number}-py3-none-any.whl", wheel("large", f"1.{number}"), overwrite=True)
    answer = index.by_nginx("/simple/large/", accept, Accept_Encoding="gzip, deflate, br")
    assert answer.headers["content-encoding"] == "gzip"
    # The very file: nothing is compressed for this request
    assert answer.body == index.page("large", f"{name}.gz")
    assert gzip.decompress(answer.body) == index.page("large", name)
    assert answer.headers["content-length"] == str(len(answer.body))
    plain = index.by_nginx("/simple/large/", accept)
    assert (plain.body, "content-encoding" in plain.headers) == (index.page("large", name), False)
