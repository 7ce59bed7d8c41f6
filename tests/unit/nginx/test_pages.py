"""nginx over pages that the index's own code published: what clients get, and when Python is asked at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import shutil
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

import bcrypt
import pytest

from pyindex_pypiserver.app import Index, Settings
from pyindex_pypiserver.pages import negotiate
from pyindex_pypiserver.storage import PackageStore
from pyindex_pypiserver.yank import yank
from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Answer, Client, Front, debian_release, free_ports
from tests.unit.nginx.rendering import evaluate
from tests.unit.pypiserver.made import wheel
from tests.unit.pypiserver.published import publish

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

    def page(self, project: str, form: str = "html") -> bytes:
        return (self.store.publisher.simple / f"{project or '_list'}.{form}").read_bytes()

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
    front = Front(
        folder, [site], {"nginx_worker_processes": 1, "nginx_failed_logins_per_minute": 0}, release=debian_release()
    )
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
    assert answer.body == index.page(path.split("/")[2], suffix)
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
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
        # Python compresses nothing
        assert answer.headers["vary"] in ("Accept", "Accept, Accept-Encoding")


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
    etags: set[str] = set()
    for accept, coding in itertools.product((HTML, JSON), ("identity", "gzip")):
        etag = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding).headers["etag"]
        assert etag not in etags
        for other in etags:
            answer = index.by_nginx("/simple/cached/", accept, Accept_Encoding=coding, If_None_Match=other)
            assert answer.status == 200
        etags.add(etag)


@pytest.mark.parametrize(("accept", "form"), [(HTML, "html"), (V1_HTML, "html"), (JSON, "json")])
def test_large_pages_are_compressed_beforehand(index: Deployed, accept: str, form: str) -> None:
    for number in range(20):
        publish(index.store, f"large-1.{number}-py3-none-any.whl", wheel("large", f"1.{number}"), overwrite=True)
    answer = index.by_nginx("/simple/large/", accept, Accept_Encoding="gzip, deflate, br")
    assert answer.headers["content-encoding"] == "gzip"
    # The very file: nothing is compressed for this request
    assert answer.body == index.page("large", f"{form}.gz")
    assert gzip.decompress(answer.body) == index.page("large", form)
    assert answer.headers["content-length"] == str(len(answer.body))
    plain = index.by_nginx("/simple/large/", accept)
    assert (plain.body, "content-encoding" in plain.headers) == (index.page("large", form), False)


@pytest.mark.parametrize(
    "path", ["/simple/demo", "/simple/Demo/", "/simple/DEMO", "/simple/d%45mo/", "/simple/d.-_e/", "/simple/d--e/"]
)
def test_other_spellings_lead_to_the_one_page(below: Deployed, path: str) -> None:
    """PEP 503. The address is the one that the client used, port and URL path included."""
    answer = below.by_python(path, JSON)
    name = "d-e" if "-" in path else "demo"
    origin = f"https://index.pyindex.test:{below.client.port}"
    assert (answer.status, answer.headers["location"]) == (301, f"{origin}{below.path}/simple/{name}/")


def test_a_missing_slash_of_the_list_is_added(below: Deployed) -> None:
    answer = below.by_nginx("/simple?x=1")
    assert (answer.status, answer.headers["location"]) == (301, f"{below.path}/simple/?x=1")


@pytest.mark.parametrize(
    "path", ["/simple//demo/", "/simple/demo//", "/simple/d%65mo/", "/simple/demo/?x=/../y", "//simple/demo/"]
)
def test_odd_ways_to_write_an_address_are_read_as_one(below: Deployed, path: str) -> None:
    assert below.by_nginx(path).body == below.page("demo")


@pytest.mark.parametrize("accept", [HTML, JSON, V1_HTML, f"{JSON};q=0.5"])
def test_an_unknown_project_is_not_there(index: Deployed, accept: str) -> None:
    before = len(index.asked)
    for name in ("nothing", "de", "demos", "demo-1", "0", "x" * 200, "x" * 300):
        assert index.get(f"/simple/{name}/", accept).status == 404
    # Asking often costs no more than nginx, whatever the name; only weights are Python's to read
    assert (len(index.asked) > before) == (accept == f"{JSON};q=0.5")


@pytest.mark.parametrize(
    "path",
    [
        "/simple/demo/index.html",
        "/simple/demo.html",
        "/simple/demo.html/",
        "/simple/_list/",
        "/simple/_list.html",
        "/simple/demo/index.json.gz",
        "/simple/demo/index.json/",
        "/simple/index.html",
        "/simple/index.any",
        "/simple/demo/x/",
        "/simple/-/",
        "/simple/demo-/",
        "/simple/demo%00/",
        "/simple/demo%0a/",
        "/simple/d%C3%A9mo/",
        "/simple/.state/",
        "/simple/../.state/records.sqlite",
        "/simple/%2e%2e/.state/records.sqlite",
        "/simple/..%2f.state/records.sqlite",
        "/simple/.index.html",
        "/simple/demo/.index.html",
        "/.state/records.sqlite",
        "/packages/.state/records.sqlite",
        "/packages/../.state/records.sqlite",
        "/packages/.incoming/",
        "/packages/.incoming/lock-list",
        "/packages/.yanked/demo.json",
        "/packages/.demo-1.0-py3-none-any.whl.metadata",
        "/packages/demo-1.0-py3-none-any.whl.metadata/",
        "/packages/demo-1.0-py3-none-any.whl/",
        "/packages/simple/index.html",
        "/packages/demo-2.0-py3-none-any.whl.metadata",
        "/packages/demo-1.0.tar.gz.metadata",
        "/packages/x%0ay.whl.metadata",
    ],
)
def test_what_is_not_served(index: Deployed, path: str) -> None:
    (index.store.publisher.simple / "._list.html").write_text("half")
    (index.store.publisher.metadata / f".{WHEEL}.metadata").write_text("half")
    yank(index.store.publisher, "demo", "1.0", "kept in a hidden file")
    for accept in (HTML, JSON):
        answer = index.get(path, accept)
        # A client that is sent elsewhere finds nothing there, or what is public
        if answer.status == 301:
            answer = index.get(answer.headers["location"].partition(f":{index.client.port}")[2], accept)
            assert answer.status in (200, 404)
            assert answer.status == 404 or answer.body in (index.page("demo"), index.page("demo", "json"))
        else:
            assert answer.status in (400, 404)
    yank(index.store.publisher, "demo", "1.0", None)


def test_links_are_not_followed(folder: Path, index: Deployed) -> None:
    """Not even when the server itself was broken into: nginx may read what it may not."""
    secret = folder / "secret"
    (secret / "inner").mkdir(parents=True)
    for name in ("index.html", "index.json", "inner/index.html", "x.whl.metadata"):
        (secret / name).write_text("secret")
    simple, metadata = index.store.publisher.simple, index.store.publisher.metadata
    (simple / "linked").symlink_to(secret)
    (simple / "half-linked").mkdir()
    for link in (simple / "half-linked" / "index.html", simple / "linked.html", simple / "linked.json"):
        link.symlink_to(secret / "index.html")
    (simple / "demo.html.gz").symlink_to(secret / "index.html")
    (metadata / "x.whl.metadata").symlink_to(secret / "x.whl.metadata")
    for path in ("/simple/linked/", "/simple/half-linked/", "/packages/x.whl.metadata"):
        for accept in (HTML, JSON, V1_HTML):
            assert index.get(path, accept).status in (403, 404)
    assert b"secret" not in index.get("/simple/demo/", HTML, Accept_Encoding="gzip").body
    (simple / "demo.html.gz").unlink()


def test_metadata_is_what_the_page_says(index: Deployed, below: Deployed) -> None:
    """PEP 658 and 714: the address is that of the file with a suffix, the digest is on the page."""
    for each in (index, below):
        files = each.files("demo")
        assert files[WHEEL]["url"] == f"../../packages/{WHEEL}"
        metadata = each.by_nginx(f"/packages/{WHEEL}.metadata")
        assert hashlib.sha256(metadata.body).hexdigest() == files[WHEEL]["core-metadata"]["sha256"]
        assert metadata.headers["content-type"] == "text/plain; charset=utf-8"
        assert metadata.headers["etag"]
        assert each.by_nginx(f"/packages/{WHEEL}.metadata", method="HEAD").status == 200


def test_files_are_kept_where_no_client_can_change_them(index: Deployed, below: Deployed) -> None:
    for path in (f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata"):
        kept, asked_about = index.by_nginx(path), below.by_nginx(path)
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asked_about.headers["cache-control"] == "public, no-cache"
        assert "vary" not in kept.headers
        same = below.by_nginx(path, If_None_Match=asked_about.headers["etag"])
        assert (same.status, same.body) == (304, b"")


@pytest.mark.parametrize("switch", ["pypiserver_overwrite", "pypiserver_removal"])
def test_what_a_client_can_change_is_not_kept(switch: str) -> None:
    wanted = {switch: "yes", "pypiserver_server_name": "index.pyindex.test"}
    site = evaluate("pypiserver_nginx_site", "Debian", wanted, "pypiserver")
    assert {place["immutable"] for place in site["locations"] if "files" in place} <= {False, "False"}


def test_a_download_goes_on_where_it_broke_off(index: Deployed) -> None:
    whole = index.by_nginx(f"/packages/{WHEEL}")
    content = (index.store.root / WHEEL).read_bytes()
    assert (whole.body, whole.headers["accept-ranges"]) == (content, "bytes")
    rest = index.by_nginx(f"/packages/{WHEEL}", Range="bytes=100-", If_Range=whole.headers["etag"])
    assert (rest.status, rest.body) == (206, content[100:])
    assert rest.headers["content-range"] == f"bytes 100-{len(content) - 1}/{len(content)}"
    # What lazy readers of wheels ask for
    assert index.by_nginx(f"/packages/{WHEEL}", Range="bytes=-22").body == content[-22:]
    assert index.by_nginx(f"/packages/{WHEEL}", Range="bytes=100-", If_Range='"other"').body == content
    assert index.by_nginx(f"/packages/{WHEEL}", Range=f"bytes={len(content)}-").status == 416


def test_a_file_that_was_replaced_is_seen_to_be_another(below: Deployed) -> None:
    name = "changing-1.0-py3-none-any.whl"
    etags, bodies = set(), set()
    for number in range(5):
        publish(below.store, name, wheel("changing", "1.0", {"x": str(number).encode()}), overwrite=True)
        answer = below.by_nginx(f"/packages/{name}")
        etags.add(answer.headers["etag"])
        bodies.add(answer.body)
        metadata = below.by_nginx(f"/packages/{name}.metadata")
        wanted = below.files("changing")[name]
        assert hashlib.sha256(answer.body).hexdigest() == wanted["hashes"]["sha256"]
        assert hashlib.sha256(metadata.body).hexdigest() == wanted["core-metadata"]["sha256"]
    assert len(etags) == len(bodies) == 5


def test_the_very_next_request_sees_a_release(index: Deployed) -> None:
    for number in range(50):
        name = f"next-1.{number}-py3-none-any.whl"
        publish(index.store, name, wheel("next", f"1.{number}"))
        assert name in index.files("next")
        page = index.by_nginx("/simple/next/", HTML, Accept_Encoding="gzip")
        packed = page.headers.get("content-encoding") == "gzip"
        assert name.encode() in (gzip.decompress(page.body) if packed else page.body)
    index.store.remove(["next-1.7-py3-none-any.whl"])
    assert "next-1.7-py3-none-any.whl" not in index.files("next")
    assert index.by_nginx("/packages/next-1.7-py3-none-any.whl").status == 404


def test_a_project_that_is_removed_is_gone_at_once(index: Deployed) -> None:
    name = "brief-1.0-py3-none-any.whl"
    for _unused in range(5):
        publish(index.store, name, wheel("brief"))
        assert index.by_nginx("/simple/brief/").status == 200
        assert b'"brief/"' in index.by_nginx("/simple/").body
        index.store.remove([name])
        assert index.by_nginx("/simple/brief/").status == 404
        assert b'"brief/"' not in index.by_nginx("/simple/").body


def test_writing_is_refused_where_only_reading_is(index: Deployed) -> None:
    for path in ("/simple/", "/simple/demo/", f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
            answer = index.by_nginx(path, method=method)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


# What reading needs a login for, by protected action
GUARDED = {
    "/simple/": "list",
    "/simple/demo/": "list",
    "/simple/Demo/": "list",
    "/simple/demo": "list",
    "/simple/nothing/": "list",
    "/packages/": "list",
    "/demo/json": "list",
    f"/packages/{WHEEL}": "download",
    f"/packages/{WHEEL}.metadata": "download",
    "/packages/nothing.whl": "download",
    "/packages/nothing.whl.metadata": "download",
}


@pytest.mark.parametrize("actions", [[], ["update"], ["list"], ["download", "update"], ["list", "download", "update"]])
def test_each_action_is_protected_by_itself(folder: Path, certificates: Certificates, actions: list[str]) -> None:
    """Before it is said whether there is such a project or file. Whatever form is asked for, and whoever answers."""
    name = f"pages-{'-'.join(actions) or 'none'}"
    with deployed(folder / name, certificates, pypiserver_protected_actions=actions) as index:
        for path, action in GUARDED.items():
            there = 404 if "nothing" in path else 301 if path.endswith(("Demo/", "demo")) else 200
            for accept in (HTML, JSON, V1_HTML, f"{JSON};q=0.5, text/html;q=0.4"):
                stranger = index.get(path, accept)
                wrong = index.get(path, accept, login="reader:wrong") if accept == JSON else stranger
                reader = index.get(path, accept, login=READER)
                closed = action in actions
                assert (stranger.status, wrong.status) == ((401, 401) if closed else (there, there)), path
                assert reader.status == there, path
                if closed:
                    assert stranger.challenges == 1
                    assert b"demo" not in stranger.body
                    assert "etag" not in stranger.headers
                if there == 200 and "json" not in path and path != "/packages/":
                    assert reader.headers["cache-control"].startswith("private" if closed else "public")


@pytest.mark.parametrize("listen", ["loopback", "network"])
def test_an_index_without_passwords(folder: Path, certificates: Certificates, listen: str) -> None:
    """Everybody may read and upload: on the host itself, by another of its addresses only where that is asked for too."""
    wanted = {"pypiserver_listen": "network"} if listen == "network" else {}
    with deployed(folder / f"open-{listen}", certificates, pypiserver_authentication="none", **wanted) as index:
        assert index.get("/simple/demo/").status == 200
        # The form is asked for, not a login
        assert index.get("/", method="POST").status == 400
        reached = []
        for address in ("127.0.0.1", "127.0.0.2"):
            with socket.socket() as probe:
                reached.append(probe.connect_ex((address, index.client.port)) == 0)
        assert reached == [True, listen == "network"]


def test_pages_come_without_python(folder: Path, certificates: Certificates) -> None:
    """All that installers ask for; the rest is 502 at once."""
    with deployed(folder / "pages-alone", certificates) as index:
        (folder / "pages-alone" / "socket").unlink()
        for path in ("/simple/", "/simple/demo/", f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata"):
            assert index.by_nginx(path, JSON).status == 200
        assert index.by_nginx("/simple/nothing/", JSON).status == 404
        assert index.by_nginx("/simple/Demo/").status == 502


def test_python_is_asked_as_long_as_there_are_no_pages(folder: Path, certificates: Certificates) -> None:
    """Somebody has removed the folder, and the watch makes it anew: Python knows why there is nothing."""
    with deployed(folder / "pages-cold", certificates) as index:
        shutil.rmtree(index.store.publisher.pages)
        for path in ("/simple/", "/simple/demo/", "/simple/nothing/"):
            for accept in (HTML, JSON, V1_HTML):
                answer = index.by_python(path, accept)
                assert answer.status == 503
                assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_http2_is_spoken(index: Deployed) -> None:
    context = ssl.create_default_context(cafile=str(index.client.authority))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", index.client.port), 10) as plain,
        context.wrap_socket(plain, server_hostname=index.client.name) as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
