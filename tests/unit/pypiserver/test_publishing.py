"""Pages on disk: what an upload changes is there when it is answered, or nothing is changed at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from pyindex_pypiserver import publishing
from pyindex_pypiserver.distributions import DistributionError
from pyindex_pypiserver.reconcile import reconcile
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import metadata, sdist, wheel, wheel_members, zip_of
from tests.unit.pypiserver.published import leftovers, page, projects, publish, shown

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
FORMS = ("html", "json", "html.gz", "json.gz")


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".state" not in path.parts
    }


def entity_tags(store: PackageStore, page: str = "_list") -> dict[str, str]:
    """What nginx makes of the pages."""
    found = {}
    for form in FORMS:
        path = store.publisher.simple / f"{page}.{form}"
        if path.exists():
            found[form] = f"{int(path.stat().st_mtime):x}-{path.stat().st_size:x}"
    return found


def test_an_upload_is_on_all_pages_when_it_is_answered(store: PackageStore) -> None:
    publish(store, WHEEL, wheel())
    publish(store, SDIST, sdist())
    assert projects(store) == ["demo"]
    assert list(page(store, "demo")) == [WHEEL, SDIST]
    assert shown(store) == {
        WHEEL: hashlib.sha256(wheel()).hexdigest(),
        SDIST: hashlib.sha256(sdist()).hexdigest(),
    }
    assert (store.publisher.metadata / f"{WHEEL}.metadata").read_bytes() == metadata("demo", "1.0")
    assert not (store.publisher.metadata / f"{SDIST}.metadata").exists()
    assert leftovers(store) == []


def test_pages_can_be_read_by_the_group_of_their_folder_and_by_nobody_else(tmp_path: Path) -> None:
    os.umask(0o027)
    for name in ("packages", "pages"):
        (tmp_path / name).mkdir()
        if os.geteuid() == 0:
            os.chown(tmp_path / name, -1, 4242)
        (tmp_path / name).chmod(0o2750)
    store = PackageStore(tmp_path / "packages", tmp_path / "pages")
    reconcile(store.publisher)
    publish(store, WHEEL, wheel())
    paths = [*store.publisher.simple.rglob("*"), store.publisher.simple, *store.publisher.metadata.rglob("*")]
    assert len(paths) >= 6
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o2750 if path.is_dir() else 0o640), path
        assert path.stat().st_gid == (tmp_path / "pages").stat().st_gid


def test_an_entity_tag_is_never_used_twice(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx makes it of the second and the size: neither may be equal for other content or another form."""
    seen: set[str] = set()
    clock = time.time()
    for number in range(8):
        # The clock stands still, and then is set back a day
        monkeypatch.setattr(time, "time", lambda now=clock - 86400 * (number // 4): now)
        data = wheel(more={"demo/who.py": bytes([number])})
        publish(store, WHEEL, data, overwrite=True)
        tags = list(entity_tags(store, "demo").values())
        assert not seen & set(tags)
        assert len(set(tags)) == len(tags) >= 2
        seen.update(tags)


def test_an_entity_tag_is_not_used_again_when_the_records_are_lost(store: PackageStore) -> None:
    publish(store, SDIST, sdist())
    for _unused in range(3):
        before = {*entity_tags(store, "demo").values(), *entity_tags(store).values()}
        shutil.rmtree(store.publisher.pages / ".state")
        reconcile(store.publisher)
        assert not before & {*entity_tags(store, "demo").values(), *entity_tags(store).values()}


def test_a_project_that_comes_back_has_no_entity_tag_of_before(store: PackageStore) -> None:
    publish(store, SDIST, sdist())
    before = {*entity_tags(store, "demo").values(), *entity_tags(store).values()}
    store.remove([SDIST])
    between = set(entity_tags(store).values())
    publish(store, SDIST, sdist())
    after = {*entity_tags(store, "demo").values(), *entity_tags(store).values()}
    assert not before & after
    assert not between & (before | after)


def test_what_is_removed_is_on_no_page_before_it_is_gone(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in ((WHEEL, wheel()), (SDIST, sdist()), ("demo-1.1.tar.gz", sdist("demo", "1.1"))):
        publish(store, name, data)
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.parent == store.root:
            assert path.name not in page(store, "demo")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    store.remove([WHEEL, SDIST])
    assert list(shown(store)) == ["demo-1.1.tar.gz"]
    assert list(store.publisher.metadata.iterdir()) == []


def test_the_last_file_of_a_project_takes_its_page_along(store: PackageStore) -> None:
    publish(store, SDIST, sdist())
    publish(store, "other-1.0.tar.gz", sdist("other"))
    store.remove([SDIST])
    assert projects(store) == ["other"]
    assert list(store.publisher.simple.glob("demo.*")) == []
    assert list(shown(store)) == ["other-1.0.tar.gz"]


def test_a_removal_that_fails_publishes_again(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, SDIST, sdist())

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path), missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(OSError, match="Read-only"):
            store.remove([SDIST])
    assert list(shown(store)) == [SDIST]


def test_of_many_uploads_to_one_project_and_to_new_ones_none_is_lost(store: PackageStore) -> None:
    """Also from several processes: a seeding, say, beside the server."""
    script = (
        "import pathlib, sys; sys.path[:0] = sys.argv[3:]\n"
        "from pyindex_pypiserver.storage import PackageStore\n"
        "from tests.unit.pypiserver.made import sdist\n"
        "from tests.unit.pypiserver.published import publish\n"
        "root = pathlib.Path(sys.argv[1]); who = sys.argv[2]\n"
        "store = PackageStore(root / 'packages', root / 'pages')\n"
        "for number in range(8):\n"
        "    publish(store, f'demo-{who}.{number}.tar.gz', sdist('demo', f'{who}.{number}'))\n"
        "    publish(store, f'new{who}x{number}-1.tar.gz', sdist(f'new{who}x{number}', '1'))\n"
    )
    command = [sys.executable, "-c", script, str(store.root.parent)]
    processes = [subprocess.Popen([*command, str(who), *sys.path]) for who in range(2)]
    start = threading.Barrier(8)

    def upload(number: int) -> None:
        start.wait()
        publish(store, f"demo-9.{number}.tar.gz", sdist("demo", f"9.{number}"))
        publish(store, f"thread{number}-1.tar.gz", sdist(f"thread{number}", "1"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(8)))
    assert [process.wait() for process in processes] == [0, 0]
    assert len(page(store, "demo")) == 24
    assert len(projects(store)) == 1 + 24
    assert len(shown(store)) == 48
    assert leftovers(store) == []


def test_many_new_projects_at_once_share_the_writing_of_the_list(
    store: PackageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    real = publishing.Publisher._list_pages

    def slow(publisher: publishing.Publisher) -> list[bytes | None]:
        contents = real(publisher)
        written.append(contents)
        time.sleep(0.2)
        return contents

    monkeypatch.setattr(publishing.Publisher, "_list_pages", slow)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: publish(store, f"new{n}-1.tar.gz", sdist(f"new{n}", "1")), range(16)))
    assert len(projects(store)) == 16
    assert len(written) < 10


def test_a_long_list_is_compressed_later(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_MAX_COMPRESSED_AT_ONCE", 1000)
    for number in range(70):
        publish(store, f"project{number}-1.tar.gz", sdist(f"project{number}", "1"))
    assert set(entity_tags(store)) == {"html", "json"}
    reconcile(store.publisher)
    assert set(entity_tags(store)) == set(FORMS)
    assert not store.publisher.list_differs()
    assert len(shown(store)) == 70


# Faults


class Fault:
    """Lets the call number *fatal* of the system's functions fail, and counts them."""

    def __init__(self, fatal: int, number: int) -> None:
        self.fatal, self.number, self.count = fatal, number, 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.fatal:
                raise OSError(self.number, os.strerror(self.number))
            return function(*arguments, **options)

        return call


FALLIBLE = ("write", "fsync", "rename", "replace", "mkdir", "utime", "link", "fchmod")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("case", ["new project", "old project", "overwrite"])
def test_a_disk_that_is_full_at_any_step_leaves_everything_as_it_was(
    store: PackageStore, monkeypatch: pytest.MonkeyPatch, case: str, number: int
) -> None:
    publish(store, "other-1.0.tar.gz", sdist("other"))
    if case != "new project":
        publish(store, WHEEL, wheel())
    data = wheel(more={"demo/new.py": b"x"})
    name = WHEEL if case != "old project" else "demo-2.0-py3-none-any.whl"
    data = data if case != "old project" else wheel("demo", "2.0")
    before = shown(store)
    for fatal in range(1, 100):
        fault = Fault(fatal, number)
        with monkeypatch.context() as patch:
            for function in FALLIBLE:
                patch.setattr(os, function, fault.around(getattr(os, function)))
            try:
                publish(store, name, data, overwrite=case == "overwrite")
            except OSError as error:
                assert error.errno == number  # noqa: PT017
            else:
                assert fatal > fault.count > 5
                break
        assert shown(store) == before, fatal
        assert sorted(store.files()) == sorted(before)
        assert list(store.incoming.glob("*.part")) == []
    else:
        pytest.fail("it never succeeds")
    assert shown(store)[name] == hashlib.sha256(data).hexdigest()
    assert leftovers(store) == []


def test_a_full_database_leaves_everything_as_it_was(store: PackageStore) -> None:
    publish(store, WHEEL, wheel())
    before = files_below(store.publisher.pages)
    records = store.publisher.records
    records._connection().execute("PRAGMA max_page_count = 1")

    def fill() -> None:
        for number in range(1000):
            publish(store, f"demo-2.{number}.tar.gz", sdist("demo", f"2.{number}"))

    with pytest.raises(OSError, match="No space left") as refusal:
        fill()
    assert refusal.value.errno == errno.ENOSPC
    shown(store)
    assert set(before) <= set(files_below(store.publisher.pages))
    assert len(page(store, "demo")) == len(list(store.files()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_packages_folder_is_said_so(store: PackageStore) -> None:
    store.incoming.chmod(0o500)
    with pytest.raises(PermissionError):
        publish(store, WHEEL, wheel())


@pytest.mark.parametrize("what", ["pages", "simple", "project", "state"])
def test_an_upload_after_pages_were_removed_by_hand_loses_nothing(store: PackageStore, what: str) -> None:
    publish(store, WHEEL, wheel())
    publish(store, "other-1.0.tar.gz", sdist("other"))
    pages = store.publisher.pages
    if what == "project":
        for path in (pages / "simple").glob("demo.*"):
            path.unlink()
    else:
        shutil.rmtree({"pages": pages, "simple": pages / "simple", "state": pages / ".state"}[what])
    publish(store, SDIST, sdist())
    assert list(page(store, "demo")) == [WHEEL, SDIST]
    reconcile(store.publisher)
    assert sorted(shown(store)) == [WHEEL, SDIST, "other-1.0.tar.gz"]


def test_there_is_no_list_before_there_is_a_page_of_each_project(store: PackageStore) -> None:
    """A web server takes the list for the sign that a page that is missing is one of no project."""
    publish(store, "other-1.0.tar.gz", sdist("other"))
    shutil.rmtree(store.publisher.pages)
    publish(store, WHEEL, wheel())
    assert list(page(store, "demo")) == [WHEEL]
    assert not store.publisher.is_whole
    assert list(store.publisher.simple.glob("_list.*")) == []
    reconcile(store.publisher)
    assert projects(store) == ["demo", "other"]


def test_a_list_is_whole_also_when_the_records_were_lost(store: PackageStore) -> None:
    publish(store, "other-1.0.tar.gz", sdist("other"))
    shutil.rmtree(store.publisher.pages / ".state")
    publish(store, WHEEL, wheel())
    assert projects(store) == ["demo", "other"]
    store.remove([WHEEL])
    assert projects(store) == ["other"]
    reconcile(store.publisher)
    assert list(shown(store)) == ["other-1.0.tar.gz"]


def test_a_reconcile_writes_the_list_last(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (store.root / f"p{number}-1.tar.gz").write_bytes(sdist(f"p{number}", "1"))
    shutil.rmtree(store.publisher.pages)
    order = []

    class Watched(publishing.NewPages):
        def __init__(self, page: str, *arguments: Any, **options: Any) -> None:
            order.append(Path(page).name)
            super().__init__(page, *arguments, **options)

    monkeypatch.setattr(publishing, "NewPages", Watched)
    reconcile(store.publisher, processes=1)
    assert sorted(order[:-1]) == ["p0", "p1", "p2"]
    assert order[-1] == "_list"


def test_a_damaged_database_is_made_anew(store: PackageStore) -> None:
    publish(store, WHEEL, wheel())
    store.publisher.records.close()
    for path in store.publisher.records.path.parent.iterdir():
        path.unlink()
    store.publisher.records.path.write_bytes(b"this is no database" * 1000)
    publish(store, SDIST, sdist())
    assert sorted(shown(store)) == [WHEEL, SDIST]
    assert reconcile(store.publisher).problems == []
    assert sorted(shown(store)) == [WHEEL, SDIST]


# Distributions that lie, or are made to do harm


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b">=3.8", ">=3.8"),
        (b'"><script>alert(1)</script>', '"><script>alert(1)</script>'),
        (b">=3.8\n <b>,<4</b>", ">=3.8 <b>,<4</b>"),
        (b"\xff\xfe>=3", "\ufffd\ufffd>=3"),
        (b"\xc3\xa4", None),
        (b" ", None),
        (b"x" * 10_000, None),
    ],
)
def test_requires_python_is_any_text_and_stays_text(store: PackageStore, text: bytes, said: str | None) -> None:
    content = metadata("demo", "1.0").replace(b"Summary: made", b"Requires-Python: " + text)
    publish(store, WHEEL, zip_of(wheel_members(more={"demo-1.0.dist-info/METADATA": content})))
    found = page(store, "demo")[WHEEL].get("requires-python")
    assert found == said or (text == b"\xc3\xa4" and found)
    html = (store.publisher.simple / "demo.html").read_text()
    assert "<script>" not in html
    assert "<b>" not in html
    # What the digest is of: the bytes of the wheel, whatever they are
    assert (store.publisher.metadata / f"{WHEEL}.metadata").read_bytes() == content


@pytest.mark.parametrize(
    "record", [b"", b"\xff\x00", b"demo/__init__.py,sha256=wrong,480\n", b"../../etc/passwd,,\n" * 1000]
)
def test_a_record_that_lies_is_refused_whatever_way_the_file_came(store: PackageStore, record: bytes) -> None:
    data = zip_of(wheel_members(more={"demo-1.0.dist-info/RECORD": record}))
    with pytest.raises(DistributionError, match="RECORD"):
        publish(store, WHEEL, data)
    (store.root / WHEEL).write_bytes(data)
    [problem] = reconcile(store.publisher).problems
    assert "RECORD" in problem
    assert shown(store) == {}


@pytest.mark.parametrize("end", ["-1-py3-none-any.whl", "-1.zip"])
def test_names_are_as_long_as_all_that_is_made_of_them_may_be(store: PackageStore, end: str) -> None:
    project = "x" * (245 - len(end))
    content = wheel(project, "1") if end.endswith(".whl") else zip_of({f"{project}-1/PKG-INFO": metadata(project, "1")})
    publish(store, f"{project}{end}", content)
    assert list(shown(store)) == [f"{project}{end}"]
    with pytest.raises(DistributionError, match="at most 245 characters"):
        publish(store, f"x{project}{end}", content)


def test_a_wheel_with_ten_thousand_entries_is_published(store: PackageStore) -> None:
    publish(store, WHEEL, wheel(more={f"demo/m{number}.py": b"" for number in range(10_000)}))
    assert list(shown(store)) == [WHEEL]


@pytest.mark.parametrize(
    "members",
    [
        {"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 1.0\n" + b"\n" * 9 * 2**20},
        {"../demo.py": b""},
        {"other-1.0.dist-info/METADATA": b"Name: other"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\rName: other\nVersion: 1.0\n\n"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 1.0\nname: other\n\n"},
        {"demo-1.0.dist-info/METADATA": b"Nonsense\nName: demo\nVersion: 1.0\n\n"},
    ],
)
def test_a_wheel_that_lies_is_refused_and_nothing_is_published(store: PackageStore, members: dict[str, bytes]) -> None:
    with pytest.raises(DistributionError):
        publish(store, WHEEL, zip_of(wheel_members(more=members)))
    assert shown(store) == {}
    assert list(store.publisher.simple.glob("demo.*")) == []
    assert leftovers(store) == []


def test_metadata_is_read_as_installers_read_it() -> None:
    """Whatever the headers are made of: the fast way and the standard library's parser say the same."""
    hypothesis = pytest.importorskip("hypothesis")
    from email.parser import BytesHeaderParser

    from pyindex_pypiserver import distributions

    name = distributions.parse_name(WHEEL)
    pieces = hypothesis.strategies.sampled_from(
        [
            b"Name: demo",
            b"Version: 1.0",
            b"Requires-Python: >=3",
            b"name:x",
            b"\n",
            b"\r\n",
            b"\r",
            b" ",
            b"\t",
            b":",
            b"Summary: a",
            b"From x",
            b"\xff",
            b"\x00",
            b"\x0b",
            b"\x0c",
            b"\x85",
            b"\n\n",
            b"VERSION : 2",
            b"X-y: z",
        ]
    )

    def check(parts: list[bytes]) -> None:
        content = b"".join(parts)
        headers = BytesHeaderParser().parsebytes(content)
        wanted = [headers.get_all(field, []) for field in ("Name", "Version")]
        right = (
            [len(values) for values in wanted] == [1, 1]
            and canonicalize_name(str(wanted[0][0]).strip()) == "demo"
            and distributions._same_version(str(wanted[1][0]).strip(), name.version)
        )
        try:
            requires = distributions._compare(content, name)
        except DistributionError:
            assert not right
        else:
            assert right
            said = " ".join(str(headers.get("Requires-Python", "")).split())
            assert requires == (said.encode("utf-8", "replace").decode() or None)

    start = [b"Name: demo\n", b"Version: 1.0\n"]
    lists = hypothesis.strategies.lists(pieces, max_size=12)
    hypothesis.given(lists)(check)()
    hypothesis.given(lists.map(lambda parts: start + parts))(check)()
