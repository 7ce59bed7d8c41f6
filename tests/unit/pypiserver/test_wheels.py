"""Wheels and their RECORD: what it says of a file is true, and it says something of every file."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from pyindex_pypiserver import wheels
from pyindex_pypiserver.archives import ArchiveError
from pyindex_pypiserver.wheels import read_wheel
from tests.unit.pypiserver.made import digest, record_of, wheel_members, zip_of

FOLDER = "demo-1.0.dist-info"
RECORD = f"{FOLDER}/RECORD"
CODE = b"answer = 42\n" * 40
RIGHT = wheel_members()[RECORD].decode()
LINE = RIGHT.splitlines()[0]


def read(record: str | bytes | None = None, more: dict[str, bytes] | None = None) -> wheels.Wheel:
    """Read a wheel with this *record*, or with one that is right, and *more* than it names."""
    members = wheel_members()
    if record is not None:
        members[RECORD] = record.encode() if isinstance(record, str) else record
    return read_wheel(io.BytesIO(zip_of({**members, **(more or {})})))


HEXADECIMAL = f"sha256={hashlib.sha256(CODE).hexdigest()}"
TRUE = {
    "as it should be": RIGHT,
    "line ends of Windows": RIGHT.replace("\n", "\r\n"),
    "no line end at the end": RIGHT.rstrip("\n"),
    "empty lines": f"\n{RIGHT}\n\n",
    "everything in quotes": "".join(f'"{line}"\n'.replace(",", '","') for line in RIGHT.splitlines()),
    "backslashes": RIGHT.replace("demo/__init__", "demo\\__init__"),
    "padded digests": RIGHT.replace(digest(CODE), f"{digest(CODE)}="),
    # As sphinx-theme-builder, say, wrote them
    "hexadecimal digests": RIGHT.replace(f"sha256={digest(CODE)}", HEXADECIMAL),
    "no digests": "".join(f"{line.split(',')[0]},,\n" for line in RIGHT.splitlines()),
    "no sizes": RIGHT.replace(",480", ","),
    "itself not named": RIGHT.replace(f"{RECORD},,\n", ""),
    "byte order mark": f"\ufeff{RIGHT}",
    "folders": f"demo/,,\n{RIGHT}demo,,\n",
    "a line twice": f"{LINE}\n{RIGHT}",
}


@pytest.mark.parametrize("record", TRUE.values(), ids=TRUE)
def test_a_record_is_true_however_it_is_written(record: str) -> None:
    found = read(record)
    assert found.folder == FOLDER
    assert b"Name: demo\n" in found.metadata


@pytest.mark.parametrize("name", ["sha384", "sha512", "sha3_256", "blake2b"])
def test_better_digests_than_sha256_are_compared_too(name: str) -> None:
    right = f"{name}={hashlib.new(name, CODE).hexdigest()}"
    read(RIGHT.replace(f"sha256={digest(CODE)}", right))
    with pytest.raises(ArchiveError, match="not that of the file"):
        read(RIGHT.replace(f"sha256={digest(CODE)}", f"{name}={hashlib.new(name, b'x').hexdigest()}"))


LIES: dict[str, tuple[str | bytes, str]] = {
    "digest of another file": (RIGHT.replace(digest(CODE), digest(b"x")), "digest of 'demo/__init__.py' is not that"),
    "digest of nothing": (RIGHT.replace(digest(CODE), ""), "is not that"),
    "nonsense for a digest": (RIGHT.replace(digest(CODE), "wrong"), "is not that"),
    "digest that is none": (RIGHT.replace("sha256=", "", 1), "no sha256 or better"),
    "weak digest": (RIGHT.replace(f"sha256={digest(CODE)}", f"md5={hashlib.md5(CODE).hexdigest()}"), "no sha256"),  # noqa: S324
    "unknown digest": (RIGHT.replace("sha256=", "crc=", 1), "no sha256 or better"),
    "size of another file": (RIGHT.replace(",480", ",479"), "'479' bytes of 'demo/__init__.py', which has 480"),
    "size that is none": (RIGHT.replace(",480", ",many"), "'many' bytes"),
    "size below zero": (RIGHT.replace(",480", ",-480"), "'-480' bytes"),
    "a file that is not there": (f"{RIGHT}demo/more.py,,\n", "lacks 'demo/more.py', which its RECORD names"),
    "a file elsewhere": (f"{RIGHT}../../etc/passwd,,\n", "lacks '../../etc/passwd'"),
    "a folder that is not there": (f"{RIGHT}other/,,\n", "lacks 'other/'"),
    "a folder elsewhere": (f"{RIGHT}../,,\n", r"lacks '\.\./'"),
    "a file not named": (RIGHT.replace(f"{LINE}\n", ""), "has 'demo/__init__.py', which its RECORD does not name"),
    "nothing": ("", "which its RECORD does not name"),
    "two things of a file": (f"{RIGHT}demo/__init__.py,,\n", "two things of 'demo/__init__.py'"),
    "too few fields": (f"demo/__init__.py,\n{RIGHT}", "no list of path, digest and size"),
    "too many fields": (f"demo/__init__.py,,,\n{RIGHT}", "no list of path, digest and size"),
    "quote that is not closed": (f'{RIGHT}"demo', "no list of path"),
    "no UTF-8": (b"\xff\xfe," + RIGHT.encode(), "no list of path"),
    "a field longer than any name": (f"{'x' * 200_000},,\n{RIGHT}", "no list of path"),
    "HTML": (f"<script>,,\n{RIGHT}", "lacks '<script>'"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_record_that_lies_is_refused(what: str) -> None:
    record, reason = LIES[what]
    with pytest.raises(ArchiveError, match=reason) as refusal:
        read(record)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 400


def test_more_than_record_names_is_refused_and_its_signatures_are_not() -> None:
    read(more={f"{RECORD}.jws": b"{}", f"{RECORD}.p7s": b"x", "demo/": b""})
    with pytest.raises(ArchiveError, match=r"has 'evil\.pth', which its RECORD does not name"):
        read(more={"evil.pth": b"import os"})


def test_a_record_is_read_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "MAX_RECORD_BYTES", 1000)
    read()
    with pytest.raises(ArchiveError, match="over 1000 bytes"):
        read(RIGHT + "\n" * 1000)


@pytest.mark.parametrize("missing", ["METADATA", "WHEEL", "RECORD"])
def test_what_every_wheel_has_is_not_missing(missing: str) -> None:
    members = {path: content for path, content in wheel_members().items() if not path.endswith(missing)}
    with pytest.raises(ArchiveError, match=f"no file {missing} in '{FOLDER}'"):
        read_wheel(io.BytesIO(zip_of(members)))


def test_a_damaged_member_is_found_where_record_says_nothing_of_it() -> None:
    data = bytearray(zip_of({**wheel_members(), RECORD: TRUE["no digests"].encode()}, zipfile.ZIP_STORED))
    data[data.index(CODE)] ^= 1
    with pytest.raises(ArchiveError, match="another checksum"):
        read_wheel(io.BytesIO(bytes(data)))


def test_ten_thousand_members_are_read_as_they_come() -> None:
    members = {f"demo/{number}.py": b"%d" % number for number in range(10_000)}
    assert read_wheel(io.BytesIO(zip_of(wheel_members(more=members)))).folder == FOLDER


def test_empty_folders_may_be_named_without_their_slash() -> None:
    members = {**wheel_members(), "demo/data/": b""}
    members[RECORD] = f"{RIGHT}demo/data,,\n".encode()
    assert read_wheel(io.BytesIO(zip_of(members))).folder == FOLDER


def test_folders_may_be_named() -> None:
    members = {**wheel_members(), "demo/data/": b""}
    members[RECORD] = record_of({path: members[path] for path in members if path != RECORD}, FOLDER)
    assert read_wheel(io.BytesIO(zip_of(members))).folder == FOLDER
