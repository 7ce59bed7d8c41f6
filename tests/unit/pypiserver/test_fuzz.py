"""Whatever is sent or found: an answer in one line or the right result, and never another exception."""

# ruff: noqa: PT017 - an example may raise or not
from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pyindex_pypiserver import wheels, yanks
from pyindex_pypiserver.archives import ArchiveError, shorten
from pyindex_pypiserver.distributions import DistributionError, check_file, parse_name
from pyindex_pypiserver.publishing import project_of
from pyindex_pypiserver.storage import PackageStore
from pyindex_pypiserver.uploads import Refusal, read_form
from tests.unit.pypiserver.made import sdist, sdist_members, tar_of, wheel, wheel_members

SDIST = "demo-1.0.tar.gz"
# Folders of a fixture may be used by all examples
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
NAME_PARTS = st.sampled_from(
    [
        "demo",
        "-",
        "1.0",
        ".whl",
        ".tar.gz",
        ".zip",
        "py3",
        "none",
        "any",
        "_",
        ".",
        "/",
        "\\",
        "..",
        "\x00",
        "%2f",
        "<b>",
        '"',
        "&",
        "+local",
        "!",
        "ü",
        "\u202e",
        "2",
        "cp311.cp312",
        "PKG",
    ]
)
CHANGES = st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=5)


def is_one_line(message: str) -> bool:
    return message.isprintable() and message.isascii() and len(message) < 1000


@given(st.lists(NAME_PARTS, max_size=12).map("".join) | st.text(max_size=60))
def test_a_file_name_is_taken_apart_or_refused(text: str) -> None:
    try:
        name = parse_name(text)
    except DistributionError as error:
        assert is_one_line(str(error))
        return
    assert name.text == text
    assert name.project == canonicalize_name(name.project) == project_of(text)
    assert not set(text) & set("/\\<>\"'&%\0\n ")


@given(st.text())
def test_whatever_is_quoted_is_one_line(text: str) -> None:
    assert is_one_line(shorten(text))


@given(st.binary(max_size=300) | st.text(',"=\r\n\\x/.é<', max_size=100).map(str.encode))
def test_a_record_is_read_or_refused(record: bytes) -> None:
    try:
        claims = wheels._claims(record)
    except ArchiveError as error:
        assert is_one_line(str(error))
    else:
        assert all(isinstance(path, str) for path in claims)


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    return bytes(damaged)


WHEEL_DATA = wheel()


@given(CHANGES)
def test_a_wheel_that_is_damaged_anywhere_is_refused(changes: list[tuple[int, int]]) -> None:
    data = changed(WHEEL_DATA, changes)
    try:
        metadata = check_file(io.BytesIO(data), parse_name("demo-1.0-py3-none-any.whl"))
    except DistributionError as error:
        assert is_one_line(str(error))
    else:
        assert metadata.content == wheel_members()["demo-1.0.dist-info/METADATA"]


LONG = f"demo-1.0/{'long/' * 40}ü.py"
TARS = [
    gzip.decompress(sdist()),
    *(
        gzip.decompress(tar_of({LONG: b"x", **sdist_members()}, kind))
        for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
    ),
]


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, len(TARS) - 1),
    CHANGES,
    st.integers(0),
    st.sampled_from([b"", bytes(512), b"27 path=demo-1.0/PKG-INFO\n"]),
)
def test_a_source_distribution_says_to_us_what_it_says_to_the_standard_library(
    which: int, changes: list[tuple[int, int]], place: int, inserted: bytes
) -> None:
    # In headers rather than in content, most of the time
    changes = [(position // 512 * 512 + position % 160, value) for position, value in changes]
    damaged = bytearray(changed(TARS[which], changes))
    for start in range(0, len(damaged), 512):
        block = damaged[start : start + 512]
        if block[257:262] == b"ustar":
            # A checksum that fits, or every change would be refused for it
            block[148:156] = b" " * 8
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    place = place % len(damaged) // 512 * 512
    damaged[place : place + len(inserted)] = inserted
    try:
        found = check_file(io.BytesIO(gzip.compress(bytes(damaged), 1)), parse_name(SDIST)).content
    except DistributionError as error:
        assert is_one_line(str(error))
        return
    with tarfile.open(fileobj=io.BytesIO(bytes(damaged))) as archive:
        members = [member for member in archive if member.isreg() and member.name.removeprefix("./").count("/") == 1]
        [info] = [member for member in members if member.name.endswith("/PKG-INFO")]
        file = archive.extractfile(info)
        assert file is not None
        assert file.read() == found
        for member in archive:
            assert not member.name.startswith("/")
            assert ".." not in member.name.split("/")
            tarfile.data_filter(member, "/nowhere")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@SHARED
@given(
    JSON.map(json.dumps).map(str.encode)
    | st.binary(max_size=50)
    | st.dictionaries(st.text(), st.text()).map(json.dumps).map(str.encode)
)
def test_what_is_withdrawn_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    known = yanks.Yanks(tmp_path)
    known.folder.mkdir(exist_ok=True)
    (known.folder / "demo.json").write_bytes(content)
    try:
        reasons = known.of("demo")
    except ValueError as error:
        assert "mend or remove it" in str(error)
    else:
        assert all("\n" not in reason for reason in reasons.values())
        yanks.text(reasons).encode()


FORM = (
    b'--b\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n'
    b'--b\r\nContent-Disposition: form-data; name="content"; filename="demo-1.0.tar.gz"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + sdist() + b"\r\n--b--\r\n"
)


@SHARED
@given(
    CHANGES,
    st.integers(0, len(FORM)),
    st.sampled_from(["multipart/form-data; boundary=b", "", "a/b; boundary=", "x" * 9]),
)
def test_a_form_is_read_or_refused_and_leaves_nothing(
    store: PackageStore, changes: list[tuple[int, int]], length: int, kind: str
) -> None:
    body = changed(FORM, changes)[:length] or b""
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO(body), "CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))}
    try:
        with read_form(environ, store, 2**20) as form:
            assert form.content is None or form.name is not None
    except Refusal as refusal:
        assert 400 <= refusal.status < 500
        assert "\n" not in refusal.message
    assert list(store.incoming.glob("*.part")) == []


@pytest.mark.parametrize("text", ["", "x" * 100_000, "\0", "-", "--", "a-", ".whl", "-.whl", ".tar.gz", "-.tar.gz"])
def test_odd_names_belong_to_a_project_or_to_none(text: str) -> None:
    assert project_of(text) is None or isinstance(project_of(text), str)
