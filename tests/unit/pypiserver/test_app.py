"""The application as clients see it: requests in, answers and files out."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pyindex_pypiserver.app import Index, Settings, application
from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import sdist, tar_of, wheel

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
BOUNDARY = "0123456789abcdef"


@dataclass
class Answer:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """Calls the application as a WSGI server does."""

    index: Index

    def request(self, method: str, path: str, body: bytes = b"", **environ: Any) -> Answer:
        started: list[Any] = []
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body)) if method == "POST" else "",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "HTTP_HOST": "inside",
            "HTTP_X_FORWARDED_PROTO": "https",
            "HTTP_X_FORWARDED_HOST": "pypi.example.org:8443",
            **environ,
        }
        result: Iterable[bytes] = self.index(environ, lambda *arguments: started.append(arguments))
        data = b"".join(result)
        if hasattr(result, "close"):
            result.close()
        status, reason = started[-1][0].split(" ", 1)
        headers = dict(started[-1][1])
        assert all("\n" not in f"{name}{value}" for name, value in headers.items())
        return Answer(int(status), reason, headers, data)

    def post(self, fields: Iterable[tuple[str, Any]], path: str = "/", **environ: Any) -> Answer:
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.request("POST", path, form(fields), CONTENT_TYPE=kind, **environ)

    def upload(self, name: str, data: bytes, /, **fields: str) -> Answer:
        return self.post([(":action", "file_upload"), *fields.items(), ("content", (name, data))])


def form(fields: Iterable[tuple[str, Any]]) -> bytes:
    body = b""
    for name, value in fields:
        file_name, content = value if isinstance(value, tuple) else (None, value)
        disposition = f'form-data; name="{name}"' + ("" if file_name is None else f'; filename="{file_name}"')
        data = content if isinstance(content, bytes) else content.encode()
        body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def settings(store: PackageStore) -> Settings:
    return Settings(packages_dir=store.root, pages_dir=store.publisher.pages, max_upload_bytes=2**20)


@pytest.fixture
def client(settings: Settings, store: PackageStore) -> Client:
    return Client(Index(settings, store))


def files(store: PackageStore) -> list[str]:
    """All files, temporary ones too."""
    return sorted(path.name for path in store.root.rglob("*") if path.is_file() and not path.name.startswith("lock-"))


def is_one_line(answer: Answer) -> bool:
    return (
        answer.headers["Content-Type"].startswith("text/plain")
        and answer.text.endswith("\n")
        and answer.text.strip().isprintable()
        and len(answer.text) > 10
    )


@pytest.mark.parametrize(("name", "data"), [(WHEEL, wheel()), (SDIST, sdist())])
def test_an_upload_is_stored_and_listed_at_once(client: Client, store: PackageStore, name: str, data: bytes) -> None:
    answer = client.upload(name, data, name="demo", version="1.0", sha256_digest=hashlib.sha256(data).hexdigest())
    assert (answer.status, answer.reason) == (200, "OK")
    assert (store.root / name).read_bytes() == data
    assert files(store) == [name]
    page = client.request("GET", "/simple/demo/")
    assert page.status == 200
    assert f'href="../../packages/{name}#sha256={hashlib.sha256(data).hexdigest()}"' in page.text
    assert '<a href="demo/">demo</a>' in client.request("GET", "/simple/").text
    assert name in client.request("GET", "/packages/").text
    assert client.request("GET", f"/packages/{name}").body == data


BAD_UPLOADS = {
    "no distribution": ("content", (WHEEL, b"MZ an installer"), "no zip archive"),
    "truncated wheel": ("content", (WHEEL, wheel()[:-10]), "truncated"),
    "truncated sdist": ("content", (SDIST, sdist()[:-10]), "truncated"),
    "other project inside": ("content", (WHEEL, wheel("other")), "contains"),
    "other version inside": ("content", (SDIST, sdist("demo", "2")), "contains"),
    "path upwards": ("content", ("../demo-1.0-py3-none-any.whl", wheel()), "not allowed"),
    "path": ("content", ("/etc/demo-1.0.tar.gz", sdist()), "not allowed"),
    "percent path": ("content", ("..%2fdemo-1.0.tar.gz", sdist()), "not allowed"),
    "hidden": ("content", (".demo-1.0.tar.gz", sdist()), "not allowed"),
    "odd characters": ("content", ("demo 1.0;rm.tar.gz", sdist()), "not allowed"),
    "other kind": ("content", ("demo-1.0.rpm", b"x"), "neither a wheel"),
    "member upwards": ("content", (SDIST, sdist(more={"../x": b""})), "outside"),
    "empty name": ("content", ("", wheel()), "no file name"),
    "text, no file": ("content", "just text", "no file name"),
    "signature": ("gpg_signature", (f"{WHEEL}.asc", b"-----BEGIN PGP"), "keeps no signatures"),
    "too large": ("content", (WHEEL, wheel() + bytes(2**20)), "larger than 1 MiB"),
    "field twice": (":action", "file_upload", "twice"),
    "long field": ("version", "1" * 10_000, "too long"),
    "wrong project in the form": ("name", "other", "the form says project"),
    "wrong version in the form": ("version", "2.0", "the form says version"),
    "wrong digest": ("sha256_digest", "0" * 64, "damaged on its way"),
}


@pytest.mark.parametrize("case", list(BAD_UPLOADS))
def test_a_bad_upload_is_refused_in_one_line_and_nothing_stays(client: Client, store: PackageStore, case: str) -> None:
    field, value, reason = BAD_UPLOADS[case]
    fields = [(":action", "file_upload"), (field, value)]
    if field != "content":
        fields.append(("content", (WHEEL, wheel())))
    answer = client.post(fields)
    assert answer.status == (413 if case in ("too large", "long field") else 400)
    assert reason in answer.text
    assert is_one_line(answer)
    assert answer.reason == answer.text.strip()[:400]
    assert files(store) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "no field :action"),
        ([("content", (WHEEL, wheel()))], "no field :action"),
        ([(":action", "file_upload")], "no file in the field content"),
        ([(":action", "make_coffee"), ("content", (WHEEL, wheel()))], "unknown :action 'make_coffee'"),
        ([(":action", "doc_upload"), ("content", (WHEEL, wheel()))], "unknown :action 'doc_upload'"),
        ([(":action", "file_upload"), ("content", (WHEEL, wheel())), ("content", (SDIST, sdist()))], "several files"),
    ],
)
def test_an_incomplete_form_is_refused(client: Client, store: PackageStore, fields: Any, reason: str) -> None:
    answer = client.post(fields)
    assert answer.status == 400
    assert reason in answer.text
    assert is_one_line(answer)
    assert files(store) == []


@pytest.mark.parametrize("missing", [1, 2, 20, 700])
def test_an_upload_that_breaks_off_leaves_nothing(client: Client, store: PackageStore, missing: int) -> None:
    body = form([(":action", "file_upload"), ("content", (WHEEL, wheel()))])
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    # The server passes on what came before the connection closed
    answer = client.request("POST", "/", body[:-missing], CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(body)))
    if missing > 2:
        assert answer.status == 400
        assert "broke off" in answer.text
        assert files(store) == []
    else:
        # Only the line's end behind the last boundary is missing
        assert answer.status == 200


def test_a_chunked_upload_without_a_length_is_read(client: Client, store: PackageStore) -> None:
    body = form([(":action", "file_upload"), ("content", (WHEEL, wheel()))])
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    answer = client.request("POST", "/", body, CONTENT_TYPE=kind, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    assert answer.status == 200
    assert files(store) == [WHEEL]


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"CONTENT_TYPE": "text/plain"}, 400),
        ({"CONTENT_TYPE": "multipart/form-data"}, 400),
        ({}, 400),
        ({"CONTENT_TYPE": "multipart/form-data; boundary=x"}, 400),
        ({"CONTENT_TYPE": "application/x-www-form-urlencoded"}, 413),
        ({"CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}", "CONTENT_LENGTH": "x"}, 400),
        ({"CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}", "CONTENT_LENGTH": str(2**40)}, 413),
    ],
)
def test_what_is_no_form_is_refused(client: Client, store: PackageStore, environ: Any, status: int) -> None:
    answer = client.request("POST", "/", b"x" * 10_000, **environ)
    assert answer.status == status
    assert is_one_line(answer)
    assert files(store) == []


@pytest.mark.parametrize("agent", ["pip", "twine/7.0.0", "uv/0.13"])
def test_what_exists_is_answered_409_and_stays_as_it_is(client: Client, store: PackageStore, agent: str) -> None:
    assert client.upload(WHEEL, wheel()).status == 200
    before = (store.root / WHEEL).stat()
    data = wheel(more={"demo/new.py": b"x"})
    answer = client.post([(":action", "file_upload"), ("content", (WHEEL, data))], HTTP_USER_AGENT=agent)
    assert answer.status == 409
    # The words that clients look for
    assert "already exists" in answer.text
    assert is_one_line(answer)
    assert (store.root / WHEEL).read_bytes() == wheel()
    assert (store.root / WHEEL).stat().st_mtime_ns == before.st_mtime_ns
    assert files(store) == [WHEEL]


def test_another_spelling_of_what_exists_is_answered_409_with_the_name_it_has(client: Client) -> None:
    assert client.upload(SDIST, sdist()).status == 200
    answer = client.upload("DEMO-1.0.tar.gz", sdist("DEMO"))
    assert answer.status == 409
    assert "already exists as 'demo-1.0.tar.gz'" in answer.text


def test_overwriting_is_possible_where_it_is_allowed(settings: Settings, store: PackageStore) -> None:
    client = Client(Index(replace(settings, overwrite=True), store))
    data = wheel(more={"demo/new.py": b"x"})
    assert client.upload(WHEEL, wheel()).status == 200
    assert client.upload(WHEEL, data).status == 200
    assert (store.root / WHEEL).read_bytes() == data
    assert hashlib.sha256(data).hexdigest() in client.request("GET", "/simple/demo/").text
    assert client.upload(WHEEL, data[:-20]).status == 400
    assert (store.root / WHEEL).read_bytes() == data


def test_of_concurrent_uploads_one_is_stored_and_the_others_are_answered_409(
    client: Client, store: PackageStore
) -> None:
    start = threading.Barrier(8)

    def upload(number: int) -> int:
        data = wheel(more={"demo/who.py": str(number).encode()})
        start.wait()
        return client.upload(WHEEL, data).status

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(upload, range(8))) == [200] + [409] * 7
    assert files(store) == [WHEEL]


@pytest.mark.parametrize("action", ["submit", "verify"])
def test_registering_a_project_is_not_needed(client: Client, action: str) -> None:
    assert client.post([(":action", action), ("name", "demo")]).status == 200


def test_removing_is_refused_with_the_reason(client: Client, store: PackageStore) -> None:
    client.upload(WHEEL, wheel())
    answer = client.post([(":action", "remove_pkg"), ("name", "demo"), ("version", "1.0")])
    assert answer.status == 403
    assert "does not allow uploaders to remove" in answer.text
    assert is_one_line(answer)
    assert files(store) == [WHEEL]


def test_removing_a_release_where_it_is_allowed(settings: Settings, store: PackageStore) -> None:
    client = Client(Index(replace(settings, removal=True), store))
    for name, data in ((WHEEL, wheel()), (SDIST, sdist()), ("demo-1.1.tar.gz", sdist("demo", "1.1"))):
        assert client.upload(name, data).status == 200
    release = {":action": "remove_pkg", "name": "Demo", "version": "1.0"}
    assert client.post(release.items()).status == 200
    assert files(store) == ["demo-1.1.tar.gz"]
    assert client.post(release.items()).status == 404
    assert client.post([(":action", "remove_pkg"), ("name", "demo")]).status == 400
    assert client.post([(":action", "remove_pkg"), ("name", "../x"), ("version", "1")]).status == 404
    kind = "application/x-www-form-urlencoded"
    body = urlencode({**release, "version": "1.1"}).encode()
    assert client.request("POST", "/", body, CONTENT_TYPE=kind).status == 200
    assert files(store) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EROFS, "read-only"), (errno.EACCES, "may not write")],
)
@pytest.mark.parametrize("function", ["fsync", "link", "mkdir", "rename"])
def test_a_disk_that_cannot_be_written_is_said_so(
    client: Client, store: PackageStore, monkeypatch: pytest.MonkeyPatch, function: str, number: int, said: str
) -> None:
    def full(*_unused: Any, **_options: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        answer = client.upload(WHEEL, wheel())
    assert answer.status == 507
    assert said in answer.text
    assert is_one_line(answer)
    assert files(store) == []
    assert client.request("GET", "/simple/demo/").status == 404
    assert client.upload(WHEEL, wheel()).status == 200
    assert client.request("GET", "/simple/demo/").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/health", 200),
        ("GET", "/simple/", 200),
        ("GET", "/simple", 301),
        ("GET", "/simple/Demo/", 301),
        ("GET", "/simple/demo", 301),
        ("HEAD", "/simple/demo/", 200),
        ("GET", "/simple/demo/x", 404),
        ("GET", "/simple/../simple/", 404),
        ("GET", "/simple/index.html", 301),
        ("GET", "/simple/a b/", 404),
        ("GET", "/simple/\x00/", 404),
        ("GET", "/packages", 301),
        ("GET", f"/packages/{WHEEL}", 200),
        ("HEAD", f"/packages/{WHEEL}", 200),
        ("GET", f"/packages/{WHEEL}.metadata", 200),
        ("GET", "/packages/demo-1.0.tar.gz.metadata", 404),
        ("GET", "/packages/.state/records.sqlite", 404),
        ("GET", "/simple/unknown/", 404),
        ("GET", "/packages/", 200),
        ("GET", "/packages/../../../etc/passwd", 404),
        ("GET", "/packages/.incoming/lock", 404),
        ("GET", "/demo/", 303),
        ("GET", "/demo/json", 200),
        ("POST", "/RPC2", 405),
        ("POST", "/simple/", 405),
        ("PUT", "/", 405),
        ("DELETE", "/packages/demo-1.0.tar.gz", 405),
        ("OPTIONS", "/", 405),
    ],
)
def test_every_path_has_its_answer(client: Client, method: str, path: str, status: int) -> None:
    client.upload(WHEEL, wheel())
    answer = client.request(method, path)
    assert answer.status == status
    if status == 405:
        assert "GET" in answer.headers["Allow"]
    if status >= 400:
        assert is_one_line(answer)
    if method == "HEAD":
        assert answer.body == b""


def test_redirects_and_links_lead_to_the_name_and_port_that_the_client_used(client: Client) -> None:
    client.upload(WHEEL, wheel())
    assert client.request("GET", "/simple").headers["Location"] == "https://pypi.example.org:8443/simple/"
    assert client.request("GET", "/demo/").headers["Location"] == "https://pypi.example.org:8443/simple/demo/"
    releases = json.loads(client.request("GET", "/demo/json").body)["releases"]
    assert releases == {"1.0": [{"url": f"https://pypi.example.org:8443/packages/{WHEEL}"}]}
    assert "pip install --index-url https://pypi.example.org:8443/simple/" in client.request("GET", "/").text


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple/My.Demo", "/simple/my-demo/"),
        ("/simple/My__Demo/", "/simple/my-demo/"),
        ("/simple/my-demo", "/simple/my-demo/"),
        ("/simple", "/simple/"),
    ],
)
def test_names_are_redirected_to_their_one_page(client: Client, path: str, location: str) -> None:
    answer = client.request("GET", path)
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://pypi.example.org:8443{location}"


def test_pages_are_html_or_json_as_the_client_asks(client: Client) -> None:
    client.upload(WHEEL, wheel())
    for path in ("/simple/", "/simple/demo/"):
        html = client.request("GET", path, HTTP_ACCEPT="text/html")
        assert html.headers["Content-Type"] == "text/html; charset=utf-8"
        assert html.text.startswith("<!DOCTYPE html>")
        accept = "application/vnd.pypi.simple.v1+json, text/html; q=0.01"
        content = client.request("GET", path, HTTP_ACCEPT=accept)
        assert content.headers["Content-Type"] == "application/vnd.pypi.simple.v1+json"
        assert json.loads(content.body)["meta"] == {"api-version": "1.1"}
        assert html.headers["Vary"] == content.headers["Vary"] == "Accept"
        assert html.headers["ETag"] != content.headers["ETag"]
        assert int(content.headers["Content-Length"]) == len(content.body)


def test_the_list_of_all_files_is_sent_piece_by_piece(client: Client, store: PackageStore) -> None:
    assert len(client.request("GET", "/packages/").body) > 100
    for number in range(20):
        name = f"demo-1.{number}.tar.gz"
        assert client.upload(name, sdist("demo", f"1.{number}")).status == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyindex_pypiserver.reading._BATCH", 3)
        page = client.request("GET", "/packages/")
    assert "Content-Length" not in page.headers
    assert page.text.count("<a href=") == 20 == len(list(store.files()))


def test_nothing_that_is_asked_for_walks_through_the_files(
    client: Client, store: PackageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.upload(WHEEL, wheel())

    def refuse(*_unused: Any) -> None:
        raise AssertionError("the packages folder is listed")

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    for path in ("/", "/health", "/simple/", "/simple/demo/", "/simple/no/", "/demo/json", f"/packages/{WHEEL}"):
        assert client.request("GET", path).status in (200, 404)
    assert client.upload(SDIST, sdist()).status == 200
    # Nor does a start
    assert PackageStore(store.root, store.publisher.pages).publisher.records.complete


def test_an_unknown_project_is_never_looked_for_elsewhere(client: Client) -> None:
    answer = client.request("GET", "/simple/secret-project/")
    assert answer.status == 404
    assert "Location" not in answer.headers


def test_the_welcome_page_names_no_project_and_escapes_the_host(client: Client) -> None:
    client.upload(WHEEL, wheel())
    page = client.request("GET", "/", HTTP_X_FORWARDED_HOST="<script>").text
    assert "demo" not in page
    assert "<script>" not in page


def test_the_index_can_be_below_a_path(settings: Settings, store: PackageStore) -> None:
    client = Client(Index(replace(settings, url_path="/python"), store))
    fields = [(":action", "file_upload"), ("content", (WHEEL, wheel()))]
    assert client.post(fields, path="/python/").status == 200
    assert client.post(fields, path="/python").status == 409
    assert client.post(fields, path="/").status == 404
    assert f'href="../../packages/{WHEEL}#' in client.request("GET", "/python/simple/demo/").text
    assert f'href="{WHEEL}#' in client.request("GET", "/python/packages/").text
    assert client.request("GET", f"/python/packages/{WHEEL}").body == wheel()
    location = "https://pypi.example.org:8443/python/simple/demo/"
    assert client.request("GET", "/python/demo/").headers["Location"] == location
    assert client.request("GET", "/python/simple/Demo/").headers["Location"] == location
    assert client.request("GET", "/python").headers["Location"] == "/python/"
    assert "https://pypi.example.org:8443/python/simple/" in client.request("GET", "/python/").text
    for path in ("/", "/simple/", "/pythonic/", "/simple/python/"):
        assert client.request("GET", path).status == 404


def test_a_message_with_odd_bytes_stays_one_line(client: Client) -> None:
    answer = client.upload(SDIST, tar_of({"demo-1.0/PKG-INFO": b"Name: x\xff\x00\x1b[31m\nVersion: 1.0\n"}))
    assert answer.status == 400
    assert is_one_line(answer)
    assert answer.reason.isascii()


def test_the_user_that_nginx_names_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    fields = [(":action", "file_upload"), ("content", (WHEEL, wheel()))]
    client.post(fields, HTTP_X_REMOTE_USER="uploader")
    client.post(fields, HTTP_X_REMOTE_USER="up\nloader")
    assert f"user 'uploader': stored {WHEEL}" in caplog.text
    assert "user 'up\\nloader': refused with 409" in caplog.text


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PYINDEX_PACKAGES_DIR": str(tmp_path),
        "PYINDEX_PAGES_DIR": str(tmp_path / "pages"),
        "PYINDEX_URL_PATH": "/python/",
        "PYINDEX_OVERWRITE": "1",
        "PYINDEX_REMOVAL": "0",
        "PYINDEX_MAX_UPLOAD_MB": "3",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming" / "stale.part").write_bytes(b"of a killed server")
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    index = application()
    assert index.settings == Settings(
        tmp_path, tmp_path / "pages", "/python", overwrite=True, removal=False, max_upload_bytes=3 * 2**20
    )
    assert list((tmp_path / ".incoming").glob("*.part")) == []


def test_pages_that_are_being_made_are_not_missing(client: Client, store: PackageStore) -> None:
    shutil.rmtree(store.publisher.pages)
    for path in ("/simple/", "/simple/demo/"):
        answer = client.request("GET", path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert is_one_line(answer)
    # What is made already is served
    assert client.upload(WHEEL, wheel()).status == 200
    assert client.request("GET", "/simple/demo/").status == 200
    assert client.request("GET", "/simple/other/").status == 503
    assert client.request("GET", "/simple/").status == 503
    reconcile(store.publisher)
    assert client.request("GET", "/simple/").status == 200
    assert client.request("GET", "/simple/other/").status == 404
