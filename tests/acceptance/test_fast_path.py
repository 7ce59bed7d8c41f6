"""The fast path of a pypiserver: pages and files come from disk, they are never stale, and faults end in words."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import tools
from .distributions import PREFIX, Project, module_name, wheel
from .indexes import Pypiserver
from .kinds import PYPISERVER
from .machines import Machine
from .shelf import publish, publisher
from .test_faults import wait_for
from .test_large_wheel import PROGRAM as LARGE_WHEEL
from .web import Answer, Request, ask, upload

REMOTE = Path(__file__).parent / "remote"
ROUNDS, READERS = 500, 3
PARALLEL_UPLOADS = 200
JSON = "application/vnd.pypi.simple.v1+json"
# As pip sends it
PIP = (("Accept", f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"),)
BROWSER = (("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),)
# Where a disk in memory is while a test needs one, and how it is left
MEMORY = "/mnt/pyindex-acceptance"
LEAVE_MEMORY = f'umount "$1"; umount {MEMORY}; rmdir {MEMORY}'
MEMORY_BYTES = 64 * 2**20

pytestmark = PYPISERVER


def pages(index: Pypiserver, *targets: str, headers: tuple[tuple[str, str], ...] = PIP) -> list[Answer]:
    """What somebody who may read everything is answered."""
    user = publisher(index)
    return ask(index.vantages[0], index, [Request(target, user=user, headers=headers) for target in targets])


def shown(index: Pypiserver, project: str) -> dict[str, str]:
    """The SHA-256 that the page of a project says of each file."""
    page = pages(index, f"/simple/{project}/")[0]
    assert page.status == 200, str(page)
    return {file["filename"]: file["hashes"]["sha256"] for file in json.loads(page.body)["files"]}


def test_pages_are_what_each_client_asks_for(index: Pypiserver, published: Project) -> None:
    """PEP 691 by Accept, and nothing that a cache on the way could mix up."""
    target = f"/simple/{published.name}/"
    by_pip, by_browser = pages(index, target)[0], pages(index, target, headers=BROWSER)[0]
    assert by_pip.headers["content-type"] == JSON
    assert by_browser.headers["content-type"] == "text/html; charset=utf-8"
    assert {file["filename"] for file in json.loads(by_pip.body)["files"]} == {path.name for path in published.files}
    for answer, headers in ((by_pip, PIP), (by_browser, BROWSER)):
        access = "private" if "list" in index.protected else "public"
        assert answer.headers["cache-control"] == f"{access}, no-cache"
        assert "Accept" in answer.headers["vary"]
        again = pages(index, target, headers=(*headers, ("If-None-Match", answer.headers["etag"])))[0]
        assert (again.status, again.length) == (304, 0)
    packed = pages(index, "/simple/", headers=(*PIP, ("Accept-Encoding", "gzip")))[0]
    assert packed.status == 200
    assert (packed.headers.get("content-encoding") == "gzip") == (pages(index, "/simple/")[0].length >= 1000)


def test_files_may_be_kept_unless_they_can_change(index: Pypiserver, published: Project) -> None:
    """`immutable` only where no client can put another file in the place of one."""
    name = published.wheel.name
    access = "private" if "download" in index.protected else "public"
    lasting = "no-cache" if index.overwrite or index.removal else "max-age=31536000, immutable"
    for target in (f"/packages/{name}", f"/packages/{name}.metadata"):
        assert pages(index, target)[0].headers["cache-control"] == f"{access}, {lasting}"


def test_metadata_is_beside_its_wheel(index: Pypiserver, published: Project) -> None:
    """PEP 658 and 714, by the digest on the page."""
    page = json.loads(pages(index, f"/simple/{published.name}/")[0].body)
    described = {file["filename"]: file for file in page["files"]}[published.wheel.name]
    answer = pages(index, f"/packages/{published.wheel.name}.metadata")[0]
    assert (answer.status, answer.sha256) == (200, described["core-metadata"]["sha256"])
    assert f"\nName: {published.name}\n" in answer.text


def test_the_very_next_request_sees_an_upload(index: Pypiserver, run_id: str) -> None:
    """Page, project list, file and metadata, by another connection than the upload's, while others read."""
    user = publisher(index)
    at_home = any(index.vantages[0] is client.machine for client in index.clients)
    projects = [f"{PREFIX}-{run_id}-round-{number}" for number in range(ROUNDS // 20)]
    job = {
        "authority": "" if at_home else index.authority,
        "address": index.server_name if at_home else index.address,
        "port": index.https_port,
        "name": index.server_name,
        "host": index.server_name if index.https_port == 443 else f"{index.server_name}:{index.https_port}",
        "path": index.url_path,
        "login": [user.name, user.password] if user else None,
        "projects": projects,
        "rounds": ROUNDS,
        "readers": READERS,
    }
    done = index.vantages[0].program(REMOTE / "rounds.py", job, timeout=300)
    assert done["problems"] == []
    assert done["stale"] == []
    # Under load
    assert done["reads"] > ROUNDS
    found = pages(index, *(f"/simple/{project}/" for project in projects))
    assert [len(json.loads(page.body)["files"]) for page in found] == [ROUNDS // len(projects)] * len(projects)


def test_no_parallel_upload_is_lost(index: Pypiserver, run_id: str) -> None:
    """Many small ones at the same moment, several of one project among them: each is answered 200, listed and served."""
    user = publisher(index)
    names = [f"{PREFIX}-{run_id}-parallel-{number}" for number in range(PARALLEL_UPLOADS // 10)]
    files = {name: [wheel(name, f"1.{number}") for number in range(10)] for name in names}
    # One project's uploads are not beside each other
    requests = [upload(user, *files[name][number]) for number in range(10) for name in names]
    answers = ask(index.vantages[0], index, requests, parallel=40)
    assert [str(answer) for answer in answers if answer.status != 200] == []
    for name, wanted in files.items():
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in wanted}
        assert shown(index, name) == digests
        assert index.published(f"{module_name(name)}-1.*") == digests


def memory(machine: Machine, unit: str, *, begin: bool) -> int:
    """Of all processes of a service, in bytes; see the program."""
    group = machine.check("systemctl", "show", "--property=ControlGroup", "--value", unit).strip()
    return int(machine.program(REMOTE / "memory.py", {"group": group, "begin": begin}))


@pytest.mark.disruptive
def test_a_huge_wheel_takes_no_memory(first_uploader: tools.Person, run_id: str) -> None:
    """1 GiB (less where the limit is lower) up by twine and down in two parts: neither nginx nor Python holds it."""
    client, user = first_uploader
    index = client.index
    assert isinstance(index, Pypiserver)
    name = f"{PREFIX}-{run_id}-huge-{client.machine.name}"
    units = ("nginx.service", "pypiserver.service", "pypiserver-watch.service")
    with client.machine.folder(user.name) as folder:
        megabytes = min(1023, index.max_upload_mb - 1)
        job = {"folder": folder, "module": module_name(name), "version": "1.0", "megabytes": megabytes}
        made = client.machine.program(LARGE_WHEEL, job, timeout=300)
        before = {unit: memory(index.machine, unit, begin=True) for unit in units}
        tools.assert_runs(tools.upload(client, user, made["path"], timeout=500))
        file, half = Path(made["path"]).name, megabytes * 2**19
        tail = ["sh", "-c", 'tail --bytes="+$2" "$1" | sha256sum', "sh", made["path"], str(half + 1)]
        rest = client.machine.check(*tail, timeout=300).split()[0]
        size = int(client.machine.check("stat", "--format=%s", made["path"]))
    assert shown(index, name) == {file: made["sha256"]}
    target = Request(f"/packages/{file}", user=publisher(index), timeout=300)
    whole, resumed = ask(client.machine, index, [target, resume(target, half)])
    assert (whole.status, whole.length, whole.sha256) == (200, size, made["sha256"])
    assert (resumed.status, resumed.sha256) == (206, rest)
    assert resumed.headers["content-range"] == f"bytes {half}-{size - 1}/{size}"
    grown = {unit: memory(index.machine, unit, begin=False) - before[unit] for unit in units}
    assert {unit: size for unit, size in grown.items() if size > MEMORY_BYTES} == {}
    # Room for the rest of the suite
    index.discard(name)


def resume(request: Request, start: int) -> Request:
    """The same from byte `start` on."""
    return Request(request.target, user=request.user, headers=(("Range", f"bytes={start}-"),), timeout=request.timeout)


def in_memory(index: Pypiserver, room_mb: int, access: str) -> str:
    """Shell commands that put a copy of the packages folder ($1), on a disk in memory with some room, in its place."""
    used = int(index.machine.check("du", "--summarize", "--block-size=1M", index.packages).split()[0])
    if used > 1024:
        pytest.skip(f"{index} holds {used} MB: too much to be copied into memory")
    return f"""\
        mkdir {MEMORY}
        mount -t tmpfs -o size={used + room_mb}m,mode=0700 tmpfs {MEMORY}
        cp -a "$1/." {MEMORY}/
        chown --reference="$1" {MEMORY}
        chmod --reference="$1" {MEMORY}
        mount -o remount,{access} {MEMORY}
        mount --bind {MEMORY} "$1"
        """


@contextmanager
def services(index: Pypiserver, prepare: str, repair: str) -> Iterator[None]:
    """The services run after the shell commands `prepare` ($1: the packages folder), and later as before after
    `repair`."""
    units = " ".join((*reversed(index.units), "pypiserver-watch.service"))
    stop, start = f"systemctl stop {units}", f"systemctl start {units}"
    try:
        index.machine.check("sh", "-c", f"set -e\n{stop}\n{prepare}\n{start}", "sh", index.packages)
        yield
    finally:
        done = index.machine.run("sh", "-c", f"{stop}\n{repair}\n{start}", "sh", index.packages)
        wait_for(index)
    assert done.code == 0, str(done)


@pytest.mark.disruptive
@pytest.mark.place(2)
def test_pages_come_without_python(index: Pypiserver, published: Project) -> None:
    """While the server is stopped, all that installers ask for is there; who uploads is told to come back."""
    units = index.units
    targets = ["/simple/", f"/simple/{published.name}/"]
    targets += [f"/packages/{path.name}" for path in published.files]
    before = pages(index, *targets)
    index.machine.check("systemctl", "stop", *units)
    try:
        during = pages(index, *targets)
        unknown = pages(index, f"/simple/{published.name}-unknown/")[0]
        refused = ask(index.vantages[0], index, [upload(publisher(index), *wheel(f"{published.name}-off", "1.0"))])[0]
        states = index.machine.run("systemctl", "is-active", *units).out.split()
    finally:
        index.machine.check("systemctl", "start", *reversed(units))
        wait_for(index)
    assert set(states) == {"inactive"}
    assert {answer.status for answer in before} == {200}
    assert [(answer.status, answer.sha256) for answer in during] == [(200, answer.sha256) for answer in before]
    assert unknown.status == 404
    assert refused.status == 502
    publish(index, wheel(f"{published.name}-off", "1.0"))


@pytest.mark.disruptive
@pytest.mark.place(2)
@pytest.mark.parametrize("whole", [False, True], ids=["its content", "the folder"])
def test_pages_that_are_removed_come_back(index: Pypiserver, published: Project, whole: bool) -> None:
    """By the administrator's command; what installers get is the same as before, rights included."""
    folder = str(index["pypiserver_pages_dir"])
    before = pages(index, f"/simple/{published.name}/")[0]
    assert before.status == 200, str(before)
    # Until nothing is left: the watch is at work in it already, and what it has made again since is in the way
    removal = 'rm -rf "$1"' if whole else 'find "$1" -mindepth 1 -delete'
    patiently = f"tries=0; until {removal}; do tries=$((tries + 1)); [ $tries -lt 50 ] || exit 1; sleep 0.2; done"
    index.machine.check("sh", "-c", patiently, "sh", folder)
    # Its exit code tells of files that cannot be published, which an index may have
    done = index.machine.run(str(index["pypiserver_command"]), "reconcile", timeout=300)
    assert json.loads(done.out)["files"] >= len(published.files), str(done)
    after = pages(index, f"/simple/{published.name}/")[0]
    assert (after.status, json.loads(after.body)) == (200, json.loads(before.body))
    assert after.headers["etag"]
    wait_for(index)
    publish(index, wheel(f"{published.name}-after-{'folder' if whole else 'content'}", "1.0"))
    others = index.machine.check("find", folder, "(", "-perm", "/007", "-o", "-perm", "/020", ")", "!", "-type", "l")
    assert others == ""


@pytest.mark.disruptive
@pytest.mark.place(2)
def test_a_read_only_disk_is_said_so(index: Pypiserver, run_id: str) -> None:
    """507 with the reason, nothing half done, and pages and files as before; later all is as usual."""
    name = f"{PREFIX}-{run_id}-readonly"
    publish(index, wheel(name, "1.0"))
    before = shown(index, name)
    # The disk itself: an engine mounts a folder anew, and may write to it then
    with services(index, in_memory(index, 8, "ro"), LEAVE_MEMORY):
        refused = ask(index.vantages[0], index, [upload(publisher(index), *wheel(name, "2.0"))])[0]
        assert (refused.status, "read-only" in refused.text) == (507, True), str(refused)
        served_as_before(index, name, before)
    publish(index, wheel(name, "2.0"))
    assert len(shown(index, name)) == 2


@pytest.mark.disruptive
@pytest.mark.place(2)
def test_a_full_disk_is_said_so(index: Pypiserver, run_id: str) -> None:
    """The same where there is no room; what was sent leaves nothing, and a smaller file still has room."""
    name = f"{PREFIX}-{run_id}-full"
    publish(index, wheel(name, "1.0"))
    before = shown(index, name)
    with services(index, in_memory(index, 8, "rw"), LEAVE_MEMORY):
        huge = upload(publisher(index), *wheel(name, "2.0", ballast=24 * 2**20))
        refused = ask(index.vantages[0], index, [huge])[0]
        assert (refused.status, "full" in refused.text) == (507, True), str(refused)
        served_as_before(index, name, before)
        assert index.published("*.part") == {}
        publish(index, wheel(name, "3.0"))
    # What was published in memory is gone with it; a watch in a container is started before it has looked
    end = time.monotonic() + (30 if index.container else 0)
    while (after := shown(index, name)) != before and time.monotonic() < end:
        time.sleep(0.2)
    assert after == before


def served_as_before(index: Pypiserver, project: str, files: Mapping[str, str]) -> None:
    """Fail where page or files are not what they were."""
    assert shown(index, project) == files
    answers = pages(index, *(f"/packages/{file}" for file in files))
    assert [(answer.status, answer.sha256) for answer in answers] == [(200, digest) for digest in files.values()]
