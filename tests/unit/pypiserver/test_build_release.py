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


LOCK = "demo==1.0 \\\n    --hash=sha256:1\n    # via more\nold-demo==0.3 \\\n    --hash=sha256:2\n"
MORE = "more==2.0 ; python_version < '3.12' \\\n    --hash=sha256:3\n"


def test_a_release_is_built_from_what_an_interrupted_build_has_left(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], str | None]] = []

    def run(arguments: list[str], env: dict[str, str] | None = None, **_: object) -> None:
        calls.append((arguments, (env or {}).get("PIP_INDEX_URL")))

    monkeypatch.setattr(subprocess, "run", run)
    release = tmp_path / "releases" / "key"
    modules = {"package/__init__.py": "", "package/part.py": "answer = 42\n"}
    pip_settings = {"PIP_INDEX_URL": "https://user:secret@x/"}
    builder.build(release, ".complete", [LOCK, MORE], ["old-demo"], pip_settings, modules)
    venv, pip, pip_sources = calls
    assert venv == ([sys.executable, "-m", "venv", "--clear", str(release)], None)
    for call, name in ((pip, "requirements.txt"), (pip_sources, "requirements-sources.txt")):
        assert call[0][:4] == [str(release / "bin" / "python"), "-m", "pip", "install"]
        assert call[0][-2:] == ["-r", str(release / name)]
        assert {"--require-hashes", "--no-deps"} < set(call[0])
        # The password is in the environment and in no argument
        assert call[1] == "https://user:secret@x/"
        assert "secret" not in str(call[0])
    assert "--only-binary=:all:" in pip[0]
    # What has no wheel is built when all the others are there, and nothing is fetched for that
    assert {"--no-build-isolation"} < set(pip_sources[0])
    wheels = (release / "requirements.txt").read_text()
    sources = (release / "requirements-sources.txt").read_text()
    assert [line.split("==")[0] for line in wheels.splitlines() if "==" in line] == ["demo", "more"]
    assert sources == "old-demo==0.3 \\\n    --hash=sha256:2\n"
    assert (release / ".complete").is_file()
    assert (release / "app" / "package" / "part.py").read_text() == "answer = 42\n"
    assert len(list(release.rglob("app/**/part.*.pyc"))) == 1
    assert (release / "app" / "package" / "part.py").stat().st_mode & 0o777 == 0o644
    # Another build of the same release waited for this one
    builder.build(release, ".complete", [], [], {}, {})
    assert len(calls) == 3


def test_a_failing_installation_leaves_the_release_incomplete(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(arguments: list[str], **_: object) -> None:
        if "pip" in arguments:
            raise subprocess.CalledProcessError(1, arguments)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(subprocess.CalledProcessError):
        builder.build(tmp_path, ".complete", [LOCK], [], {}, {})
    assert not (tmp_path / ".complete").exists()
