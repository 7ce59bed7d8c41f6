"""Uploads that must not succeed, and what an index holds afterwards: what it held before."""

from __future__ import annotations

import gzip
import hashlib
import io
import time
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from .distributions import PREFIX, module_name, sdist, wheel
from .indexes import Pypiserver, User
from .kinds import PYPISERVER
from .shelf import publish, publisher
from .web import Answer, Request, ask, form, upload

pytestmark = PYPISERVER


def with_member(content: bytes, member: str) -> bytes:
    """A wheel with one more member."""
    memory = io.BytesIO(content)
    with zipfile.ZipFile(memory, "a") as archive:
        archive.writestr(member, "x")
    return memory.getvalue()


def faulty_uploads(user: User | None, name: str) -> dict[str, Request]:
    """What is wrong, and a request that is wrong in that way."""
    file, content = wheel(name, "1.0")
    source, packed = sdist(name, "1.0")
    fields = {":action": "file_upload", "name": name, "version": "1.0", "protocol_version": "1"}
    good = upload(user, file, content)

    def named(filename: str, data: bytes = content) -> Request:
        return replace(form(fields, filename, data), user=user)

    return {
        "text instead of a wheel": upload(user, file, b"This is no wheel.\n" * 50),
        "text instead of an archive": upload(user, source, gzip.compress(b"This is no archive.\n" * 50)),
        "an empty file": upload(user, file, b""),
        "a truncated wheel": upload(user, file, content[: len(content) // 2]),
        "a truncated archive": upload(user, source, packed[: len(packed) // 2]),
        "a wheel of another project": upload(user, *wheel(name, "1.0", inside=f"{name}-other")),
        "another project in the form": upload(user, file, content, name=f"{name}-other"),
        "another version in the form": upload(user, file, content, version="2.0"),
        "another checksum in the form": upload(user, file, content, sha256_digest="0" * 64),
        "a member outside of the wheel": upload(user, file, with_member(content, "../../outside.py")),
        "a name that leads upwards": named(f"../{file}"),
        "a name that leads far upwards": named(f"../../../../../../tmp/{file}"),
        "an absolute name": named(f"/tmp/{file}"),
        "a name with backslashes": named(f"..\\{file}"),
        "a name with an encoded slash": named(f"..%2f{file}"),
        "a hidden name": named(f".{file}"),
        "a name with a line break": named(f"{file}%0d%0aX-Injected: 1"),
        "no distribution at all": named(f"{module_name(name)}-1.0.html", b"<script>alert(1)</script>"),
        "a program": named(f"{module_name(name)}-1.0.exe"),
        "a file without a name": named(""),
        "no file": replace(form(fields), user=user),
        "no action": replace(form({"name": name, "version": "1.0"}, file, content), user=user),
        "an unknown action": replace(form(fields | {":action": "frobnicate"}, file, content), user=user),
        "no form": replace(good, body=content),
        "a form cut short": replace(good, body=(good.body or b"")[:-200]),
        "no type": replace(good, headers=()),
        "another type": replace(good, headers=(("Content-Type", "application/json"),)),
        "nothing": replace(good, body=b""),
    }


FAULTS = list(faulty_uploads(None, "x"))


@pytest.fixture(scope="session")
def refusals(index: Pypiserver, run_id: str) -> Mapping[str, Answer]:
    """The answers to all of them, by somebody who may upload."""
    requests = faulty_uploads(publisher(index), f"{PREFIX}-{run_id}-faulty")
    return dict(zip(requests, ask(index.vantages[0], index, list(requests.values()), parallel=4), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_upload_is_refused(refusals: Mapping[str, Answer], fault: str) -> None:
    """400, with one line that says why: in the body for uv, in the status line for twine."""
    answer = refusals[fault]
    assert answer.status == 400, str(answer)
    assert answer.headers["content-type"].startswith("text/plain")
    assert 10 < len(answer.text.strip()) < 500
    assert len(answer.text.strip().splitlines()) == 1
    assert answer.reason != "Bad Request"
    assert "x-injected" not in answer.headers


@pytest.mark.usefixtures("refusals")
def test_faulty_uploads_leave_nothing(index: Pypiserver, run_id: str) -> None:
    """Neither in the packages folder, hidden folders included, nor where the names led to."""
    assert index.published(f"*{run_id}_faulty*") == {}
    assert index.published("*.part") == {}
    places = [index.packages, f"{index.packages}/..", f"{index.packages}/../..", "/tmp"]
    found = index.machine.check("find", *places, "-maxdepth", "1", "-name", f"*{run_id}?faulty*")
    assert found == ""


def test_existing_file_stays(index: Pypiserver, run_id: str) -> None:
    """The same again, other content, and another spelling of the name: 409, and the first file is untouched."""
    if index.overwrite:
        return
    name = f"{PREFIX}-{run_id}-kept"
    file, content = wheel(name, "1.0")
    publish(index, (file, content), sdist(name, "1.0"))
    before = index.published(f"*{run_id}?kept*")
    user = publisher(index)
    again = [upload(user, file, content), upload(user, *wheel(name, "1.0", value="other"))]
    again += [upload(user, file.replace("1.0", "1"), wheel(name, "1", value="other")[1])]
    again += [upload(user, *sdist(name, "1.0"))]
    answers = ask(index.vantages[0], index, again)
    assert [answer.status for answer in answers] == [409] * len(again), [str(answer) for answer in answers]
    assert all("exist" in answer.text for answer in answers)
    assert index.published(f"*{run_id}?kept*") == before


def test_one_of_several_at_once_wins(index: Pypiserver, run_id: str) -> None:
    """Uploads of the same file at the same moment: one is stored, as a whole, and the others learn that they lost."""
    user = publisher(index)
    rivals = [wheel(f"{PREFIX}-{run_id}-race", "1.0", value=f"rival {number}") for number in range(4)]
    answers = ask(index.vantages[0], index, [upload(user, *rival) for rival in rivals], parallel=4)
    won = [rival for rival, answer in zip(rivals, answers, strict=True) if answer.status == 200]
    assert {answer.status for answer in answers} <= {200, 409}
    assert len(won) == (4 if index.overwrite else 1)
    (stored,) = index.published(f"*{run_id}_race*").values()
    assert stored in {hashlib.sha256(content).hexdigest() for _unused, content in won}


def test_too_large_upload_is_refused(index: Pypiserver, run_id: str) -> None:
    """413 as soon as its size is known, not after an hour of sending (pypiserver_max_upload_mb)."""
    size = (index.max_upload_mb + 64) * 2**20
    file, content = wheel(f"{PREFIX}-{run_id}-huge", "1.0")
    request = replace(upload(publisher(index), file, content), announced=size, body=None, timeout=30)
    answer = ask(index.vantages[0], index, [request])[0]
    assert answer.status == 413, str(answer)
    assert index.published(f"*{run_id}_huge*") == {}


def test_broken_off_upload_leaves_nothing(index: Pypiserver, run_id: str) -> None:
    """A client that goes away in the middle leaves no file, complete or not."""
    name = f"{PREFIX}-{run_id}-broken"
    request = upload(publisher(index), *wheel(name, "1.0"))
    body = request.body or b""
    request = replace(request, body=body[:-300], announced=len(body), hang_up=True)
    ask(index.vantages[0], index, [request] * 3, parallel=3)
    time.sleep(0.5)
    assert index.published(f"*{run_id}_broken*") == {}
    assert index.published("*.part") == {}


def test_slow_clients_block_nobody(index: Pypiserver, run_id: str) -> None:
    """More half-sent uploads than the server has threads, and pages still come at once."""
    user = publisher(index)
    request = upload(user, *wheel(f"{PREFIX}-{run_id}-slow", "1.0"))
    body = request.body or b""
    count = index.threads + 4
    slow = replace(request, body=body[:-300], announced=len(body), hold_seconds=6, timeout=1)
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, index.vantages[0], index, [slow] * count, count)
        time.sleep(2.5)
        pages = ask(index.vantages[-1], index, [Request("/simple/", user=user)] * 3)
        assert not held.done()
        assert [page.status for page in pages] == [200] * 3
        assert max(page.seconds for page in pages) < 2
    assert index.published(f"*{run_id}_slow*") == {}
