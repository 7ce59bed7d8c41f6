"""Files on disk: there completely or not at all, whoever does what at the same time."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pypiserver.config import Config

from pyindex_pypiserver.distributions import DistributionError, parse_name
from pyindex_pypiserver.storage import AlreadyPublishedError, DiskBackend, PackageStore
from tests.unit.pypiserver.made import sdist, wheel

WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"


def publish(store: PackageStore, text: str, data: bytes, *, overwrite: bool = False) -> Path:
    with store.receive() as incoming:
        incoming.write(data)
        return store.publish(incoming, parse_name(text), overwrite=overwrite)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def leftovers(store: PackageStore) -> list[Path]:
    return list(store.incoming.glob("*.part"))


def shown(store: PackageStore, project: str) -> dict[str, str]:
    """What the page of *project* names, with its digest."""
    page = json.loads((store.publisher.simple / f"{project}.json").read_bytes())
    return {file["filename"]: file["hashes"]["sha256"] for file in page["files"]}


def backend(store: PackageStore) -> DiskBackend:
    config = Config.default_with_overrides(roots=[store.root], authenticate=[], password_file=".")
    return DiskBackend(config, store)


def test_a_published_file_is_complete_readable_by_its_group_and_leaves_nothing_behind(store: PackageStore) -> None:
    data = wheel()
    path = publish(store, WHEEL, data)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_nlink == 1
    assert names(store.root) == [WHEEL]
    assert leftovers(store) == []


def test_the_group_of_the_folder_is_passed_on(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another group")
    folder = tmp_path / "packages"
    folder.mkdir()
    os.chown(folder, -1, 4242)
    folder.chmod(0o2750)
    assert publish(PackageStore(folder, tmp_path / "pages"), WHEEL, wheel()).stat().st_gid == 4242


@pytest.mark.parametrize("data", [wheel("other"), wheel()[:-30], b"", b"nonsense"])
def test_a_refused_file_leaves_nothing_behind(store: PackageStore, data: bytes) -> None:
    with pytest.raises(DistributionError):
        publish(store, WHEEL, data)
    assert names(store.root) == []
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((WHEEL, wheel()), (WHEEL, wheel(more={"demo/more.py": b"x"}))),
        ((SDIST, sdist()), ("Demo-1.0.0.tar.gz", sdist("Demo", "1.0.0"))),
        (("my_demo-1.0-py3-none-any.whl", wheel("my_demo")), ("My.Demo-1.0-py3-none-any.whl", wheel("My.Demo"))),
    ],
)
def test_what_exists_is_never_replaced(
    store: PackageStore, first: tuple[str, bytes], second: tuple[str, bytes]
) -> None:
    path = publish(store, *first)
    before = path.stat()
    with pytest.raises(AlreadyPublishedError) as refusal:
        publish(store, *second)
    assert refusal.value.existing == first[0]
    assert path.read_bytes() == first[1]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert names(store.root) == [first[0]]
    assert leftovers(store) == []


def test_before_everything_was_looked_at_an_upload_looks_for_its_own_project(store: PackageStore) -> None:
    store.publisher.records.set(complete=0)
    (store.root / "Demo-1.0.0.tar.gz").write_bytes(sdist("Demo", "1.0.0"))
    with pytest.raises(AlreadyPublishedError):
        publish(store, SDIST, sdist())
    publish(store, "demo-1.1.tar.gz", sdist("demo", "1.1"))
    assert b"Demo-1.0.0.tar.gz" in (store.publisher.simple / "demo.html").read_bytes()


def test_overwriting_replaces_the_file_and_its_digest_at_once(store: PackageStore) -> None:
    publish(store, WHEEL, wheel())
    before = (store.root / WHEEL).stat()
    data = wheel(more={"demo/more.py": b"x"})
    path = publish(store, WHEEL, data, overwrite=True)
    assert path.read_bytes() == data
    assert shown(store, "demo") == {WHEEL: hashlib.sha256(data).hexdigest()}
    # What the web server tells files apart by
    assert int(path.stat().st_mtime) > int(before.st_mtime)
    assert leftovers(store) == []


def test_overwriting_another_spelling_removes_it(store: PackageStore) -> None:
    publish(store, "my_demo-1.0-py3-none-any.whl", wheel("my_demo"))
    publish(store, "My.Demo-1.0-py3-none-any.whl", wheel("My.Demo"), overwrite=True)
    assert names(store.root) == ["My.Demo-1.0-py3-none-any.whl"] == list(shown(store, "my-demo"))


def test_of_concurrent_uploads_of_one_file_exactly_one_wins(store: PackageStore) -> None:
    variants = [wheel(more={"demo/who.py": str(number).encode() * 1000}) for number in range(16)]
    start = threading.Barrier(len(variants))

    def upload(data: bytes) -> bytes | None:
        with store.receive() as incoming:
            incoming.write(data)
            start.wait()
            try:
                store.publish(incoming, parse_name(WHEEL))
            except AlreadyPublishedError:
                return None
            return data

    with ThreadPoolExecutor(len(variants)) as pool:
        winners = [data for data in pool.map(upload, variants) if data is not None]
    assert len(winners) == 1
    assert (store.root / WHEEL).read_bytes() == winners[0]
    assert leftovers(store) == []


def test_concurrent_spellings_of_one_release_have_one_winner(store: PackageStore) -> None:
    start = threading.Barrier(8)

    def upload(name: str) -> bool:
        with store.receive() as incoming:
            incoming.write(sdist(name))
            start.wait()
            try:
                store.publish(incoming, parse_name(f"{name}-1.0.tar.gz"))
            except AlreadyPublishedError:
                return False
            return True

    spellings = ["my-demo", "my_demo", "my.demo", "My-demo", "My_Demo", "MY.DEMO", "my__demo", "my-_demo"]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(upload, spellings)) == 1
    assert len(names(store.root)) == 1


def test_temporary_files_of_a_killed_process_are_removed_and_those_of_a_living_one_are_kept(
    store: PackageStore,
) -> None:
    script = (
        "import os, pathlib, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pyindex_pypiserver.storage import PackageStore\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "incoming = PackageStore(root, root / '.pages').receive()\n"
        "incoming.write(b'half of a file'); incoming.file.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(store.root), *sys.path], check=False)
    assert result.returncode == -9
    assert len(leftovers(store)) == 1
    with store.receive() as living:
        assert store.clean() == 1
        assert leftovers(store) == [living.path]
    assert leftovers(store) == []
    assert names(store.root) == []


def test_a_full_disk_leaves_nothing_behind(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_unused: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        publish(store, WHEEL, wheel())
    assert names(store.root) == []
    assert leftovers(store) == []


def test_the_backend_lists_what_is_published_and_nothing_else(store: PackageStore) -> None:
    publish(store, WHEEL, wheel())
    publish(store, SDIST, sdist())
    publish(store, "demo2-1.0.tar.gz", sdist("demo2"))
    (store.root / "notes.txt").write_text("no distribution")
    (store.root / f"{SDIST}.asc").write_text("a signature of other times")
    (store.root / ".hidden-1.0.tar.gz").write_bytes(sdist("hidden"))
    with store.receive() as incoming:
        incoming.write(b"x")
        every = sorted(package.relfn for package in backend(store).get_all_packages())
    assert every == ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", "demo2-1.0.tar.gz"]
    project = sorted(package.relfn for package in backend(store).find_project_packages("DEMO"))
    assert project == ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]
    assert len(list(backend(store).find_version("demo", "1.0"))) == 2
    assert backend(store).exists(WHEEL)
    assert not backend(store).exists("demo-1.1-py3-none-any.whl")


def test_the_backend_adds_and_removes_through_the_store(store: PackageStore) -> None:
    server = backend(store)
    server.add_package(WHEEL, io.BytesIO(wheel()))
    with pytest.raises(AlreadyPublishedError):
        server.add_package(WHEEL, io.BytesIO(wheel()))
    (package,) = server.get_all_packages()
    assert server.digest(package) == f"sha256={hashlib.sha256(wheel()).hexdigest()}"
    server.remove_package(package)
    server.remove_package(package)
    assert names(store.root) == []
    assert server.digest(package) is None


def test_a_release_is_found_in_every_spelling(store: PackageStore) -> None:
    publish(store, "My.Demo-1.0-py3-none-any.whl", wheel("My.Demo"))
    publish(store, "my_demo-1.0.0.tar.gz", sdist("my_demo", "1.0.0"))
    publish(store, "my_demo-1.1.tar.gz", sdist("my_demo", "1.1"))
    assert len(store.find_release("MY-DEMO", "1")) == 2
    assert store.find_release("my-demo", "2.0") == []
    assert store.find_release("my-demo", "not a version") == []
