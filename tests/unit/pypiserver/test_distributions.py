"""Names and contents of distributions, right and wrong."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import struct
import tarfile
import zipfile

import pytest

from pyindex_pypiserver import links, tars, wheels, zips
from pyindex_pypiserver.distributions import DistributionError, check_file, compare_form, parse_name
from tests.unit.pypiserver.made import gzip_of, metadata, sdist, sdist_members, tar_of, wheel, wheel_members, zip_of

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"


def check(text: str, data: bytes) -> None:
    check_file(io.BytesIO(data), parse_name(text))


@pytest.mark.parametrize(
    ("text", "project", "version"),
    [
        ("demo-1.0-py3-none-any.whl", "demo", "1.0"),
        ("My.Demo-1.0-py3-none-any.whl", "my-demo", "1.0"),
        ("demo-1.0-7b-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "demo", "1.0"),
        ("demo-1!2.0rc1+local.1-py2.py3-none-any.whl", "demo", "1!2.0rc1+local.1"),
        ("demo-1.0.tar.gz", "demo", "1.0"),
        ("python-dateutil-2.9.0.post0.tar.gz", "python-dateutil", "2.9.0.post0"),
        ("zope.interface-5.0.zip", "zope-interface", "5.0"),
    ],
)
def test_a_file_name_tells_project_and_version(text: str, project: str, version: str) -> None:
    name = parse_name(text)
    assert (name.project, str(name.version)) == (project, version)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("../demo-1.0-py3-none-any.whl", "not allowed"),
        ("..\\demo-1.0.tar.gz", "not allowed"),
        ("/etc/demo-1.0.tar.gz", "not allowed"),
        ("sub/demo-1.0.tar.gz", "not allowed"),
        (".demo-1.0.tar.gz", "not allowed"),
        ("-demo-1.0.tar.gz", "not allowed"),
        ("de mo-1.0.tar.gz", "not allowed"),
        ("demo-1.0.tar.gz\n", "not allowed"),
        ("demo-1.0\x00.tar.gz", "not allowed"),
        ("démo-1.0.tar.gz", "not allowed"),
        ("demo%2f-1.0.tar.gz", "not allowed"),
        ("", "not allowed"),
        ("d" * 250 + "-1.0.tar.gz", "not allowed"),
        ("demo-1.0.tar.bz2", "neither a wheel"),
        ("demo-1.0.egg", "neither a wheel"),
        ("demo-1.0.exe", "neither a wheel"),
        ("demo-1.0.tar.gz.asc", "neither a wheel"),
        ("demo.txt", "neither a wheel"),
        ("demo-1.0.whl", "not named as"),
        ("demo-one-py3-none-any.whl", "not named as"),
        ("demo__x-1.0-py3-none-any.whl", "not named as"),
        ("demo.tar.gz", "not named as"),
        ("demo-1.0-beta-x.tar.gz", "not named as"),
        # pypiserver would list it as a file of the project a
        ("a-1.x-b-2.0.tar.gz", "ambiguous"),
    ],
)
def test_a_wrong_file_name_is_refused_in_one_printable_line(text: str, reason: str) -> None:
    with pytest.raises(DistributionError, match=reason) as refusal:
        parse_name(text)
    assert str(refusal.value).isprintable()
    assert str(refusal.value).isascii()
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("demo-1.0.tar.gz", "Demo-1.0.0.zip", True),
        ("my.demo-1.0-py3-none-any.whl", "My_Demo-1.0.0-py3-none-any.whl", True),
        ("demo-1.0-py2.py3-none-any.whl", "demo-1.0-py3.py2-none-any.whl", True),
        ("demo-1.0-py3-none-any.whl", "demo-1.0-1-py3-none-any.whl", False),
        ("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", False),
        ("demo-1.0.tar.gz", "demo-1.1.tar.gz", False),
    ],
)
def test_spellings_of_the_same_distribution_have_the_same_key(one: str, other: str, same: bool) -> None:
    assert (parse_name(one).key == parse_name(other).key) is same


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (WHEEL, wheel()),
        ("my.demo-1.0-py3-none-any.whl", wheel("My_Demo", "1.0.0")),
        (WHEEL, zip_of(wheel_members(), zipfile.ZIP_STORED)),
        (SDIST, sdist()),
        (SDIST, tar_of(sdist_members(), tarfile.USTAR_FORMAT)),
        (SDIST, tar_of(sdist_members(), tarfile.GNU_FORMAT)),
        (SDIST, tar_of({f"./{path}": data for path, data in sdist_members().items()})),
        ("demo-1.0.zip", zip_of(sdist_members())),
        # The folder of an old source distribution has another spelling than the file
        ("my-demo-1.0.tar.gz", tar_of({"My.Demo-1.0/PKG-INFO": metadata("My.Demo", "1.0")})),
        (SDIST, sdist(more={f"demo-1.0/{'long/' * 40}ü.py": b"x" * 1000})),
    ],
)
def test_right_distributions_are_accepted(text: str, data: bytes) -> None:
    check(text, data)


def test_long_names_of_the_metadata_are_read_in_every_tar_format() -> None:
    name = "d" * 110
    for tar_format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        check(f"{name}-1.0.tar.gz", tar_of({f"{name}-1.0/PKG-INFO": metadata(name, "1.0")}, tar_format))


@pytest.mark.parametrize(
    ("text", "data", "reason"),
    [
        (WHEEL, b"", "no zip archive"),
        (WHEEL, b"MZ this is something else", "no zip archive"),
        (WHEEL, sdist(), "no zip archive"),
        (WHEEL, b"PK\x03\x04" + b"x" * 1000, "damaged or truncated"),
        (WHEEL, wheel()[:-1], "damaged or truncated"),
        (WHEEL, wheel()[:300], "damaged or truncated"),
        (WHEEL, wheel("other"), "contains 'other 1.0'"),
        (WHEEL, wheel("demo", "1.1"), "contains 'demo 1.1'"),
        (WHEEL, zip_of({"demo/__init__.py": b""}), "0 folders .dist-info"),
        (WHEEL, zip_of({**wheel_members(), **wheel_members("other")}), "2 folders .dist-info"),
        (WHEEL, zip_of({k: v for k, v in wheel_members().items() if "RECORD" not in k}), "no file RECORD"),
        (
            WHEEL,
            zip_of(wheel_members(more={"demo-1.0.dist-info/METADATA": metadata("other", "1.0")})),
            "'other', not demo",
        ),
        (
            WHEEL,
            zip_of(wheel_members(more={"demo-1.0.dist-info/METADATA": metadata("demo", "2")})),
            "version '2', not 1.0",
        ),
        (WHEEL, wheel(more={"demo-1.0.dist-info/METADATA": b"\x00\xff"}), "0 fields Name"),
        (WHEEL, wheel(more={"demo-1.0.dist-info/METADATA": b"Name: demo\nName: x\n"}), "2 fields Name"),
        (WHEEL, zip_of(wheel_members(), zipfile.ZIP_LZMA), "neither stored nor deflated"),
        (WHEEL, wheel(more={"../evil.py": b""}), "outside its own folder"),
        (WHEEL, wheel(more={"/etc/cron.d/evil": b""}), "outside its own folder"),
        (WHEEL, wheel(more={"demo\\..\\..\\evil.py": b""}), "outside its own folder"),
        (WHEEL, wheel(more={"C:/evil.py": b""}), "outside its own folder"),
        (SDIST, b"", "no gzip archive"),
        (SDIST, wheel(), "no gzip archive"),
        (SDIST, gzip_of(b"text, no archive at all"), "damaged or truncated"),
        (SDIST, gzip_of(b"x" * 2000), "damaged or truncated"),
        (SDIST, sdist()[:-1], "damaged or truncated"),
        (SDIST, sdist()[: len(sdist()) // 2], "damaged or truncated"),
        (SDIST, sdist() + b"behind the end", "damaged or truncated"),
        (SDIST, sdist("other"), "contains the project 'other'"),
        (SDIST, sdist("demo", "2.0"), "contains version '2.0'"),
        (SDIST, tar_of({"demo-1.0/setup.py": b""}), "no file PKG-INFO"),
        (SDIST, tar_of({"PKG-INFO": metadata("demo", "1.0")}), "no file PKG-INFO"),
        (SDIST, sdist(more={"another/PKG-INFO": metadata("demo", "1.0")}), "several files PKG-INFO"),
        (SDIST, sdist(more={"../evil": b""}), "outside its own folder"),
        (SDIST, sdist(more={"/evil": b""}), "outside its own folder"),
        ("demo-1.0.zip", sdist(), "no zip archive"),
        ("demo-1.0.zip", zip_of({"demo-1.0/setup.py": b""}), "0 files PKG-INFO"),
        ("demo-1.0.zip", zip_of(sdist_members("other")), "contains the project 'other'"),
    ],
)
def test_wrong_distributions_are_refused_in_one_line(text: str, data: bytes, reason: str) -> None:
    with pytest.raises(DistributionError, match=reason) as refusal:
        check(text, data)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize(
    ("end", "accepted"), [(b"", True), (bytes(512), True), (bytes(511), False), (b"x", False), (b"x" * 512, False)]
)
def test_a_tar_may_end_with_its_last_member(end: bytes, accepted: bool) -> None:
    data = gzip.decompress(sdist()).rstrip(b"\0")
    data += bytes(-len(data) % 512) + end
    with contextlib.nullcontext() if accepted else pytest.raises(DistributionError, match="damaged or truncated"):
        check(SDIST, gzip_of(data))


def test_a_tar_does_not_end_with_a_header_for_a_member_that_is_missing() -> None:
    long = io.BytesIO()
    with tarfile.open(fileobj=long, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("demo-1.0/" + "long/" * 50))
    header = long.getvalue()[:1024]
    data = gzip.decompress(sdist()).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    for end in (b"", bytes(1024)):
        with pytest.raises(DistributionError, match="damaged or truncated"):
            check(SDIST, gzip_of(data + header + end))


def test_a_gzip_bomb_is_refused_before_it_grows() -> None:
    bomb = tar_of({"demo-1.0/zeros": bytes(80 * 2**20), **sdist_members()})
    assert len(bomb) < 2**20
    with pytest.raises(DistributionError, match="grows beyond"):
        check(SDIST, bomb)


def test_metadata_is_read_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (wheels, tars):
        monkeypatch.setattr(module, "MAX_METADATA_BYTES", 1000)
    huge = metadata("demo", "1.0") + bytes(10_000)
    with pytest.raises(DistributionError, match="over 1000 bytes"):
        check(WHEEL, wheel(more={"demo-1.0.dist-info/METADATA": huge}))
    with pytest.raises(DistributionError, match="over 1000 bytes"):
        check(SDIST, sdist(more={"demo-1.0/PKG-INFO": huge}))


def test_an_extended_header_is_read_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_METADATA_BYTES", 100_000)
    for tar_format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        check(SDIST, tar_of({"demo-1.0/" + "long/" * 1_000: b"", **sdist_members()}, tar_format))
        with pytest.raises(DistributionError, match="over 100000 bytes"):
            check(SDIST, tar_of({"demo-1.0/" + "long/" * 100_000: b"", **sdist_members()}, tar_format))


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (zips, tars):
        monkeypatch.setattr(module, "MAX_MEMBERS", 50)
    many = {f"demo-1.0/{number}.py": b"" for number in range(60)}
    with pytest.raises(DistributionError, match="more than 50 members"):
        check(WHEEL, wheel(more=many))
    with pytest.raises(DistributionError, match="more than 50 members"):
        check(SDIST, sdist(more=many))


def test_a_table_of_contents_that_lies_about_its_length_is_refused() -> None:
    data = bytearray(wheel())
    end = data.rfind(b"PK\x05\x06")
    struct.pack_into("<L", data, end + 12, 2**31)
    with pytest.raises(DistributionError, match="table of contents"):
        check(WHEEL, bytes(data))


def test_a_member_of_negative_size_is_refused() -> None:
    info = tarfile.TarInfo("demo-1.0/PKG-INFO")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    with pytest.raises(DistributionError, match="negative size"):
        check(SDIST, gzip_of(bytes(header) + bytes(2048)))


def test_a_sparse_member_is_refused() -> None:
    info = tarfile.TarInfo("demo-1.0/sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(DistributionError, match="sparse"):
        check(SDIST, gzip_of(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))


def test_links_and_folders_have_no_content() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for kind, path in ((tarfile.DIRTYPE, "demo-1.0"), (tarfile.SYMTYPE, "demo-1.0/link")):
            info = tarfile.TarInfo(path)
            info.type = kind
            info.linkname = "target"
            archive.addfile(info)
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.size = len(metadata("demo", "1.0"))
        archive.addfile(info, io.BytesIO(metadata("demo", "1.0")))
    check(SDIST, data.getvalue())


def tar_with(kind: bytes, path: str, target: str = "", pax: dict[str, str] | None = None) -> bytes:
    """Return a source distribution with a member of another *kind* than a file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sdist_members().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo(path)
        info.type, info.linkname, info.pax_headers = kind, target, pax or {}
        archive.addfile(info)
    return gzip_of(data.getvalue())


@pytest.mark.parametrize(
    ("kind", "path", "target"),
    [
        (tarfile.SYMTYPE, "demo-1.0/link", "PKG-INFO"),
        (tarfile.SYMTYPE, "demo-1.0/src/link", "../PKG-INFO"),
        (tarfile.SYMTYPE, "demo-1.0/link", "nowhere"),
        (tarfile.SYMTYPE, "demo-1.0/link", "long/" * 50),
        (tarfile.LNKTYPE, "demo-1.0/link", "demo-1.0/PKG-INFO"),
    ],
)
def test_links_inside_a_source_distribution_are_accepted(kind: bytes, path: str, target: str) -> None:
    check(SDIST, tar_with(kind, path, target))


@pytest.mark.parametrize(
    ("kind", "path", "target", "pax", "reason"),
    [
        (tarfile.SYMTYPE, "demo-1.0/link", "/etc/passwd", {}, "link that leads outside"),
        (tarfile.SYMTYPE, "demo-1.0/link", "../../etc", {}, "link that leads outside"),
        (tarfile.SYMTYPE, "link", "..", {}, "link that leads outside"),
        (tarfile.SYMTYPE, "demo-1.0/link", "../" * 50 + "etc", {}, "link that leads outside"),
        (tarfile.LNKTYPE, "demo-1.0/link", "../etc/passwd", {}, "link that leads outside"),
        (tarfile.LNKTYPE, "demo-1.0/link", "/etc/passwd", {}, "link that leads outside"),
        (tarfile.CHRTYPE, "demo-1.0/null", "", {}, "neither file nor folder nor link"),
        (tarfile.BLKTYPE, "demo-1.0/disk", "", {}, "neither file nor folder nor link"),
        (b"?", "demo-1.0/unknown", "", {}, "neither file nor folder nor link"),
        (tarfile.FIFOTYPE, "demo-1.0/pipe", "", {}, "neither file nor folder nor link"),
        (tarfile.REGTYPE, "demo-1.0/x", "", {"path": "/etc/passwd"}, "outside its own folder"),
        (tarfile.REGTYPE, "demo-1.0/x", "", {"path": "demo-1.0/\0x"}, "control characters"),
        (tarfile.REGTYPE, "demo-1.0/x", "", {"size": "1000000"}, "sparse or huge"),
        (tarfile.REGTYPE, "demo-1.0/x", "", {"GNU.sparse.realsize": "1000000"}, "sparse or huge"),
    ],
)
def test_what_leads_out_of_a_source_distribution_is_refused(
    kind: bytes, path: str, target: str, pax: dict[str, str], reason: str
) -> None:
    with pytest.raises(DistributionError, match=reason):
        check(SDIST, tar_with(kind, path, target, pax))


def tar_of_links(*members: tuple[str, str | None], hard: bool = False) -> bytes:
    """Return a source distribution with *members*: links with a target, the last one a hard one, or empty files."""
    data = io.BytesIO(gzip.decompress(sdist()))
    with tarfile.open(fileobj=data, mode="a", format=tarfile.PAX_FORMAT) as archive:
        for number, (path, target) in enumerate(members, 1):
            info = tarfile.TarInfo(path)
            if target is not None:
                info.type = tarfile.LNKTYPE if hard and number == len(members) else tarfile.SYMTYPE
                info.linkname = target
            archive.addfile(info)
    return gzip_of(data.getvalue())


UP = ("demo-1.0/s/t/l1", "../..")
LINKS_OUT: dict[str, tuple[bytes, str]] = {
    "chain": (tar_of_links(UP, ("demo-1.0/s/t/l2", "l1/../.."), ("demo-1.0/s/t/l2/evil", None)), "below one"),
    "chain that nothing is written to": (tar_of_links(UP, ("demo-1.0/s/t/l2", "l1/../..")), "through another one"),
    "chain the other way round": (tar_of_links(("demo-1.0/s/t/l2", "l1/../.."), UP), "through another one"),
    "chain in another spelling": (tar_of_links(UP, ("demo-1.0/./s//t/l2", ".//l1/../..")), "through another one"),
    "chain through a folder": (tar_of_links(UP, ("demo-1.0/s/l2", "t/l1/src/../..")), "through another one"),
    "file below a link": (tar_of_links(UP, ("demo-1.0/s/t/l1/x", None)), "below one"),
    "file below a link in another spelling": (tar_of_links(UP, ("./demo-1.0//s/./t/l1/x", None)), "below one"),
    "link below a link": (tar_of_links(UP, ("demo-1.0/s/t/l1/x", "y")), "below one"),
    "file for a link": (tar_of_links(("demo-1.0/l", "s"), ("demo-1.0/l", None)), "in the place of a link"),
    "beside the top folder": (tar_of_links(("demo-1.0/a", "../other")), "outside its own folder"),
    "by way of outside": (tar_of_links(("demo-1.0/a", "../demo-1.0/b")), "outside its own folder"),
    "hard link to a link": (tar_of_links(UP, ("demo-1.0/l", "demo-1.0/s/t/l1"), hard=True), "through another one"),
    "hard link below a link": (tar_of_links(UP, ("demo-1.0/l", "demo-1.0/s/t/l1/x"), hard=True), "through another one"),
    "hard link beside the top folder": (tar_of_links(("demo-1.0/l", "other/x"), hard=True), "outside its own folder"),
    "hard link upwards": (tar_of_links(("demo-1.0/l", "demo-1.0/../x"), hard=True), "outside its own folder"),
}


@pytest.mark.parametrize("what", list(LINKS_OUT))
def test_no_link_leads_out_of_the_top_folder_and_none_is_unpacked_through(what: str) -> None:
    data, reason = LINKS_OUT[what]
    with pytest.raises(DistributionError, match=reason):
        check(SDIST, data)


def test_links_to_links_and_folders_are_accepted() -> None:
    check(
        SDIST,
        tar_of_links(
            UP,
            ("demo-1.0/s/t/l2", "l1"),
            ("demo-1.0/s/t/l10", None),
            ("demo-1.0/docs/readme", "../s/../PKG-INFO"),
            ("./demo-1.0/docs/source", "./../src/"),
            ("demo-1.0/docs/self", "."),
        ),
    )


def test_links_are_kept_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_METADATA_BYTES", 10_000)
    check(SDIST, tar_of_links(*((f"demo-1.0/{number}", "PKG-INFO") for number in range(50))))
    with pytest.raises(DistributionError, match="too many or too long links"):
        check(SDIST, tar_of_links(*((f"demo-1.0/{number}", "PKG-INFO") for number in range(100))))
    with pytest.raises(DistributionError, match="too many or too long links"):
        check(SDIST, tar_of_links(("demo-1.0/" + "x/" * 200 + "x", "PKG-INFO")))


def test_a_header_for_all_members_names_none_of_them() -> None:
    for keyword, accepted in (("comment", True), ("path", False)):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT, pax_headers={keyword: "x"}) as archive:
            for name, content in sdist_members().items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        with contextlib.nullcontext() if accepted else pytest.raises(DistributionError, match="one name for all"):
            check(SDIST, gzip_of(data.getvalue()))


@pytest.mark.parametrize(
    ("text", "data"), [(WHEEL, wheel()), (SDIST, sdist()), ("demo-1.0.zip", zip_of(sdist_members()))]
)
def test_no_truncated_or_damaged_file_gets_another_answer_than_a_refusal(text: str, data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(DistributionError):
            check(text, data[:length])
    chance = random.Random(1)
    for _unused in range(2000):
        damaged = bytearray(data)
        for _unused in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(DistributionError):
            check(text, bytes(damaged))


@pytest.mark.parametrize(
    ("project", "version", "reason"),
    [
        (None, None, ""),
        ("", "", ""),
        ("My_Demo", "1.0.0", ""),
        ("other", "1.0", "the form says project 'other'"),
        ("my-demo", "2.0", "the form says version '2.0'"),
        ("my-demo", "one", "the form says version 'one'"),
    ],
)
def test_the_form_is_compared_with_the_file_name(project: str | None, version: str | None, reason: str) -> None:
    name = parse_name("my.demo-1.0.tar.gz")
    if not reason:
        compare_form(name, project, version)
    else:
        with pytest.raises(DistributionError, match=reason):
            compare_form(name, project, version)
