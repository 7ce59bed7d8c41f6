"""What the module finds out about files, without Ansible."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils._nginx import (
    MARKER,
    ManagedFile,
    build_tree,
    digests,
    make_plan,
    needed_action,
    somebodys_work,
)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A configuration folder as a package leaves it, with credentials in it."""
    etc = tmp_path / "etc"
    for name, text in {
        "nginx.conf": "old\n",
        "conf.d/other.conf": "other\n",
        "conf.d/pyindex-gone.conf": f"# {MARKER})\n",
        "htpasswd/readers": "secret\n",
        "sites-available/default": "default\n",
    }.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(text)
    (etc / "sites-enabled").mkdir()
    (etc / "sites-enabled/default").symlink_to(etc / "sites-available/default")
    return etc


def wanted(etc: Path) -> list[ManagedFile]:
    return [
        ManagedFile(str(etc / "nginx.conf"), "new\n"),
        ManagedFile(str(etc / "conf.d/pyindex-index.conf"), "index\n"),
        ManagedFile(str(etc / "lua/a.lua"), "lua\n"),
        ManagedFile(str(etc.parent / "unit.d/pyindex.conf"), "unit\n", "restart"),
    ]


def absent(etc: Path) -> list[str]:
    return [str(etc / "conf.d/pyindex-*.conf"), str(etc / "sites-enabled/default"), str(etc / "nowhere/*")]


def test_plan_names_what_differs(etc: Path) -> None:
    plan = make_plan(wanted(etc), absent(etc))
    assert [file.path for file in plan.write] == [file.path for file in wanted(etc)]
    assert plan.remove == [str(etc / "conf.d/pyindex-gone.conf"), str(etc / "sites-enabled/default")]
    assert plan.before[str(etc / "nginx.conf")] == "old\n"


def test_plan_is_empty_when_nothing_differs(etc: Path) -> None:
    files = [ManagedFile(str(etc / "nginx.conf"), "old\n")]
    assert not make_plan(files, [str(etc / "conf.d/absent-*.conf")]).changed


def test_plan_replaces_a_link(etc: Path) -> None:
    """Even one with the right text: it is not our file."""
    (etc / "conf.d/pyindex-index.conf").symlink_to(etc / "nginx.conf")
    plan = make_plan([ManagedFile(str(etc / "conf.d/pyindex-index.conf"), "old\n")], [])
    assert plan.paths == [str(etc / "conf.d/pyindex-index.conf")]


def test_plan_removes_a_dangling_link(etc: Path) -> None:
    (etc / "sites-available/default").unlink()
    assert str(etc / "sites-enabled/default") in make_plan([], absent(etc)).remove


def test_somebodys_work_is_what_lacks_our_mark(etc: Path) -> None:
    plan = make_plan(wanted(etc), absent(etc))
    assert somebodys_work(plan) == [str(etc / "nginx.conf")]
    (etc / "sites-enabled/default").unlink()
    (etc / "sites-enabled/default").write_text("mine\n")
    assert somebodys_work(make_plan([], absent(etc))) == [str(etc / "sites-enabled/default")]


def test_tree_is_the_folder_after_the_change(etc: Path, tmp_path: Path) -> None:
    plan = make_plan(wanted(etc), absent(etc))
    tree = tmp_path / "tree"
    build_tree(str(etc), str(tree), wanted(etc), plan.remove)
    texts = {str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file()}
    assert texts == {
        "nginx.conf": "new\n",
        "conf.d/other.conf": "other\n",
        "conf.d/pyindex-index.conf": "index\n",
        "lua/a.lua": "lua\n",
    }
    # Reached through a link, not copied
    assert (tree / "htpasswd").is_symlink()
    assert (tree / "htpasswd/readers").read_text() == "secret\n"
    # The host is as it was
    assert (etc / "nginx.conf").read_text() == "old\n"
    assert (etc / "conf.d/pyindex-gone.conf").exists()


def test_tree_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    build_tree(str(tmp_path / "none"), str(tmp_path / "tree"), wanted(tmp_path / "none"), [])
    assert (tmp_path / "tree/conf.d/pyindex-index.conf").read_text() == "index\n"


def test_actions(etc: Path) -> None:
    """Restart for the unit, reload for the rest and for a certificate, nothing when all of it is in use."""
    certificate = etc / "site.crt"
    certificate.write_text("one")
    files = wanted(etc)
    for file in files:
        Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        Path(file.path).write_text(file.content)
    applied = digests(files, [str(certificate)])

    def action() -> str:
        return needed_action(digests(files, [str(certificate)]), applied, make_plan(files, []))

    assert action() == "none"
    certificate.write_text("two")
    assert action() == "reload"
    certificate.write_text("one")
    Path(files[1].path).write_text("edited by somebody\n")
    assert action() == "reload"
    Path(files[3].path).unlink()
    assert action() == "restart"
    # Written by a run that was interrupted before nginx was started with it
    Path(files[3].path).write_text(files[3].content)
    Path(files[1].path).write_text(files[1].content)
    applied.pop("restart")
    assert action() == "restart"
