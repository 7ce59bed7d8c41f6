"""The check before a deployment: what is said of a bundle that does not fit a host, by the program that the role calls."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyindex_bundle.__main__ import build, main
from tests.unit.bundle.made import Index

Say = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return a function that runs a command with JSON, and returns its code, what it answers and what it complains of."""

    def run(description: dict[str, Any], *arguments: str) -> tuple[int, Any, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(description)))
        code = main(arguments)
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err.strip()

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, dict[str, Any], Path]:
    """Make an index, the description of a host, and a bundle for it as the playbook does: once, pip takes its time."""
    folder = tmp_path_factory.mktemp("needs")
    index = Index(folder / "index")
    index.wheel("server", requires=["native"])
    index.wheel("native", tag="cp311-cp311-manylinux_2_17_x86_64")
    index.wheel("app")
    host = {
        "name": "index1",
        "server": "pypiserver",
        "python": "3.11.2",
        "glibc": "2.36",
        "machine": "x86_64",
        "locks": [index.lock("server==1.0", "native==1.0")],
        "seed": {"requirements": ["app"], "pythons": ["3.13"]},
    }
    description = {"hosts": [host], "work": str(folder / "work")}
    with pytest.MonkeyPatch.context() as patch:
        index.be_the_only_one(patch)
        for name in build("plan", "", description):
            build("collect", name, description)
        first = build("write", str(folder / "bundle.tar"), description)
        again = build("write", str(folder / "bundle.tar"), description)
    assert [first["changed"], again["changed"], first["files"]] == [True, False, 3]
    return index, host, folder / "bundle.tar"


@pytest.fixture
def index(made: tuple[Index, dict[str, Any], Path]) -> Index:
    return made[0]


@pytest.fixture
def host(made: tuple[Index, dict[str, Any], Path]) -> dict[str, Any]:
    return copy.deepcopy(made[1])


@pytest.fixture
def bundle(made: tuple[Index, dict[str, Any], Path]) -> Path:
    return made[2]


def test_fits_the_host_that_it_was_made_for(say: Say, bundle: Path, host: dict[str, Any]) -> None:
    code, answer, _said = say({"bundle": str(bundle), "host": {**host, "free_bytes": 10**9}}, "check")
    assert code == 0
    assert len(answer["digest"]) == 16


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"python": "3.9.2"},
            "for pypiserver on index1 (Python 3.9.2 on x86_64 with glibc 2.36) it lacks native==1.0; it was made for Python 3.11",
        ),
        ({"machine": "aarch64"}, "lacks native==1.0"),
        ({"glibc": "2.12"}, "lacks native==1.0"),
        ({"server": "devpi"}, "it has nothing for devpi, which index1 runs; it was made for pypiserver"),
        ({"seed": {"requirements": ["app", "other"]}}, "the seed of index1 lacks other"),
        (
            {"seed": {"requirements": ["app"], "pythons": ["3.14"]}},
            "the seed of index1 is not for Python 3.14, but for 3.11, 3.13",
        ),
        ({"free_bytes": 10}, "index1 has 0 MB free for the bundle and needs 1 MB: make room"),
        (
            {"suite": "trixie", "missing_packages": ["nginx", "logrotate"]},
            "index1 (trixie) lacks the system's packages logrotate, nginx, and the bundle has them for no system",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_says_what_does_not_fit(
    say: Say, bundle: Path, host: dict[str, Any], change: dict[str, Any], complaint: str
) -> None:
    code, answer, said = say({"bundle": str(bundle), "host": {**host, **change}}, "check")
    assert (code, answer) == (1, None)
    assert complaint in said
    assert "\n" not in said


def test_names_every_wheel_that_a_newer_lock_asks_for(
    say: Say, bundle: Path, host: dict[str, Any], index: Index
) -> None:
    index.wheel("server", "2.0")
    index.wheel("further")
    newer = {**host, "locks": [index.lock("server==2.0", "native==1.0", "further==1.0")]}
    assert "it lacks further==1.0, server==2.0;" in say({"bundle": str(bundle), "host": newer}, "check")[2]


def test_says_where_a_bundle_comes_from_when_there_is_none(say: Say, host: dict[str, Any]) -> None:
    code, _answer, said = say({"bundle": "/nowhere/bundle.tar", "host": host}, "check")
    assert (code, said) == (
        1,
        "there is no bundle /nowhere/bundle.tar on the controller: make it with playbooks/build_bundle.yml",
    )


@pytest.mark.parametrize(
    ("requirement", "complaint"),
    [
        ("app @ https://example.org/app.whl", "names a URL: write the project and a version of it"),
        ("app==", "is no requirement: "),
    ],
)
@pytest.mark.parametrize("command", ["plan", "check"])
def test_a_seed_is_of_projects_and_versions(
    say: Say, bundle: Path, host: dict[str, Any], tmp_path: Path, command: str, requirement: str, complaint: str
) -> None:
    host["seed"]["requirements"] = [requirement]
    description = {"bundle": str(bundle), "host": host, "hosts": [host], "work": str(tmp_path)}
    code, _answer, said = say(description, command)
    assert code == 1
    assert said.startswith(f"index1: {requirement!r} {complaint}")


def test_a_file_that_cannot_be_written_is_named_on_one_line(
    say: Say, bundle: Path, host: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, _answer, said = say({"bundle": str(bundle), "host": host}, "part", str(tmp_path / "file" / "part.tar"))
    assert (code, said) == (1, f"{tmp_path}/file/part.tar: Not a directory")


def test_a_host_whose_seed_is_on_the_controller_does_not_get_it(
    say: Say, bundle: Path, host: dict[str, Any], tmp_path: Path
) -> None:
    host["seed"]["on_controller"] = True
    description = {"bundle": str(bundle), "host": host}
    say(description, "part", str(tmp_path / "part.tar"))
    assert b"seed/" not in (tmp_path / "part.tar").read_bytes()
    assert say(description, "extract", str(tmp_path / "seed"))[1] == {"changed": True}
    assert [path.name for path in (tmp_path / "seed").iterdir()] == ["app-1.0-py3-none-any.whl"]
