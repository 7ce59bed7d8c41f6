"""Seeding: what is missing is published, what is done is known without asking anybody."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pyindex_pypiserver import seed as seed_module
from pyindex_pypiserver.distributions import parse_name
from pyindex_pypiserver.resolver import HOST_PYTHON, Found, Pip, SeedError
from pyindex_pypiserver.seed import Seed, main
from pyindex_pypiserver.storage import PackageStore
from tests.unit.pypiserver.made import sdist, sdist_members, wheel, zip_of

OTHER = "3.99"
FILES = {
    "demo-1.0-py3-none-any.whl": wheel(),
    "part-1.0-py3-none-any.whl": wheel("part"),
    "fast-1.0-cp399-cp399-linux_x86_64.whl": wheel("fast"),
    "old-1.0.tar.gz": sdist("old"),
    "broken-1.0-py3-none-any.whl": wheel("other"),
}
NEEDS = {
    "demo": ["demo-1.0-py3-none-any.whl", "part-1.0-py3-none-any.whl"],
    "part": ["part-1.0-py3-none-any.whl"],
    "old": ["old-1.0.tar.gz"],
    "broken": ["broken-1.0-py3-none-any.whl", "part-1.0-py3-none-any.whl"],
}


class FakePip(Pip):
    """An index with FILES; it counts what is asked of it."""

    calls: list[tuple[str, str, list[str]]]

    def resolve(self, requirements: Sequence[str], python: str, *_options: str) -> list[Found]:
        self.calls.append(("resolve", python, list(requirements)))
        name = requirements[0]
        if name not in NEEDS or (name == "old" and python != HOST_PYTHON):
            raise SeedError(f"No matching distribution found for {name}")
        files = [*NEEDS[name], *(["fast-1.0-cp399-cp399-linux_x86_64.whl"] if python == OTHER else [])]
        return [Found(text.split("-")[0], "1.0", f"https://x/{text}") for text in files]

    def download(self, links: Sequence[str], python: str) -> list[Path]:
        self.calls.append(("download", python, list(links)))
        folder = self.work / f"downloaded-{len(self.calls)}"
        folder.mkdir()
        for link in links:
            (folder / link.rpartition("/")[2]).write_bytes(FILES[link.rpartition("/")[2]])
        return sorted(folder.iterdir())


@pytest.fixture
def calls() -> list[tuple[str, str, list[str]]]:
    return []


@pytest.fixture
def make_pip(calls: list[tuple[str, str, list[str]]]) -> Callable[[Path], Pip]:
    def make(work: Path) -> Pip:
        pip = FakePip(work)
        pip.calls = calls
        return pip

    return make


def folders(store: PackageStore) -> list[str]:
    return ["--packages-dir", str(store.root), "--pages-dir", str(store.publisher.pages)]


def published(store: PackageStore) -> list[str]:
    return sorted(store.files())


def test_a_requirement_is_published_with_all_it_needs_and_then_done(
    store: PackageStore, make_pip: Callable[[Path], Pip], calls: list[tuple[str, str, list[str]]]
) -> None:
    seed = Seed(store)
    assert not seed.is_done("demo")
    outcome = seed.publish("demo", make_pip)
    assert (outcome.published, outcome.present, outcome.problems) == (NEEDS["demo"], [], [])
    assert published(store) == NEEDS["demo"]
    assert (store.root / "demo-1.0-py3-none-any.whl").read_bytes() == wheel()
    assert seed.is_done("demo")
    assert not seed.is_done("demo>=1")
    assert list(seed.folder.glob("work-*")) == []
    calls.clear()
    assert Seed(store).is_done("demo")
    assert calls == []


def test_only_what_is_missing_is_downloaded(
    store: PackageStore, make_pip: Callable[[Path], Pip], calls: list[tuple[str, str, list[str]]]
) -> None:
    Seed(store).publish("part", make_pip)
    calls.clear()
    outcome = Seed(store).publish("demo", make_pip)
    assert outcome.published == ["demo-1.0-py3-none-any.whl"]
    assert outcome.present == ["part-1.0-py3-none-any.whl"]
    assert calls[-1] == ("download", HOST_PYTHON, ["https://x/demo-1.0-py3-none-any.whl"])


def test_another_source_is_asked_once(store: PackageStore, make_pip: Callable[[Path], Pip]) -> None:
    Seed(store, source="first").publish("demo", make_pip)
    assert Seed(store, source="first").is_done("demo")
    second = Seed(store, source="second")
    assert not second.is_done("demo")
    assert second.publish("demo", make_pip).published == []
    assert second.is_done("demo")
    assert not Seed(store).is_done("demo")


def test_a_file_that_is_gone_makes_its_requirements_pending_again(
    store: PackageStore, make_pip: Callable[[Path], Pip]
) -> None:
    seed = Seed(store)
    seed.publish("demo", make_pip)
    seed.publish("part", make_pip)
    (store.root / "demo-1.0-py3-none-any.whl").unlink()
    assert not seed.is_done("demo")
    assert seed.is_done("part")
    assert seed.publish("demo", make_pip).published == ["demo-1.0-py3-none-any.whl"]
    assert seed.is_done("demo")


def test_other_pythons_are_seeded_too_and_are_part_of_the_stamp(
    store: PackageStore, make_pip: Callable[[Path], Pip]
) -> None:
    Seed(store).publish("demo", make_pip)
    seed = Seed(store, [OTHER])
    assert not seed.is_done("demo")
    outcome = seed.publish("demo", make_pip)
    assert outcome.published == ["fast-1.0-cp399-cp399-linux_x86_64.whl"]
    assert seed.is_done("demo")
    assert Seed(store, [OTHER, HOST_PYTHON, OTHER]).is_done("demo")


def test_what_has_no_wheel_for_another_python_is_taken_as_source(
    store: PackageStore, make_pip: Callable[[Path], Pip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_module, "resolve_with_sources", lambda _pip, host, _python: host)
    outcome = Seed(store, [OTHER]).publish("old", make_pip)
    assert outcome.problems == []
    assert published(store) == ["old-1.0.tar.gz"]


def test_an_unknown_requirement_is_a_problem_and_publishes_nothing(
    store: PackageStore, make_pip: Callable[[Path], Pip]
) -> None:
    seed = Seed(store)
    outcome = seed.publish("no-such-project", make_pip)
    assert outcome.problems == ["No matching distribution found for no-such-project"]
    assert published(store) == []
    assert not seed.is_done("no-such-project")


def test_a_file_that_is_not_what_it_says_is_a_problem_and_the_rest_is_published(
    store: PackageStore, make_pip: Callable[[Path], Pip]
) -> None:
    seed = Seed(store)
    outcome = seed.publish("broken", make_pip)
    assert published(store) == ["part-1.0-py3-none-any.whl"]
    assert len(outcome.problems) == 1
    assert "contains 'other 1.0'" in outcome.problems[0]
    assert not seed.is_done("broken")


def test_another_spelling_that_is_there_counts_as_there(store: PackageStore, make_pip: Callable[[Path], Pip]) -> None:
    with store.receive() as incoming:
        incoming.write(zip_of(sdist_members("Old")))
        store.publish(incoming, parse_name("Old-1.0.zip"))
    seed = Seed(store)
    outcome = seed.publish("old", make_pip)
    assert (outcome.published, outcome.present, outcome.problems) == ([], ["Old-1.0.zip"], [])
    assert seed.is_done("old")


def test_what_an_interrupted_seeding_left_is_removed(store: PackageStore, make_pip: Callable[[Path], Pip]) -> None:
    seed = Seed(store)
    stale = seed.folder / "work-stale" / "cache"
    stale.mkdir(parents=True)
    (seed.folder / "0000.json").write_text("{ half a st")
    seed.publish("demo", make_pip)
    assert not stale.parent.exists()
    stamp = seed.folder.glob("*.json")
    shutil.copy(next(path for path in stamp if "demo" in path.read_text()), seed.folder / "copy.json")
    for path in seed.folder.glob("*.json"):
        path.write_text("{ half a st")
    assert not seed.is_done("demo")


def test_the_command_says_what_is_pending(
    store: PackageStore, make_pip: Callable[[Path], Pip], capsys: pytest.CaptureFixture[str]
) -> None:
    Seed(store, [OTHER]).publish("demo", make_pip)
    arguments = ["pending", *folders(store), "--python-version", OTHER]
    assert main([*arguments, "--", "demo", "flask>=3"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pending": ["flask>=3"]}
    assert main([*arguments, "--refresh", "--", "demo"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pending": ["demo"]}


def test_the_command_publishes_and_names_what_failed(
    store: PackageStore,
    make_pip: Callable[[Path], Pip],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = Seed.publish
    monkeypatch.setattr(Seed, "publish", lambda seed, text: real(seed, text, make_pip))
    arguments = ["publish", *folders(store), "--"]
    assert main([*arguments, "demo"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)[0]["published"] == NEEDS["demo"]
    assert output.err == ""
    assert main([*arguments, "nope", "part"]) == 1
    output = capsys.readouterr()
    assert output.err == "nope: No matching distribution found for nope\n"
    assert json.loads(output.out)[1]["present"] == NEEDS["part"]


def test_the_settings_of_pip_come_from_standard_input(
    store: PackageStore, make_pip: Callable[[Path], Pip], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Seed.publish
    monkeypatch.setattr(Seed, "publish", lambda seed, text: real(seed, text, make_pip))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"PIP_INDEX_URL": "https://user:secret@x/", "PIP_RETRIES": 0}'))
    assert main(["publish", "--pip-environment", *folders(store), "--", "demo"]) == 0
    assert os.environ["PIP_INDEX_URL"] == "https://user:secret@x/"
    assert os.environ["PIP_RETRIES"] == "0"


@pytest.mark.parametrize("text", ["two words", "--index-url=https://evil", "-r file", "demo @ https://x/demo.whl", ""])
def test_what_is_no_requirement_is_refused(store: PackageStore, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["pending", *folders(store), "--", text])
    assert refusal.value.code == 2
    assert repr(text) in capsys.readouterr().err.splitlines()[-1]
