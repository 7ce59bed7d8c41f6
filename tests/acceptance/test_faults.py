"""What an index host goes through: the server killed in the middle of an upload, a reboot."""

from __future__ import annotations

import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from . import tools
from .distributions import PREFIX, Project, module_name, wheel
from .fleet import Fleet, ansible
from .indexes import Index, Pypiserver
from .kinds import PYPISERVER
from .shelf import publish, publisher
from .test_large_wheel import PROGRAM as LARGE_WHEEL
from .test_ports import declared, scan, ssh, tolerated
from .web import Request, ask

KILLER = Path(__file__).parent / "remote" / "kill_at_upload.py"

pytestmark = [pytest.mark.disruptive, pytest.mark.place(2)]


@PYPISERVER
def test_killed_server_serves_no_half_file(first_uploader: tools.Person, run_id: str) -> None:
    """SIGKILL while the file is being written: what is served afterwards is whole or not there, nothing is left over,
    and the next upload works without anybody's help."""
    client, user = first_uploader
    index = client.index
    name = f"{PREFIX}-{run_id}-killed-{client.machine.name}-{user.name}".lower()
    megabytes = min(200, index.max_upload_mb - 1)
    with client.machine.folder(user.name) as folder, ThreadPoolExecutor() as pool:
        job = {"folder": folder, "module": module_name(name), "version": "1.0", "megabytes": megabytes}
        made = client.machine.program(LARGE_WHEEL, job)
        watch = {"folder": index.packages, "seconds": 60, "bytes": 2**20, "unit": "pypiserver.service"}
        killer = pool.submit(index.machine.program, KILLER, watch)
        time.sleep(1)
        tools.upload(client, user, made["path"], timeout=300)
        assert killer.result(), "no upload was seen on the index's disk"
    publish(index, wheel(name, "2.0"))
    file = Path(made["path"]).name
    # twine tries again by itself, so the file may be there; if it is, as a whole
    assert index.published(file) in ({}, {file: made["sha256"]})
    answer = ask(index.vantages[0], index, [Request(f"/packages/{file}", user=publisher(index))])[0]
    assert (answer.status, answer.sha256) == (200, made["sha256"]) or answer.status == 404
    assert index.published("*.part") == {}


def test_reboot(fleet: Fleet, index: Index, published: Project) -> None:
    """After a reboot the index is as it was, with nobody's help: it answers, from the same files, and takes uploads."""
    before = index.published(f"{published.module}*")
    started = boot(index)
    # A connection that outlives its end would hang
    fleet.disconnect()
    if index["acceptance_reboot_command"]:
        command = shlex.split(index["acceptance_reboot_command"])
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    else:
        module = ("-b", "-m", "ansible.builtin.reboot", index.machine.name)
        done = ansible(fleet.inventory, "ansible", *module)
        assert done.returncode == 0, done.stdout + done.stderr
    wait_for(index)
    assert boot(index) != started
    assert index.published(f"{published.module}*") == before
    publish(index, wheel(f"{published.name}-after-reboot", "1.0"))
    assert scan(index) <= declared(index) | ssh(index) | tolerated(index)


def boot(index: Index) -> str:
    """What is different after each boot, of a machine and of a container."""
    return index.machine.check("sh", "-c", "cat /proc/sys/kernel/random/boot_id; cut -d ' ' -f 22 /proc/1/stat")


def wait_for(index: Index, seconds: float = 120) -> None:
    """Until it answers a client. No socket of systemd's takes connections for a container that still starts."""
    end = time.monotonic() + seconds
    requests = [Request(index.page, user=publisher(index), timeout=5)]
    if isinstance(index, Pypiserver) and index.container:
        requests.append(Request("/health", timeout=5))
    while {(answer := found).status for found in ask(index.vantages[0], index, requests)} != {200}:
        assert time.monotonic() < end, f"{index} does not answer: {answer}"
        time.sleep(1)
