"""Zip archives: what is accepted says one thing only, to every reader, and reading it takes no more than its size."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyindex_pypiserver.archives import ArchiveError
from pyindex_pypiserver.zips import Zip
from tests.unit.pypiserver.made import zip_of

MEMBERS = {"a.py": b"a = 1\n" * 100, "b/": b"", "b/c.bin": bytes(range(256)), "d": b""}


def content_of(data: bytes) -> dict[str, bytes]:
    """What our reader finds; raises as it does."""
    archive = Zip(io.BytesIO(data))
    found = {}
    for path, member in archive.members.items():
        pieces: list[bytes] = []
        archive.stream(member, pieces.append)
        found[path] = b"".join(pieces)
    return found


def content_by_zipfile(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
        return {path.replace("\\", "/"): archive.read(path) for path in archive.namelist()}


def content_by_streaming(data: bytes) -> dict[str, bytes]:
    """What a reader finds that never looks at the table of contents."""
    found, position = {}, 0
    while data[position : position + 4] == b"PK\x03\x04":
        flags, method, _crc, packed, _size, name_length, extra_length = struct.unpack_from(
            "<6xHH4xLLLHH", data, position
        )
        assert not flags & 8
        position += 30
        name = data[position : position + name_length]
        extra = data[position + name_length : position + name_length + extra_length]
        if packed == 0xFFFFFFFF:
            (packed,) = struct.unpack_from("<Q", extra, 12)
        position += name_length + extra_length
        content = data[position : position + packed]
        found[name.decode().replace("\\", "/")] = zlib.decompress(content, -15) if method == 8 else content
        position += packed
    assert data[position : position + 4] in (b"PK\x01\x02", b"PK\x05\x06")
    return found


def zip_64() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in MEMBERS.items():
            with archive.open(path, "w", force_zip64=True) as member:
                member.write(content)
    return data.getvalue()


def large_end(data: bytes) -> bytes:
    """Return *data* with the end of a large archive (APPNOTE 4.3.14)."""
    count, length, start = struct.unpack("<H2xLL2x", data[-14:])[0:1] + struct.unpack("<LL", data[-10:-2])
    end = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1)
    return (
        data[:-22] + end + locator + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0)
    )


def zip_64_of_rust(lie: int = 0) -> bytes:
    """Return what Rust's crate zip writes with large_file(true): the sizes in the table twice, in 32 and in 64 bits.

    With *lie* the second ones are so much more.
    """
    data = zip_64()
    table, start = b"", data.index(b"PK\x01\x02")
    place, end = start, len(data) - 22
    while place < end:
        packed, size, name_length, extra_length = struct.unpack_from("<20xLLHH", data, place)
        name = data[place + 46 : place + 46 + name_length]
        assert extra_length == 0
        field = struct.pack("<HHQQ", 1, 16, size + lie, packed + lie)
        table += data[place : place + 30] + struct.pack("<H", len(field)) + data[place + 32 : place + 46] + name + field
        place += 46 + name_length
    return data[:start] + table + data[end:-10] + struct.pack("<L", len(table)) + data[-6:]


PLAIN = zip_of(MEMBERS)


@pytest.mark.parametrize(
    "data",
    [PLAIN, zip_of(MEMBERS, zipfile.ZIP_STORED), zip_64(), zip_64_of_rust(), large_end(PLAIN), zip_of({})],
)
def test_a_right_archive_is_read_as_others_read_it(data: bytes) -> None:
    assert content_of(data) == content_by_zipfile(data) == content_by_streaming(data)


def test_a_name_may_be_any_utf_8() -> None:
    assert content_of(zip_of({"ü/猫.py": b"x"})) == {"ü/猫.py": b"x"}


def patched(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


def set_central(data: bytes, offset: int, kind: str, value: int, entry: int = 0) -> bytes:
    """Change a field of an entry of the table of contents."""
    changed = bytearray(data)
    place = -1
    for _unused in range(entry + 1):
        place = data.index(b"PK\x01\x02", place + 1)
    struct.pack_into(kind, changed, place + offset, value)
    return bytes(changed)


def set_both(data: bytes, local: int, central: int, kind: str, value: int) -> bytes:
    changed = bytearray(set_central(data, central, kind, value))
    struct.pack_into(kind, changed, local, value)
    return bytes(changed)


def moved(data: bytes, by: int) -> bytes:
    """Return the end of *data* with the table of contents *by* bytes further on."""
    (start,) = struct.unpack("<L", data[-6:-2])
    return data[:-6] + struct.pack("<L", start + by) + data[-2:]


def overlapping() -> bytes:
    """Return an archive whose second entry is the first one's again: what grows a small file to any size."""
    data = zip_of({"a": bytes(1000), "b": bytes(1000)})
    return set_central(data, 42, "<L", 0, 1)


def nested() -> bytes:
    """Return an archive with a member that is inside another one."""
    inner = zip_of({"inner": b"x" * 50}, zipfile.ZIP_STORED)
    outer = zip_of({"outer": inner, "inner": b"x" * 50}, zipfile.ZIP_STORED)
    return set_central(outer, 42, "<L", outer.index(inner), 2)


def with_hidden_member() -> bytes:
    """Return an archive with a member that only those see who read it from the start."""
    hidden = zip_of({"hidden": b"evil"}, zipfile.ZIP_STORED)
    local = hidden[: hidden.index(b"PK\x01\x02")]
    data = zip_of({"a": b"good"}, zipfile.ZIP_STORED)
    start = data.index(b"PK\x01\x02")
    return moved(data[:start] + local + data[start:], len(local))


class Stream(io.BytesIO):
    """One that cannot be gone back in."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_unused: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def streamed() -> bytes:
    data = Stream()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a", b"x")
    return data.getvalue()


def twice() -> bytes:
    data = zip_of({"a": b"1", "b": b"2"})
    return patched(data, b"b", b"a")


def with_extra(extra: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.extra = extra
        archive.writestr(info, b"x")
    return data.getvalue()


def with_comment(of_member: bool) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.comment = b"PK" if of_member else b""
        archive.writestr(info, b"x")
        archive.comment = b"" if of_member else b"PK"
    return data.getvalue()


def with_folder_data() -> bytes:
    """Return an archive with a folder, whose deflated data is some bytes long."""
    return zip_of({"b/": b"hidden"})


ONE = zip_of({"a": b"x" * 1000}, zipfile.ZIP_STORED)
WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "something before": (lambda: b"#!/bin/sh\n" + PLAIN, "not where it should be"),
    "something before, said so": (
        lambda: moved(set_central(b"x" + ONE, 42, "<L", 1), 1),
        "before 'a' that is in no table",
    ),
    "something behind": (lambda: PLAIN + b"x", "does not end"),
    "two archives": (lambda: ONE + PLAIN, "not where it should be"),
    "comment": (lambda: with_comment(False), "has a comment"),
    "comment that breaks off": (lambda: with_comment(False)[:-1], "does not end"),
    "comment of a member": (lambda: with_comment(True), "comment"),
    "hidden member": (with_hidden_member, "between its members"),
    "overlapping": (overlapping, "something before"),
    "nested": (nested, "in no table|not where it should be"),
    "same name twice": (twice, "'a' twice"),
    "same name in two spellings": (lambda: zip_of({"a/b": b"1", "a\\b": b"2"}), "'a/b' twice"),
    "another name before the member": (lambda: patched(ONE, b"a", b"b", 1), "something else than in the table"),
    "another method before the member": (lambda: ONE[:8] + b"\x08" + ONE[9:], "something else than in the table"),
    "another checksum before the member": (lambda: ONE[:14] + bytes(4) + ONE[18:], "something else than in the table"),
    "another size before the member": (lambda: ONE[:18] + bytes(4) + ONE[22:], "something else than in the table"),
    "wrong checksum": (lambda: set_both(PLAIN, 14, 16, "<L", 1), r"another checksum \(CRC-32\)"),
    "wrong checksum of what is stored": (lambda: set_both(ONE, 14, 16, "<L", 1), "another checksum"),
    "size too small": (lambda: set_both(PLAIN, 22, 24, "<L", 5), "another size"),
    "size too large": (lambda: set_both(PLAIN, 22, 24, "<L", 5000), "another size"),
    "size that is no size": (lambda: set_both(ONE, 22, 24, "<L", 5), "two sizes"),
    "reaches beyond its place": (lambda: set_both(PLAIN, 18, 20, "<L", 50_000), "beyond its place"),
    "encrypted": (lambda: set_both(PLAIN, 6, 8, "<H", 1), "is encrypted"),
    "streamed": (streamed, "data descriptor"),
    "patched data": (lambda: set_both(PLAIN, 6, 8, "<H", 0x20), "neither stored nor deflated"),
    "bzip2": (lambda: zip_of(MEMBERS, zipfile.ZIP_BZIP2), "neither stored nor deflated"),
    "NUL in a name": (lambda: patched(zip_of({"a#b": b""}), b"a#b", b"a\0b"), "control characters"),
    "line end in a name": (lambda: zip_of({"a\nb": b""}), "control characters"),
    "no name": (lambda: zip_of({"": b""}), "is empty"),
    "latin-1 name": (lambda: patched(zip_of({"a#b": b""}), b"a#b", b"a\xe4b"), "no UTF-8"),
    "name that is no UTF-8": (lambda: patched(zip_of({"äb": b""}), "äb".encode(), b"\xff\xfeb"), "no UTF-8"),
    "parent": (lambda: zip_of({"a/../../b": b""}), "outside its own folder"),
    "absolute": (lambda: zip_of({"/b": b""}), "outside its own folder"),
    "drive": (lambda: zip_of({"c:b": b""}), "outside its own folder"),
    "folder with content": (lambda: zip_of({"b/": b"x"}), "folder with content"),
    "folder with packed data": (lambda: set_both(with_folder_data(), 22, 24, "<L", 0), "folder with content"),
    "two names": (lambda: with_extra(struct.pack("<HHBL1s", 0x7075, 6, 1, zlib.crc32(b"a"), b"b")), "two names"),
    "extra field that breaks off": (lambda: with_extra(struct.pack("<HH", 0x5554, 9)), "breaks off"),
    "extra sizes": (lambda: with_extra(struct.pack("<HHQQ", 1, 16, 1, 2)), "several sizes"),
    "other extra sizes in the table": (lambda: zip_64_of_rust(lie=1), "several sizes"),
    "several volumes": (lambda: set_central(ONE, 34, "<H", 1), "several volumes"),
    "count too small": (lambda: PLAIN[:-14] + struct.pack("<HH", 2, 2) + PLAIN[-10:], "another length"),
    "count too large": (lambda: PLAIN[:-14] + struct.pack("<HH", 9, 9) + PLAIN[-10:], "table of contents is none"),
    "two ends": (lambda: large_end(PLAIN)[:-12] + struct.pack("<H", 3) + large_end(PLAIN)[-10:], "two ends"),
    "large end elsewhere": (lambda: patched(large_end(PLAIN), b"PK\x06\x06", b"PK\x06\x05"), "not where it should be"),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_what_can_be_read_in_two_ways_is_refused(what: str) -> None:
    make, reason = WRONG[what]
    with pytest.raises(ArchiveError, match=reason):
        content_of(make())


def test_a_bomb_is_refused_before_it_is_read() -> None:
    bomb = zip_of({f"{number}": bytes(2**20) for number in range(300)})
    with pytest.raises(ArchiveError, match="grows beyond"):
        Zip(io.BytesIO(bomb))


def test_a_bomb_that_lies_about_its_size_is_read_up_to_that_size() -> None:
    data = set_both(zip_of({"zeros": bytes(32 * 2**20)}), 22, 24, "<L", 1000)
    archive = Zip(io.BytesIO(data))
    taken: list[int] = []
    with pytest.raises(ArchiveError, match="another size"):
        archive.stream(archive.members["zeros"], lambda piece: taken.append(len(piece)))
    assert sum(taken) <= 1000


class Counting(io.BytesIO):
    """Counts what is read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_member_is_read_once_and_not_held(compression: int) -> None:
    content = random.Random(1).randbytes(2**20) * 24 + bytes(8 * 2**20)
    file = Counting(zip_of({"large": content}, compression))
    tracemalloc.start()
    try:
        archive = Zip(file)
        archive.stream(archive.members["large"], lambda _unused: None)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2**20
    assert file.count < len(file.getbuffer()) + 1000


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(
        [PLAIN, ONE, zip_64(), zip_64_of_rust(), large_end(PLAIN), overlapping(), nested(), with_hidden_member()]
    ),
    st.lists(st.tuples(st.integers(min_value=0), st.one_of(st.just(0), st.just(255), st.integers(0, 255))), max_size=4),
    st.sampled_from([b"", b"PK\x05\x06", b"PK\x01\x02", b"\0" * 22]),
    st.integers(min_value=0),
)
def test_whatever_is_accepted_is_the_same_to_every_reader(
    data: bytes, changes: list[tuple[int, int]], inserted: bytes, place: int
) -> None:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    damaged[place % len(damaged) : place % len(damaged)] = inserted
    data = bytes(damaged)
    try:
        found = content_of(data)
    except (ArchiveError, zlib.error, EOFError):
        return
    assert found == content_by_zipfile(data) == content_by_streaming(data)
