"""The benchmark's wheels are what pip and the servers take for wheels."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile

import pytest

from tests.bench.peers.host import wheels


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    "content",
    [
        wheels.tiny("bench-00042", "1.17"),
        wheels.tiny("bench-09999", "1.29"),
        wheels.tiny("up68f0c1-00003", "1.0"),
        wheels.tiny("t" * 11, "9999"),
        wheels.padded("bench-large", "1.0", 100_000),
    ],
)
def test_record_tells_the_truth(content: bytes) -> None:
    """PEP 427: RECORD names each file with its hash and size."""
    found = members(content)
    [record] = [name for name in found if name.endswith(".dist-info/RECORD")]
    lines = {line[0]: line[1:] for line in csv.reader(found[record].decode().splitlines())}
    assert lines.pop(record) == ["", ""]
    assert lines.keys() == found.keys() - {record}
    for name, (digest, size) in lines.items():
        expected = base64.urlsafe_b64encode(hashlib.sha256(found[name]).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={expected}", len(found[name]))


def test_names_and_metadata_are_the_wanted_ones() -> None:
    found = members(wheels.tiny("bench-00042", "1.17"))
    assert found["bench_00042-1.17.dist-info/METADATA"] == wheels.metadata("bench-00042", "1.17")
    assert wheels.filename("bench-00042", "1.17") == "bench_00042-1.17-py3-none-any.whl"


def test_padded_wheels_have_about_the_wanted_size_and_do_not_compress() -> None:
    content = wheels.padded("bench-large", "1.0", 100_000)
    assert 100_000 <= len(content) < 102_000
    assert wheels.padded("bench-large", "1.0", 100_000) != content
