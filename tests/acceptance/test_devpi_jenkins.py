"""The trigger of a Jenkins job (plugin devpi-jenkins, option uploadtrigger_jenkins of an index)."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from .devpi import People
from .distributions import PREFIX, wheel
from .fleet import Fleet, ansible
from .indexes import Devpi, User
from .kinds import JENKINS
from .machines import Machine
from .web import Answer, ask

pytestmark = JENKINS

PORTS = Path(__file__).parent / "remote" / "ports.py"
RECORDER = Path(__file__).parent / "remote" / "record.py"


@dataclass(frozen=True)
class Job:
    """An index whose uploads start a job, and where that job's server would be."""

    index: Devpi
    stage: str
    user: User
    machine: Machine
    port: int

    def upload(self, name: str) -> Answer:
        """Publish a release there."""
        file, content = wheel(name, "1.0")
        return ask(self.machine, self.index, [self.index.post(self.stage, self.user, file, content)])[0]


PLAY = """\
- name: Make an index with a trigger
  hosts: "{{ trigger_host }}"
  become: true
  gather_facts: false
  tasks:
    - name: Make an index with a trigger
      pyindex.fleet.devpi_index:
        unix_socket: "{{ trigger_socket }}"
        password: "{{ trigger_password }}"
        name: "{{ trigger_index }}"
        volatile: true
        acl_upload: ["{{ trigger_user }}"]
        options:
          uploadtrigger_jenkins: "{{ trigger_url }}"
"""


@pytest.fixture(scope="session")
def jobs() -> dict[str, Job]:
    return {}


@pytest.fixture
def job(fleet: Fleet, index: Devpi, people: People, jobs: dict[str, Job]) -> Job:
    """One whose server would be on a client host. The index is made by the collection's own module."""
    machine = index.vantages[0]
    if index.machine.name not in jobs:
        user = people.make(index, "builder")
        port = 20000 + secrets.randbelow(9999)
        address = machine.check("sh", "-c", "hostname -I").split()[0]
        url = f"http://{address}:{port}/job/{{pkgname}}/{{pkgversion}}/build"
        stage = f"{user.name}/triggered"
        play, variables = fleet.folder / "trigger.yml", fleet.folder / "trigger.json"
        play.write_text(PLAY, encoding="utf-8")
        variables.touch(mode=0o600)
        given = {"host": index.machine.name, "socket": index["devpi_socket"], "password": index.root.password}
        given |= {"index": stage, "user": user.name, "url": url}
        text = json.dumps({f"trigger_{name}": value for name, value in given.items()})
        variables.write_text(text, encoding="utf-8")
        done = ansible(fleet.inventory, "ansible-playbook", str(play), "-e", f"@{variables}")
        assert done.returncode == 0, done.stdout + done.stderr
        jobs[index.machine.name] = Job(index, stage, user, machine, port)
    return jobs[index.machine.name]


def test_upload_starts_the_job(job: Job, run_id: str) -> None:
    """One POST to the job's URL, with project and version in it, and with a script that would test the release."""
    name = f"{PREFIX}-{run_id}-triggering"
    with ThreadPoolExecutor() as pool:
        server = pool.submit(
            job.machine.program, RECORDER, {"port": job.port, "requests": 1, "seconds": 30, "status": 201}
        )
        probe = {"address": "127.0.0.1", "ports": [job.port], "seconds": 1}
        while not job.machine.program(PORTS, probe):
            assert not server.done()
        answer = job.upload(name)
    (request,) = server.result()
    assert answer.status == 200, str(answer)
    assert answer.text == ""
    assert (request["method"], request["path"]) == ("POST", f"/job/{name}/1.0/build")
    assert request["headers"]["content-type"].startswith("multipart/form-data")
    body = base64.b64decode(request["body"]).decode()
    assert re.search(r'name="Submit"\s+Build', body)
    assert '"parameter"' in body
    # What the job is to run: tests of that release, from that index, by the URL that clients use
    assert 'filename="file0"' in body
    assert f"{name}==1.0" in body
    assert f"{job.index.url}{job.stage}" in body


def test_upload_is_kept_when_the_job_cannot_be_started(job: Job, run_id: str) -> None:
    """The server of the job is down, or refuses: the release is published all the same, soon, and whoever uploaded it
    is told."""
    begin = time.monotonic()
    name = f"{PREFIX}-{run_id}-untriggered"
    answer = job.upload(name)
    assert answer.status == 200, str(answer)
    assert "trigger" in f"{answer.reason} {answer.text}", str(answer)
    assert time.monotonic() - begin < 30
    assert len(job.index.stored(job.stage, "*untriggered*")) == 1
