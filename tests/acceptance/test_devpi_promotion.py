"""Promotion by playbooks/promote_release.yml: from an index to the next, and never over something else."""

from __future__ import annotations

import subprocess

import pytest

from .devpi import put
from .distributions import PREFIX, wheel
from .fleet import Fleet, ansible
from .indexes import Devpi, Stage
from .kinds import DEVPI

pytestmark = DEVPI


def promote(fleet: Fleet, index: Devpi, name: str, source: str, target: str) -> subprocess.CompletedProcess[str]:
    given = {"name": name, "version": "1.0", "from": source, "to": target}
    extra = [word for key, value in given.items() for word in ("-e", f"promote_{key}={value}")]
    limit = ("--limit", index.machine.name)
    return ansible(fleet.inventory, "ansible-playbook", "playbooks/promote_release.yml", *limit, *extra)


def changed(done: subprocess.CompletedProcess[str]) -> bool:
    return "changed=0" not in done.stdout


def next_stage(index: Devpi, stage: Stage) -> Stage | None:
    """Where releases of an index are promoted to: its first base that is no mirror."""
    return next((index.stages[base] for base in stage.bases if base in index.stages), None)


def test_release_is_promoted(fleet: Fleet, index: Devpi, run_id: str) -> None:
    """The same files are on both indexes; again changes nothing; other content is refused, with words that say what
    is in the way, and the release is as it was."""
    target = next_stage(index, index.target)
    if target is None:
        return
    name = f"{PREFIX}-{run_id}-promoted"
    file, content = wheel(name, "1.0")
    put(index, index.target, (file, content))
    done = promote(fleet, index, name, index.target.name, target.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(done)
    there = index.stored(target.name, file)
    assert there == index.stored(index.target.name, file)

    again = promote(fleet, index, name, index.target.name, target.name)
    assert again.returncode == 0, again.stdout + again.stderr
    assert not changed(again), again.stdout

    if not index.target.volatile or target.volatile:
        return
    put(index, index.target, wheel(name, "1.0", value="other"))
    refused = promote(fleet, index, name, index.target.name, target.name)
    assert refused.returncode != 0, refused.stdout
    said = " ".join((refused.stdout + refused.stderr).split())
    assert file in said, said
    assert target.name in said, said
    assert "volatile" in said, said
    assert index.stored(target.name, file) == there


@pytest.mark.parametrize("what", ["release", "index"])
def test_nothing_to_promote_is_named(fleet: Fleet, index: Devpi, run_id: str, what: str) -> None:
    """A release or an index that is not there: the playbook fails and names it."""
    target = next_stage(index, index.target)
    if target is None:
        return
    name = f"{PREFIX}-{run_id}-never"
    missing = f"{index.target.owner}/no-such-index"
    done = promote(fleet, index, name, index.target.name, missing if what == "index" else target.name)
    assert done.returncode != 0
    assert (missing if what == "index" else name) in done.stdout
    assert "Traceback" not in done.stdout
