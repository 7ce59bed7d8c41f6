"""Indexes of a devpi server: where a project is looked for, what an index that is not volatile keeps, and whose
project a name is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from . import tools
from .devpi import JSON, documentation, file_path, listing, put
from .distributions import PREFIX, module_name, wheel
from .fleet import Fleet
from .indexes import Devpi, Stage
from .kinds import DEVPI, MIRRORING
from .tools import Person
from .web import Request, ask, form

# Projects of the lab's public index: one that everybody uses, and one whose name is also that of a private project
PUBLIC, CONFUSED = "six", "pyindex-confusion"


@pytest.fixture
def reader(account: Person) -> Person:
    """A user of a client host who may read."""
    if not tools.may_read(*account):
        pytest.skip(f"{account[1].name} on {account[0]} may not read the index (pip_client_users)")
    return account


def own_stages(index: Devpi) -> list[Stage]:
    """Those that clients install from and that somebody of the inventory uploads to."""
    return [index.stages[name] for name in index.chain if name in index.stages]


@DEVPI
def test_project_is_found_wherever_it_is(reader: Person, run_id: str) -> None:
    """What clients install from gives what it has, then what its bases have."""
    client, user = reader
    index = client.index
    assert isinstance(index, Devpi)
    names = {}
    for number, stage in enumerate(own_stages(index)):
        names[f"{PREFIX}-{run_id}-in-{number}"] = stage
    for name, stage in names.items():
        if not index.stored(stage.name, f"{module_name(name)}-*"):
            put(index, stage, wheel(name, "1.0", value=f"from {stage.name}"))
    for tool in tools.installers(client):
        with client.machine.folder(user.name) as folder:
            tools.assert_runs(tools.install(client, user, tool, folder, *names))
            for name, stage in names.items():
                assert tools.installed_value(client, user, folder, module_name(name)) == f"from {stage.name}"


@MIRRORING
def test_public_project_comes_through_the_mirror(fleet: Fleet, reader: Person) -> None:
    """What no index of the server has comes from the mirror at the end of the bases."""
    if not fleet.upstreams:
        pytest.skip("the inventory has no host that stands for the public index (group upstream)")
    client, user = reader
    for tool in tools.installers(client):
        with client.machine.folder(user.name) as folder:
            tools.assert_runs(tools.install(client, user, tool, folder, PUBLIC))
            client.machine.check("test", "-f", f"{folder}/{PUBLIC}.py")


@DEVPI
def test_same_file_again_is_no_error(stage: tuple[Devpi, Stage], run_id: str) -> None:
    """An upload that is repeated after a broken connection succeeds, and the file is as it was; other content
    replaces it only where the index is volatile."""
    index, declared = stage
    file, content = wheel(f"{PREFIX}-{run_id}-twice", "1.0")
    put(index, declared, (file, content))
    before = index.stored(declared.name, file)
    put(index, declared, (file, content))
    assert index.stored(declared.name, file) == before
    other = wheel(f"{PREFIX}-{run_id}-twice", "1.0", value="other")
    answer = ask(index.vantages[0], index, [index.post(declared.name, index.publisher(declared), *other)])[0]
    assert answer.status == (200 if declared.volatile else 409), str(answer)
    sent = {file: hashlib.sha256(other[1]).hexdigest()}
    assert index.stored(declared.name, file) == (sent if declared.volatile else before)


@DEVPI
def test_release_is_never_removed_from_outside(stage: tuple[Devpi, Stage], run_id: str) -> None:
    """What an index that is not volatile holds stays: no file, version, project, index or user is removed, not by its
    owner, not by root, not with devpi's `force`, however that is written."""
    index, declared = stage
    if declared.volatile:
        return
    name = f"{PREFIX}-{run_id}-kept"
    file, content = wheel(name, "1.0")
    put(index, declared, (file, content))
    before = index.stored(declared.name, file)
    address = file_path(declared.name, file, content)
    targets = [f"/{declared.name}/{name}", f"/{declared.name}/{name}/1.0", address]
    forces = [
        "",
        "?force",
        "?force=",
        "?force=yes",
        "?x=1&force=yes",
        "?%66orce=yes",
        "?f%6Frce",
        "?force;x",
        "?&force",
    ]
    requests = [
        Request(target + force, "DELETE", user, headers=JSON)
        for user in (index.publisher(declared), index.root)
        for target in targets
        for force in forces
    ]
    hidden = (("Content-Type", "application/x-www-form-urlencoded"), *JSON)
    requests += [Request(target, "DELETE", index.publisher(declared), b"force=yes", hidden) for target in targets]
    requests += [Request(f"/{declared.name}", "DELETE", index.root, headers=JSON)]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests, parallel=4), strict=True):
        assert answer.status in {400, 403, 404, 405, 409, 415}, f"{request}: {answer}"
    assert index.stored(declared.name, file) == before
    page = ask(index.vantages[0], index, [listing(declared.name, name, index.publisher(declared))])[0]
    assert file in page.text


@DEVPI
def test_owner_cannot_loosen_an_index(stage: tuple[Devpi, Stage]) -> None:
    """What the inventory says of an index is root's business: its owner cannot make it volatile, let others upload
    or trust the mirror with a private name."""
    index, declared = stage
    user = index.publisher(declared)
    if user.name == "root":
        return
    kind = (("Content-Type", "application/json"), *JSON)
    changes = ["volatile=True", "acl_upload=:ANONYMOUS:", "mirror_whitelist=*", "acl_toxresult_upload=:ANONYMOUS:"]
    requests = [Request(f"/{declared.name}", "PATCH", user, json.dumps([change]).encode(), kind) for change in changes]
    for request, answer in zip(requests, ask(index.vantages[0], index, requests), strict=True):
        assert answer.status in {401, 403}, f"{request}: {answer}"


@DEVPI
def test_strangers_upload_no_test_results(stage: tuple[Devpi, Stage], run_id: str) -> None:
    """devpi itself would let everybody who reads post results (acl_toxresult_upload)."""
    index, declared = stage
    name = f"{PREFIX}-{run_id}-untested"
    file, content = wheel(name, "1.0")
    put(index, declared, (file, content))
    address = file_path(declared.name, file, content)
    result = json.dumps({"toxversion": "4", "platform": "linux", "host": "h", "testenvs": {}}).encode()
    kind = (("Content-Type", "application/json"), *JSON)
    for user in (None, index.reader):
        answer = ask(index.vantages[0], index, [Request(address, "POST", user, result, kind)])[0]
        assert answer.status in {401, 403}, str(answer)


@DEVPI
def test_documentation_of_a_release_stays(stage: tuple[Devpi, Stage], run_id: str) -> None:
    """An index that is not volatile keeps documentation as it keeps files."""
    index, declared = stage
    if declared.volatile:
        return
    name = f"{PREFIX}-{run_id}-documented"
    put(index, declared, wheel(name, "1.0"))
    fields = {":action": "doc_upload", "name": name, "version": "1.0"}
    archives = [documentation(text) for text in ("first", "second")]
    requests = [
        replace(
            form(fields, f"{name}-1.0.doc.zip", archive),
            target=f"/{declared.name}/",
            user=index.publisher(declared),
        )
        for archive in archives
    ]
    first, second = ask(index.vantages[0], index, requests)
    assert first.status == 200, str(first)
    assert second.status == 409, str(second)


@MIRRORING
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_private_project_wins_over_the_public_one(fleet: Fleet, first_uploader: Person, tool: str) -> None:
    """Dependency confusion: a project that exists privately is never taken from the mirror, although the public one
    of that name has a higher version; wherever in the bases the private one is."""
    if not fleet.upstreams:
        pytest.skip("the inventory has no host that stands for the public index (group upstream)")
    client, user = first_uploader
    index = client.index
    assert isinstance(index, Devpi)
    stages = own_stages(index)
    try:
        for stage in reversed(stages):
            put(index, stage, wheel(CONFUSED, "1.0", value=f"private, {stage.name}"))
            with client.machine.folder(user.name) as folder:
                tools.assert_runs(tools.install(client, user, tool, folder, CONFUSED))
                said = tools.installed_value(client, user, folder, module_name(CONFUSED))
                assert said.startswith("private"), said
                # The public one is not to be had at all
                assert tools.install(client, user, tool, f"{folder}/99", f"{CONFUSED}>1.0").code != 0
            page = ask(index.vantages[0], index, [listing(index.chain[0], CONFUSED, index.root)])[0]
            assert "1.0" in page.text
            assert "99" not in page.text
        # It is a real attack: the mirror has it
        *_list, mirrored = ask(index.vantages[0], index, [listing(index.mirror, CONFUSED, index.root)] * 2)
        assert "-99.0-" in mirrored.text, str(mirrored)
    finally:
        index.rest(*(("DELETE", f"/{stage.name}/{CONFUSED}?force=yes", None) for stage in stages))
