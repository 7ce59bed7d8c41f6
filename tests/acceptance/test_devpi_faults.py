"""What a devpi server goes through: killed in the middle of an upload and of a mirror's fetch, a full disk."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from . import tools
from .devpi import PIP, file_path, listing, put
from .distributions import PREFIX, module_name, wheel
from .fleet import Fleet
from .indexes import Devpi
from .kinds import DEVPI, MIRRORING
from .shelf import publisher
from .test_devpi_mirror import forget
from .test_faults import KILLER, wait_for
from .test_large_wheel import PROGRAM as LARGE_WHEEL
from .web import Answer, Request, ask

pytestmark = [DEVPI, pytest.mark.disruptive, pytest.mark.place(2)]

# A project of the lab's public index whose file is sent slowly
SLOW = "pyindex-large"


@contextmanager
def killer(index: Devpi, pool: ThreadPoolExecutor) -> Iterator[Future[bool]]:
    """Kills the server (SIGKILL) as soon as a new file on its disk is over 1 MB long."""
    watch = {"folder": str(index["devpi_server_dir"]), "seconds": 60, "bytes": 2**20, "unit": index.units[0]}
    killing = pool.submit(index.machine.program, KILLER, watch)
    time.sleep(1)
    yield killing
    assert killing.result(), "nothing was seen on the index's disk"


def linked(index: Devpi, stage: str, project: str) -> list[Answer]:
    """The files of a project as the index serves them, by the links of its page."""
    user = publisher(index)
    page = ask(index.vantages[0], index, [listing(stage, project, user)])[0]
    if page.status == 404:
        return []
    assert page.status == 200, str(page)
    links = re.findall(r'"url":\s*"([^"#]+)', page.text)
    paths = [urlsplit(urljoin(f"{index.url}{stage}/+simple/{project}/", link)).path for link in links]
    return ask(index.vantages[0], index, [Request(path, user=user, headers=PIP[1:]) for path in paths])


def test_killed_at_an_upload(first_uploader: tools.Person, run_id: str) -> None:
    """What is served afterwards is whole or not there, and the next upload works without anybody's help."""
    client, user = first_uploader
    index = client.index
    assert isinstance(index, Devpi)
    name = f"{PREFIX}-{run_id}-killed"
    megabytes = min(200, index.max_upload_mb - 1)
    with client.machine.folder(user.name) as folder, ThreadPoolExecutor() as pool:
        job = {"folder": folder, "module": module_name(name), "version": "1.0", "megabytes": megabytes}
        made = client.machine.program(LARGE_WHEEL, job)
        with killer(index, pool):
            tools.upload(client, user, made["path"], timeout=300)
    wait_for(index)
    put(index, index.target, wheel(name, "2.0"))
    # twine tries again by itself, so the file may be there; if it is, as a whole
    file = Path(made["path"]).name
    assert index.published(file) in ({}, {file: made["sha256"]})
    digest = made["sha256"]
    address = f"/{index.target.name}/+f/{digest[:3]}/{digest[3:16]}/{file}"
    answer = ask(index.vantages[0], index, [Request(address, user=publisher(index))])[0]
    assert (answer.status, answer.sha256) == (200, digest) or answer.status == 404, str(answer)
    served = linked(index, index.target.name, name)
    assert {answer.status for answer in served} == {200}
    assert {answer.sha256 for answer in served} <= {digest, hashlib.sha256(wheel(name, "2.0")[1]).hexdigest()}
    index.discard(name)


@MIRRORING
def test_killed_at_a_fetch(fleet: Fleet, first_uploader: tools.Person) -> None:
    """A file that came from the public index only in part is not kept and not served: the next one who asks gets all
    of it."""
    if not fleet.upstreams:
        pytest.skip("the inventory has no host that stands for the public index (group upstream)")
    client, user = first_uploader
    index = client.index
    assert isinstance(index, Devpi)
    forget(index, SLOW)
    original = (
        fleet.upstreams[0].check("sh", "-c", f"sha256sum /srv/upstream/files/{module_name(SLOW)}-*.whl").split()[0]
    )
    stored = f"{module_name(SLOW)}-*.whl"
    with client.machine.folder(user.name) as folder, ThreadPoolExecutor() as pool:
        with killer(index, pool):
            broken = pool.submit(tools.download, client, user, folder, SLOW)
        # Whatever pip made of it: nothing half of it is there
        interrupted = broken.result()
    wait_for(index)
    assert index.stored(index.mirror, stored) in (
        {},
        {Path(f).name: original for f in index.stored(index.mirror, stored)},
    )
    with client.machine.folder(user.name) as folder:
        tools.assert_runs(tools.download(client, user, folder, SLOW))
        fetched = client.machine.check("sh", "-c", 'sha256sum "$1"/*', "sh", folder).split()[0]
    assert fetched == original, str(interrupted)
    assert set(index.stored(index.mirror, stored).values()) == {original}
    forget(index, SLOW)


@contextmanager
def small_disk(index: Devpi, spare_mb: int) -> Iterator[None]:
    """The server's folder is on a disk (in memory) that has `spare_mb` left; afterwards all is as it was before."""
    place, machine = str(index["devpi_server_dir"]), index.machine
    used = int(machine.check("du", "--summarize", "--block-size=1M", place).split()[0])
    if used > 1024:
        pytest.skip(f"{index} holds {used} MB: too much to be copied into memory")
    script = f"""\
        set -eu
        systemctl stop {" ".join(index.units)} {index.kind}.socket
        mkdir /mnt/pyindex-acceptance
        mount -t tmpfs -o size={used + spare_mb}m,mode=0700 tmpfs /mnt/pyindex-acceptance
        cp -a "$1/." /mnt/pyindex-acceptance/
        chown --reference="$1" /mnt/pyindex-acceptance
        chmod --reference="$1" /mnt/pyindex-acceptance
        mount --bind /mnt/pyindex-acceptance "$1"
        systemctl start {index.units[0]}
        """
    back = f"""\
        systemctl stop {" ".join(index.units)} {index.kind}.socket
        umount "$1"
        umount /mnt/pyindex-acceptance
        rmdir /mnt/pyindex-acceptance
        systemctl start {index.units[0]}
        """
    try:
        machine.check("sh", "-c", script, "sh", place)
        wait_for(index)
        yield
    finally:
        machine.run("sh", "-c", back, "sh", place)
        wait_for(index)


def test_full_disk(index: Devpi, run_id: str) -> None:
    """An upload for which there is no room is refused soon, in words; what is there stays whole and is served; once
    there is room again, uploads work without anybody's help."""
    name = f"{PREFIX}-{run_id}-full"
    old = wheel(name, "1.0")
    put(index, index.target, old)
    user = publisher(index)
    with small_disk(index, spare_mb=24):
        huge = wheel(name, "2.0", ballast=64 * 2**20)
        begin = time.monotonic()
        refused = ask(index.vantages[0], index, [index.post(index.target.name, user, *huge)])[0]
        assert time.monotonic() - begin < 60
        assert refused.status in {500, 503, 507}, str(refused)
        assert re.search("space|disk|full", f"{refused.reason} {refused.text}", re.IGNORECASE), str(refused)
        assert index.stored(index.target.name, f"{module_name(name)}-2.0*") == {}
        served = ask(index.vantages[0], index, [Request(file_path(index.target.name, *old), user=user)])[0]
        assert (served.status, served.sha256) == (200, hashlib.sha256(old[1]).hexdigest())
        answers = linked(index, index.target.name, name)
        assert [answer.sha256 for answer in answers] == [hashlib.sha256(old[1]).hexdigest()]

        size = index.machine.check("findmnt", "-bno", "SIZE", "/mnt/pyindex-acceptance").strip()
        index.machine.check("mount", "-o", f"remount,size={int(size) + 256 * 2**20}", "/mnt/pyindex-acceptance")
        put(index, index.target, huge)
        stored = index.stored(index.target.name, f"{module_name(name)}-2.0*")
        assert stored == {huge[0]: hashlib.sha256(huge[1]).hexdigest()}
    # What was published in memory is gone with it
    served = ask(index.vantages[0], index, [Request(file_path(index.target.name, *old), user=user)])[0]
    assert served.status == 200
