"""Pages, read back as installers read them: nothing that came from outside can change what they say."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest

from pyindex_pypiserver.pages import (
    ReleaseFile,
    compressed,
    in_order,
    list_html,
    list_json,
    negotiate,
    project_html,
    project_json,
    upload_time,
)

WHEEL = ReleaseFile(
    name="demo-1.0-py3-none-any.whl",
    version="1.0",
    size=1234,
    sha256="a" * 64,
    uploaded_ns=1_700_000_000_123_456_789,
    requires_python=">=3.8,<4",
    metadata_sha256="b" * 64,
)
SDIST = ReleaseFile(name="demo-1.0+local.1.tar.gz", version="1.0+local.1", size=99, sha256="c" * 64, uploaded_ns=0)


class Links(HTMLParser):
    """Collects the links of a page, and everything that is none."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[tuple[str, dict[str, str | None]]] = []
        self.tags: list[str] = []
        self.version: str | None = None
        self._open = False
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open = tag == "a"
        if tag == "a":
            self.links.append(("", dict(attrs)))
        if dict(attrs).get("name") == "pypi:repository-version":
            self.version = dict(attrs)["content"]

    def handle_data(self, data: str) -> None:
        if self._open:
            self.links[-1] = (self.links[-1][0] + data, self.links[-1][1])

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "a"


def test_a_project_page_as_html_says_what_the_standards_ask_for() -> None:
    page = Links(project_html("demo", [WHEEL, SDIST]))
    assert page.version == "1.1"
    assert page.links == [
        (
            WHEEL.name,
            {
                "href": f"../../packages/{WHEEL.name}#sha256={'a' * 64}",
                "data-requires-python": ">=3.8,<4",
                "data-core-metadata": f"sha256={'b' * 64}",
                "data-dist-info-metadata": f"sha256={'b' * 64}",
            },
        ),
        (SDIST.name, {"href": f"../../packages/demo-1.0%2Blocal.1.tar.gz#sha256={'c' * 64}"}),
    ]


def test_a_project_page_as_json_says_what_the_standards_ask_for() -> None:
    assert json.loads(project_json("demo", [WHEEL, SDIST])) == {
        "meta": {"api-version": "1.1"},
        "name": "demo",
        "versions": ["1.0", "1.0+local.1"],
        "files": [
            {
                "filename": WHEEL.name,
                "url": f"../../packages/{WHEEL.name}",
                "hashes": {"sha256": "a" * 64},
                "size": 1234,
                "upload-time": "2023-11-14T22:13:20.123456Z",
                "requires-python": ">=3.8,<4",
                "core-metadata": {"sha256": "b" * 64},
                "data-dist-info-metadata": {"sha256": "b" * 64},
            },
            {
                "filename": SDIST.name,
                "url": "../../packages/demo-1.0%2Blocal.1.tar.gz",
                "hashes": {"sha256": "c" * 64},
                "size": 99,
                "upload-time": "1970-01-01T00:00:00.000000Z",
            },
        ],
    }


@pytest.mark.parametrize(
    ("reason", "as_html", "as_json"),
    [("", "", True), ("broken", "broken", "broken"), ('"><script>', '"><script>', '"><script>')],
)
def test_a_withdrawn_file_says_why(reason: str, as_html: str, as_json: Any) -> None:
    file = ReleaseFile("demo-1.0.tar.gz", "1.0", 1, "a" * 64, 0, yanked=reason)
    [(_name, attributes)] = Links(project_html("demo", [file])).links
    assert attributes["data-yanked"] == as_html
    assert json.loads(project_json("demo", [file]))["files"][0]["yanked"] == as_json


@pytest.mark.parametrize("names", [[], ["demo"], ["a", "b-c", "zope-interface"]])
def test_the_project_list_names_every_project_in_both_forms(names: list[str]) -> None:
    page = Links(list_html("\n".join(names)))
    assert page.version == "1.1"
    assert page.links == [(name, {"href": f"{name}/"}) for name in names]
    content = json.loads(list_json("\n".join(names)))
    assert content == {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]}


def test_files_are_shown_by_version() -> None:
    versions = ["1.10", "1.9", "1.9rc1", "2.0.dev1"]
    files = [ReleaseFile(f"demo-{version}.tar.gz", version, 1, "", 0) for version in versions]
    assert [file.version for file in in_order(files)] == ["1.9rc1", "1.9", "1.10", "2.0.dev1"]


def test_a_page_that_is_worth_it_is_compressed_and_always_to_the_same_bytes() -> None:
    page = project_html("demo", [WHEEL] * 10)
    data = compressed(page)
    assert data is not None
    assert gzip.decompress(data) == page
    assert compressed(page) == data
    assert compressed(b"short") is None


@pytest.mark.parametrize("nanoseconds", [-1, 10**30, -(10**30)])
def test_a_time_that_no_clock_shows_is_still_a_time(nanoseconds: int) -> None:
    assert len(upload_time(nanoseconds)) == len("2023-11-14T22:13:20.123456Z")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        # pip, uv, browsers, curl, old installers
        (
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
            "json",
        ),
        (
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
            "json",
        ),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("*/*", "html"),
        ("", "html"),
        ("text/html; q=0.01, application/vnd.pypi.simple.v1+json; q=0.5", "json"),
        ("text/html, application/vnd.pypi.simple.v1+json; q=0.5", "html"),
        ("application/vnd.pypi.simple.v1+json; q=0", "html"),
        ("application/vnd.pypi.simple.v1+json; q=x", "html"),
        ("application/vnd.pypi.simple.v2+json", "html"),
        ("APPLICATION/VND.PYPI.SIMPLE.LATEST+JSON", "json"),
        ("application/json", "html"),
    ],
)
def test_the_client_gets_the_form_that_it_asks_for(accept: str, form: str) -> None:
    assert negotiate(accept) == form


def test_no_page_holds_anything_unescaped() -> None:
    hypothesis = pytest.importorskip("hypothesis")
    text = hypothesis.strategies.text
    files = hypothesis.strategies.lists(
        hypothesis.strategies.builds(
            ReleaseFile,
            name=text(min_size=1),
            version=hypothesis.strategies.sampled_from(["1.0", "2.0rc1"]),
            size=hypothesis.strategies.integers(0),
            sha256=text("0123456789abcdef", min_size=64, max_size=64),
            uploaded_ns=hypothesis.strategies.integers(),
            requires_python=hypothesis.strategies.none() | text(),
            metadata_sha256=hypothesis.strategies.none() | text("0123456789abcdef", min_size=64, max_size=64),
            yanked=hypothesis.strategies.none() | text(),
        ),
        max_size=5,
    )

    def check(files: list[ReleaseFile]) -> None:
        page = Links(project_html("demo", files))
        assert page.tags.count("a") == len(files) == len(page.links)
        assert set(page.tags) <= {"html", "head", "meta", "title", "body", "h1", "a", "br"}
        for file, (_text, attributes) in zip(files, page.links, strict=True):
            href = attributes.pop("href") or ""
            assert unquote(href) == f"../../packages/{file.name}#sha256={file.sha256}"
            expected = {
                "data-requires-python": file.requires_python,
                "data-core-metadata": file.metadata_sha256 and f"sha256={file.metadata_sha256}",
                "data-dist-info-metadata": file.metadata_sha256 and f"sha256={file.metadata_sha256}",
                "data-yanked": file.yanked,
            }
            assert {name: value or "" for name, value in attributes.items()} == {
                name: re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", " ".join(value.split()))
                for name, value in expected.items()
                if value is not None
            }
        content = json.loads(project_json("demo", files))
        for file, entry in zip(files, content["files"], strict=True):
            assert entry["filename"] == file.name
            assert entry.get("requires-python") == file.requires_python
            assert entry.get("yanked") == (None if file.yanked is None else file.yanked or True)

    hypothesis.given(files)(check)()


def test_no_project_list_holds_anything_unescaped() -> None:
    hypothesis = pytest.importorskip("hypothesis")

    def check(names: list[str]) -> None:
        joined = "\n".join(names)
        page = Links(list_html(joined))
        assert set(page.tags) <= {"html", "head", "meta", "title", "body", "h1", "a", "br"}
        assert [attributes["href"] for _text, attributes in page.links] == [f"{name}/" for name in names]
        assert [project["name"] for project in json.loads(list_json(joined))["projects"]] == names

    # Names are normalised before they come here; these need not be
    text = hypothesis.strategies.text(
        hypothesis.strategies.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1
    )
    hypothesis.given(hypothesis.strategies.lists(text, max_size=6))(check)()


def test_any_accept_header_is_answered() -> None:
    hypothesis = pytest.importorskip("hypothesis")

    def check(accept: str) -> None:
        assert negotiate(accept) in ("html", "json")

    hypothesis.given(hypothesis.strategies.text(" ,;=q.0123456789*/+jsonhtmlapplication"))(check)()
