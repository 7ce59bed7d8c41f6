"""What pip is asked, and what its answers are made into."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyindex_pypiserver.resolver import HOST_PYTHON, Found, Pip, SeedError, resolve_for, resolve_with_sources

OTHER = "3.99"


def found(project: str, *requires: str, file_name: str = "", version: str = "1.0") -> Found:
    file_name = file_name or f"{project}-{version}-py3-none-any.whl"
    return Found(project, version, f"https://files.example.org/{file_name}", requires=requires)


class FakePip(Pip):
    """Answers from a table: (requirements, Python version, options) -> what is found, or an error."""

    def __init__(self, answer: Callable[[list[str], str, tuple[str, ...]], list[Found]]) -> None:
        super().__init__(Path())
        self.answer = answer
        self.asked: list[tuple[list[str], str]] = []

    def resolve(self, requirements: Sequence[str], python: str, *options: str) -> list[Found]:
        self.asked.append((list(requirements), python))
        return self.answer(list(requirements), python, options)


def test_the_host_s_python_is_resolved_at_once() -> None:
    pip = FakePip(lambda *_: [found("demo", "needed; python_version < '3'")])
    assert [item.project for item in resolve_for(pip, "demo", HOST_PYTHON)] == ["demo"]
    assert pip.asked == [(["demo"], HOST_PYTHON)]


def test_what_only_the_other_python_needs_is_resolved_along() -> None:
    index = {
        "demo": found("demo", "part>=2; python_full_version >= '3.99'", "never; python_version < '3'"),
        "part": found("part", "deeper[fast]; python_version == '3.99'"),
        "deeper": found("deeper", "quick; extra == 'fast'", "slow; extra == 'slow'"),
        "quick": found("quick"),
    }

    def answer(requirements: list[str], _unused: str, __: tuple[str, ...]) -> list[Found]:
        names = [text.split(">")[0].split("[")[0] for text in requirements]
        return [index[name] for name in names]

    pip = FakePip(answer)
    projects = [item.project for item in resolve_for(pip, "demo", OTHER)]
    assert projects == ["demo", "part", "deeper", "quick"]
    assert pip.asked[-1] == (["demo", "part>=2", "deeper[fast]", "quick"], OTHER)


def test_extras_of_the_requirement_count() -> None:
    index = {"demo": found("demo", "more; extra == 'all' and python_version == '3.99'"), "more": found("more")}
    pip = FakePip(lambda requirements, *_: [index[text.split("[")[0]] for text in requirements])
    assert [item.project for item in resolve_for(pip, "demo[all]", OTHER)] == ["demo", "more"]
    assert [item.project for item in resolve_for(pip, "demo", OTHER)] == ["demo"]


def test_a_dependency_without_end_is_an_error() -> None:
    def answer(requirements: list[str], *_: Any) -> list[Found]:
        return [found(f"p{number}", f"p{number + 1}; python_version == '3.99'") for number in range(len(requirements))]

    with pytest.raises(SeedError, match="does not come to an end"):
        resolve_for(FakePip(answer), "p0", OTHER)


def test_what_has_no_wheel_for_the_other_python_falls_back_to_its_source() -> None:
    host = [
        found("pure"),
        found("fast", file_name="fast-1.0-cp311-cp311-linux_x86_64.whl"),
        found("old", file_name="old-1.0.tar.gz"),
    ]

    def answer(requirements: list[str], python: str, options: tuple[str, ...]) -> list[Found]:
        if requirements == ["fast==1.0"] and python == OTHER:
            return [found("fast", file_name="fast-1.0-cp399-cp399-linux_x86_64.whl")]
        if requirements == ["old==1.0"] and python == HOST_PYTHON and "--no-binary" in options:
            return [found("old", file_name="old-1.0.tar.gz")]
        raise SeedError("No matching distribution found")

    names = [item.file_name for item in resolve_with_sources(FakePip(answer), host, OTHER)]
    assert names == ["pure-1.0-py3-none-any.whl", "fast-1.0-cp399-cp399-linux_x86_64.whl", "old-1.0.tar.gz"]
    with pytest.raises(SeedError, match=r"gone==1\.0 has neither a wheel for Python 3\.99 nor a source"):
        resolve_with_sources(FakePip(answer), [found("gone", file_name="gone-1.0-cp311-none-any.whl")], OTHER)


def report(folder: Path, *items: dict[str, Any]) -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        calls.append(list(arguments))
        if "--report" in arguments:
            Path(arguments[list(arguments).index("--report") + 1]).write_text(json.dumps({"install": items}))
        return subprocess.CompletedProcess(arguments, 0, "", "")

    calls: list[list[str]] = []
    run.calls = calls  # type: ignore[attr-defined]
    assert folder.is_dir()
    return run


def test_pip_s_report_is_read(tmp_path: Path) -> None:
    url = "https://x/a%2Bb/demo-1.0%2Blocal-py3-none-any.whl"
    item = {
        "metadata": {"name": "Demo", "version": "1.0", "requires_dist": ["part"]},
        "download_info": {
            "url": url,
            "archive_info": {"hashes": {"sha256": "ab"}},
        },
    }
    bare = {"metadata": {"name": "part", "version": "2"}, "download_info": {"url": "https://x/part-2.tar.gz"}}
    run = report(tmp_path, item, bare)
    first, second = Pip(tmp_path, run).resolve(["demo"], HOST_PYTHON)
    assert first == Found("Demo", "1.0", url, "ab", ("part",))
    assert first.file_name == "demo-1.0+local-py3-none-any.whl"
    assert first.link.endswith(".whl#sha256=ab")
    assert second.link == "https://x/part-2.tar.gz"
    (arguments,) = run.calls  # type: ignore[attr-defined]
    assert arguments[:3] == ["install", "--dry-run", "--ignore-installed"]
    assert arguments[-2:] == ["--", "demo"]
    assert "--python-version" not in arguments


def test_another_python_is_asked_for_with_wheels_only(tmp_path: Path) -> None:
    run = report(tmp_path)
    Pip(tmp_path, run).resolve(["demo"], OTHER)
    assert Pip(tmp_path, run).download(["https://x/demo.whl"], OTHER) == []
    for arguments in run.calls:  # type: ignore[attr-defined]
        start = arguments.index("--python-version")
        assert arguments[start : start + 4] == ["--python-version", OTHER, "--only-binary", ":all:"]


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "WARNING: x\nERROR: Could not find a version\nERROR: No matching distribution found for x\n",
            "No matching distribution found for x",
        ),
        (
            "WARNING: Retrying (x) after connection broken by 'No route': /simple/x/\nERROR: No matching distribution",
            r"No matching distribution \(connection broken by 'No route': /simple/x/\)",
        ),
        ("Traceback\nKeyError: 'x'\n", "KeyError: 'x'"),
        ("", "pip failed without a word"),
    ],
)
def test_the_last_error_of_pip_is_the_reason(tmp_path: Path, stderr: str, reason: str) -> None:
    pip = Pip(tmp_path, lambda arguments: subprocess.CompletedProcess(arguments, 1, "", stderr))
    with pytest.raises(SeedError, match=f"^{reason}$"):
        pip.resolve(["x"], HOST_PYTHON)


def test_pip_itself_runs_without_any_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(SeedError, match="No matching distribution found for no-such-project"):
        Pip(tmp_path).resolve(["no-such-project"], HOST_PYTHON)
    assert f"{sys.version_info.major}.{sys.version_info.minor}" == HOST_PYTHON
