"""The builder of releases (role python_service): from nothing, and from what an earlier call has left."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    path = Path(__file__).parents[3] / "roles/python_service/files/build_release.py"
    spec = importlib.util.spec_from_file_location("build_release", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_release_is_built_from_what_an_interrupted_build_has_left(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], str | None]] = []

    def run(arguments: list[str], env: dict[str, str] | None = None, **_: object) -> None:
        calls.append((arguments, (env or {}).get("PIP_INDEX_URL")))

    monkeypatch.setattr(subprocess, "run", run)
    release = tmp_path / "releases" / "key"
    modules = {"package/__init__.py": "", "package/part.py": "answer = 42\n"}
    builder.build(release, ".complete", ["demo==1.0\n", "more==2.0\n"], {"PIP_INDEX_URL": "https://user:secret@x/"}, modules)
    venv, pip = calls
    assert venv == ([sys.executable, "-m", "venv", "--clear", str(release)], None)
    assert pip[0][:4] == [str(release / "bin" / "python"), "-m", "pip", "install"]
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} < set(pip[0])
    # The password is in the environment and in no argument
    assert pip[1] == "https://user:secret@x/"
    assert "secret" not in str(pip[0])
    assert (release / ".complete").is_file()
    assert (release / "requirements-0.txt").read_text() == "demo==1.0\n"
    assert (release / "requirements-1.txt").read_text() == "more==2.0\n"
    assert pip[0][-4:] == ["-r", str(release / "requirements-0.txt"), "-r", str(release / "requirements-1.txt")]
    assert (release / "app" / "package" / "part.py").read_text() == "answer = 42\n"
    assert len(list(release.rglob("app/**/part.*.pyc"))) == 1
    assert (release / "app" / "package" / "part.py").stat().st_mode & 0o777 == 0o644
    # Another build of the same release waited for this one
    builder.build(release, ".complete", [], {}, {})
    assert len(calls) == 2


def test_a_failing_installation_leaves_the_release_incomplete(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(arguments: list[str], **_: object) -> None:
        if "pip" in arguments:
            raise subprocess.CalledProcessError(1, arguments)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(subprocess.CalledProcessError):
        builder.build(tmp_path, ".complete", ["no-such-project==1.0\n"], {}, {})
    assert not (tmp_path / ".complete").exists()
