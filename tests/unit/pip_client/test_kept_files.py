"""The set of managed files: check, apply, check, apply; what was there before comes back; nothing leaves its place."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _keyring, _netrc, _pypirc
from ansible_collections.pyindex.fleet.plugins.module_utils._accounts import Account, ClientFilesError, account_for
from ansible_collections.pyindex.fleet.plugins.module_utils._kept_files import (
    SIZE_LIMIT,
    Outcome,
    Plan,
    Store,
    Wanted,
    apply,
    plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ME = Account("me", os.geteuid(), os.getegid(), (os.getegid(),))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can use the rights of others")


def whole(path: Path, content: str, account: Account = ME, mode: int = 0o644) -> Wanted:
    return Wanted(str(path), account, mode, lambda _existing: content.encode())


def login(path: Path, password: str, account: Account = ME) -> Wanted:
    return Wanted(
        str(path), account, 0o600, lambda existing: _netrc.merge(existing, ["h"], "u", password), "netrc", ("h",)
    )


def upload(path: Path, password: str) -> Wanted:
    options = {"username": "u", "password": password}
    return Wanted(
        str(path), ME, 0o600, lambda existing: _pypirc.merge(existing, "pyindex", options), "pypirc", ("pyindex",)
    )


class Host:
    """A store, and the commands that ran."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.commands: list[str] = []
        self.run: Callable[[tuple[str, ...]], bool] = self._run

    def _run(self, command: tuple[str, ...]) -> bool:
        self.commands.append(command[0])
        return True

    def check(self, *wanted: Wanted) -> Plan:
        store = Store(str(self.directory))
        store.load()
        return plan(list(wanted), store)

    def apply(self, *wanted: Wanted) -> Outcome:
        store = Store(str(self.directory))
        store.load()
        return apply(plan(list(wanted), store), store, self.run)


def actions(todo: Plan) -> list[str]:
    return [change.action for change in todo.changes]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "pyindex" / "set")


def test_check_apply_check_apply_and_back_when_nothing_was_there(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "etc" / "uv" / "uv.toml"
    item = whole(path, "x = 1\n")
    assert actions(host.check(item)) == ["created"]
    assert not path.parent.exists()
    host.apply(item)
    assert path.read_text() == "x = 1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert actions(host.check(item)) == []
    host.apply(item)
    assert actions(host.check()) == ["removed"]
    host.apply()
    assert list(tmp_path.iterdir()) == [], "neither the directories nor the store are left"
    assert actions(host.check()) == []


def test_the_original_comes_back_with_contents_and_mode(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_bytes(b"[global]\n\xff\r\nx=1")
    path.chmod(0o640)
    todo = host.check(whole(path, "ours\n"))
    assert actions(todo) == ["updated"]
    assert "[global]" in todo.diff()[0]["before"]
    host.apply(whole(path, "ours\n"))
    host.apply(whole(path, "ours, changed\n"))
    assert path.read_text() == "ours, changed\n"
    host.apply()
    assert path.read_bytes() == b"[global]\n\xff\r\nx=1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not host.directory.exists()


@as_root
def test_a_group_is_given_and_comes_back(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("before")
    before = path.stat().st_gid
    other = next((group for group in os.getgroups() if group != before), before + 1)
    item = replace(whole(path, "ours\n", mode=0o640), gid=other)
    host.apply(item)
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (other, 0o640)
    assert actions(host.check(item)) == []
    os.chown(path, -1, before)
    assert actions(host.check(item)) == ["updated"], "a group that is asked for is looked at"
    host.apply(item)
    # Without one it is nobody's business
    assert actions(host.check(whole(path, "ours\n", mode=0o640))) == []
    host.apply()
    assert (path.read_text(), path.stat().st_gid) == ("before", before)


def test_a_login_that_is_not_declared_any_more_goes(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "keyring_pass.cfg"
    path.write_bytes(_keyring.merge(b"", ["old"], "u", "theirs"))

    def keyring(service: str) -> Wanted:
        keys = (_keyring.key(service, "u"),)
        return Wanted(str(path), ME, 0o600, lambda data: _keyring.merge(data, [service], "u", "ours"), "keyring", keys)

    host.apply(keyring("old"))
    assert path.read_bytes() == _keyring.merge(b"", ["old"], "u", "ours")
    host.apply(keyring("new"))
    assert path.read_bytes() == _keyring.merge(_keyring.merge(b"", ["old"], "u", "theirs"), ["new"], "u", "ours")
    assert actions(host.check(keyring("new"))) == []
    host.apply()
    assert path.read_bytes() == _keyring.merge(b"", ["old"], "u", "theirs")


def test_originals_can_be_read_by_their_owner_only(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("before")
    host.apply(whole(path, "ours"))
    for each in [host.directory, *host.directory.rglob("*")]:
        assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each


def test_an_edited_file_is_kept_when_we_write_again_and_when_we_leave(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("before")
    host.apply(whole(path, "ours"))
    path.write_text("edited once")
    todo = host.check(whole(path, "ours"))
    assert any("edited by hand" in note for note in todo.notes)
    assert [Path(copy).read_text() for copy in host.apply(whole(path, "ours")).kept.values()] == ["edited once"]
    path.write_text("edited twice")
    assert [Path(copy).read_text() for copy in host.apply().kept.values()] == ["edited twice"]
    assert path.read_text() == "before"
    kept = sorted((host.directory / "edited").iterdir())
    assert [copy.read_text() for copy in kept] == ["edited once", "edited twice"]
    assert host.check().changes == []


def test_a_changed_declaration_is_no_edit(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    host.apply(whole(path, "one"))
    assert host.check(whole(path, "two")).notes == []
    assert host.apply(whole(path, "two")).kept == {}


def test_a_file_that_is_already_right_is_left_alone_and_stays(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("ours")
    path.chmod(0o644)
    host.apply(whole(path, "ours"))
    assert not host.directory.exists()
    host.apply()
    assert path.read_text() == "ours"


def test_what_is_no_longer_declared_goes(host: Host, tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "pip.conf", tmp_path / "two" / "pip.conf"
    host.apply(whole(one, "ours"))
    todo = host.check(whole(two, "ours"))
    assert actions(todo) == ["created", "removed"]
    host.apply(whole(two, "ours"))
    assert not one.parent.exists()
    assert two.read_text() == "ours"


def test_a_file_that_somebody_removed(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("before")
    host.apply(whole(path, "ours"))
    path.unlink()
    assert actions(host.check(whole(path, "ours"))) == ["created"]
    host.apply()
    assert path.read_text() == "before"


def test_a_wrong_mode_is_mended(host: Host, tmp_path: Path) -> None:
    path = tmp_path / ".netrc"
    host.apply(login(path, "p"))
    path.chmod(0o644)
    assert actions(host.check(login(path, "p"))) == ["updated"]
    host.apply(login(path, "p"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_merged_files_keep_what_people_add(host: Host, tmp_path: Path) -> None:
    netrc, pypirc = tmp_path / ".netrc", tmp_path / ".pypirc"
    netrc.write_text("machine a login b password c\nmachine h login old password original\n")
    netrc.chmod(0o640)
    wanted = [login(netrc, "p"), upload(pypirc, "p")]
    host.apply(*wanted)
    netrc.write_text(netrc.read_text() + "machine later login l password m\n")
    pypirc.write_text(pypirc.read_text() + "\n[later]\nusername = l\n")
    assert host.check(*wanted).changes == []
    host.apply(login(netrc, "changed"), upload(pypirc, "changed"))
    todo = host.check()
    assert len(todo.notes) == 2
    assert len(host.apply().kept) == 2
    assert "machine later" in netrc.read_text()
    assert "password original" in netrc.read_text()
    assert "changed" not in netrc.read_text()
    assert stat.S_IMODE(netrc.stat().st_mode) == 0o640
    assert pypirc.read_text().strip() == "[later]\nusername = l"
    assert host.check().changes == []


def test_merged_files_that_nobody_touched_come_back_as_they_were(host: Host, tmp_path: Path) -> None:
    netrc, pypirc = tmp_path / ".netrc", tmp_path / ".pypirc"
    netrc.write_bytes(b"machine a login b password \xe9")
    todo = host.check(login(netrc, "p"))
    assert any("not UTF-8" in note for note in todo.notes)
    host.apply(login(netrc, "p"), upload(pypirc, "p"))
    host.apply(login(netrc, "p"))
    assert not pypirc.exists()
    host.apply()
    assert netrc.read_bytes() == b"machine a login b password \xe9"


def test_diffs_show_no_secret(host: Host, tmp_path: Path) -> None:
    netrc, pypirc, conf = tmp_path / ".netrc", tmp_path / ".pypirc", tmp_path / "pip.conf"
    netrc.write_text("machine a login b password theirs1\n")
    conf.write_text("index-url = https://user:theirs2@host/simple\n")
    todo = host.check(login(netrc, "ours1"), upload(pypirc, "ours2"), whole(conf, "new"))
    shown = str(todo.diff())
    assert not [secret for secret in ("theirs1", "theirs2", "ours1", "ours2") if secret in shown]
    assert "machine a" in shown
    host.apply(login(netrc, "ours1"))
    changed = host.check(login(netrc, "ours2")).diff()[0]
    assert changed["before"] != changed["after"]


def test_a_link_is_replaced_by_a_file_and_comes_back(host: Host, tmp_path: Path) -> None:
    dotfiles, path = tmp_path / "dotfiles", tmp_path / ".netrc"
    dotfiles.write_text("machine a login b password c\n")
    path.symlink_to("dotfiles")
    assert any("symbolic link to dotfiles" in note for note in host.check(login(path, "p")).notes)
    host.apply(login(path, "p"))
    assert not path.is_symlink()
    assert "machine a" in path.read_text()
    assert dotfiles.read_text() == "machine a login b password c\n"
    host.apply()
    assert str(path.readlink()) == "dotfiles"


def test_what_people_add_to_a_file_that_was_a_link_stays(host: Host, tmp_path: Path) -> None:
    path = tmp_path / ".netrc"
    (tmp_path / "dotfiles").write_text("machine h login theirs password c\n")
    path.symlink_to("dotfiles")
    host.apply(login(path, "p"))
    path.write_text(path.read_text() + "machine later login l password m\n")
    host.apply()
    assert path.read_text() == "machine h login theirs password c\nmachine later login l password m\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dangling_link(host: Host, tmp_path: Path) -> None:
    path = tmp_path / ".netrc"
    path.symlink_to("nowhere")
    host.apply(login(path, "p"))
    assert not (tmp_path / "nowhere").exists()
    host.apply()
    assert str(path.readlink()) == "nowhere"


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_huge(path: Path) -> None:
    path.write_bytes(b"#" * (SIZE_LIMIT + 1))


def make_garbage(path: Path) -> None:
    path.write_text("hunter2")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_directory, "this is a directory, where a file belongs"),
        (make_pipe, "no regular file"),
        (make_huge, "larger than"),
        (make_garbage, "line 1: only machine"),
        (make_loop, "cannot read it"),
    ],
)
def test_odd_files_are_named_and_nothing_is_changed(
    host: Host, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path, other = tmp_path / ".netrc", tmp_path / "pip.conf"
    make(path)
    with pytest.raises(ClientFilesError, match=message) as caught:
        host.apply(whole(other, "ours"), login(path, "p"))
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not other.exists()
    assert not host.directory.exists()


def test_a_file_in_the_way_of_a_directory(host: Host, tmp_path: Path) -> None:
    (tmp_path / ".config").write_text("")
    with pytest.raises(ClientFilesError, match=r"a part of this path is a file"):
        host.check(whole(tmp_path / ".config" / "pip" / "pip.conf", "ours"))


def test_every_fault_is_named_at_once(host: Host, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(ClientFilesError, match=r"one: .*\n.*two: "):
        host.check(whole(tmp_path / "one", "x"), whole(tmp_path / "two", "x"))


def test_a_broken_record_is_named(host: Host, tmp_path: Path) -> None:
    host.apply(whole(tmp_path / "pip.conf", "ours"))
    (host.directory / "state.json").write_text("{")
    with pytest.raises(ClientFilesError, match=r"state\.json cannot be read"):
        host.check()


def test_the_command_runs_when_its_file_changes_and_when_it_goes(host: Host, tmp_path: Path) -> None:
    anchor = replace(whole(tmp_path / "ca.crt", "certificate"), command=("update-trust",))
    host.apply(anchor)
    host.apply(anchor)
    assert host.commands == ["update-trust"]
    host.apply(replace(anchor, merge=lambda _existing: b"another"))
    host.apply()
    host.apply()
    assert host.commands == ["update-trust"] * 3


def test_a_command_that_is_missing_or_fails_is_caught_up_with(host: Host, tmp_path: Path) -> None:
    anchor = replace(whole(tmp_path / "ca.crt", "certificate"), command=("update-trust",))
    host.run = lambda _command: False
    assert host.apply(anchor).missing_commands == ["update-trust"]

    def fail(_command: tuple[str, ...]) -> bool:
        raise ClientFilesError("failed")

    host.run = fail
    with pytest.raises(ClientFilesError, match="failed"):
        host.apply(anchor)
    assert host.check(anchor).commands == [("update-trust",)]
    host.run = host._run
    host.apply(anchor)
    assert host.commands == ["update-trust"]
    assert host.check(anchor).commands == []


def test_a_run_that_was_interrupted_is_finished_by_the_next(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("before one")
    two.write_text("before two")
    rename = os.rename

    def interrupted(source: str, target: str, **options: int) -> None:
        if target == "two":
            raise KeyboardInterrupt
        rename(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            host.apply(whole(one, "ours"), whole(two, "ours"))
    assert (one.read_text(), two.read_text()) == ("ours", "before two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "pyindex", "two"], "no temporary file is left"
    assert host.check(whole(one, "ours"), whole(two, "ours")).notes == []
    host.apply(whole(one, "ours"), whole(two, "ours"))
    assert two.read_text() == "ours"
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            host.apply()
    host.apply()
    assert (one.read_text(), two.read_text()) == ("before one", "before two")
    assert not host.directory.exists()


def test_what_was_not_done_is_not_remembered(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    rename = os.rename

    def full(source: str, target: str, **options: int) -> None:
        if target == "two":
            raise OSError(28, "No space left on device")
        rename(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(ClientFilesError, match=r"two: me cannot write it \(No space left on device\)"):
            host.apply(whole(one, "ours"), whole(two, "ours"))
    two.write_text("a person's, made in between")
    host.apply(whole(one, "ours"), whole(two, "ours"))
    host.apply()
    assert not one.exists()
    assert two.read_text() == "a person's, made in between"


def test_nobody_can_read_a_secret_while_it_is_written(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: set[int] = set()
    open_file = os.open

    def watched(path: str, flags: int, mode: int = 0o777, **options: int) -> int:
        if flags & os.O_CREAT:
            assert flags & os.O_EXCL
            assert flags & os.O_NOFOLLOW
            modes.add(mode)
        return open_file(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", watched)
    host.apply(login(tmp_path / ".netrc", "p"))
    assert modes == {0o600}


# -- attacks: the file's owner is somebody else than root


@pytest.fixture
def home() -> Iterator[tuple[Path, Account]]:
    entry = pwd.getpwnam("nobody")
    nobody = Account("nobody", entry.pw_uid, entry.pw_gid, (entry.pw_gid,))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o711)
        (path / "home").mkdir()
        os.chown(path / "home", nobody.uid, nobody.gid)
        (path / "secret").write_text("machine root login root password topsecret\n")
        (path / "secret").chmod(0o600)
        (path / "system").mkdir()
        (path / "system" / "pip.conf").write_text("the system's")
        yield path / "home", nobody


@as_root
def test_files_in_a_home_belong_to_their_user(host: Host, home: tuple[Path, Account]) -> None:
    directory, nobody = home
    path = directory / ".config" / "pip" / "pip.conf"
    host.apply(whole(path, "ours", nobody), login(directory / ".netrc", "p", nobody))
    for each in (path, path.parent, path.parent.parent, directory / ".netrc"):
        assert (each.stat().st_uid, each.stat().st_gid) == (nobody.uid, nobody.gid)
    host.apply()
    assert list(directory.iterdir()) == []
    assert os.geteuid() == 0


@as_root
def test_a_planted_link_does_not_show_the_user_what_only_root_can_read(host: Host, home: tuple[Path, Account]) -> None:
    directory, nobody = home
    (directory / ".netrc").symlink_to(directory.parent / "secret")
    with pytest.raises(ClientFilesError, match="nobody cannot read it"):
        host.apply(login(directory / ".netrc", "p", nobody))
    assert os.geteuid() == 0


@as_root
def test_a_planted_directory_link_does_not_lead_root_elsewhere(host: Host, home: tuple[Path, Account]) -> None:
    directory, nobody = home
    (directory / ".config").symlink_to(directory.parent)
    with pytest.raises(ClientFilesError, match="nobody cannot write it"):
        host.apply(whole(directory / ".config" / "system" / "pip.conf", "ours", nobody))
    assert (directory.parent / "system" / "pip.conf").read_text() == "the system's"


@as_root
def test_a_link_planted_later_does_not_make_root_remove_or_restore_elsewhere(
    host: Host, home: tuple[Path, Account]
) -> None:
    directory, nobody = home
    path = directory / "system" / "pip.conf"
    host.apply(whole(path, "ours", nobody))
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(directory.parent / "system")
    with pytest.raises(ClientFilesError, match="nobody cannot write it"):
        host.apply()
    assert (directory.parent / "system" / "pip.conf").read_text() == "the system's"


@as_root
def test_a_planted_temporary_file_is_not_written_through(host: Host, home: tuple[Path, Account]) -> None:
    directory, nobody = home
    victim = directory.parent / "system" / "pip.conf"
    (directory / ".netrc.pyindex-new").symlink_to(victim)
    host.apply(login(directory / ".netrc", "p", nobody))
    assert victim.read_text() == "the system's"
    assert (directory / ".netrc").read_bytes().startswith(b"# BEGIN")


@as_root
def test_an_original_of_root_in_a_home_comes_back_as_roots(host: Host, home: tuple[Path, Account]) -> None:
    directory, nobody = home
    path = directory / "pip.conf"
    path.write_text("of root")
    host.apply(whole(path, "ours", nobody))
    assert path.stat().st_uid == nobody.uid
    host.apply()
    assert (path.read_text(), path.stat().st_uid) == ("of root", 0)


@as_root
def test_whose_rights_a_path_gets(home: tuple[Path, Account]) -> None:
    directory, nobody = home
    assert account_for(str(directory.parent / "system" / "pip.conf")).uid == 0
    assert account_for(str(directory / "venv" / "pip.conf")).uid == nobody.uid
    (directory / "venv").mkdir()  # of root, in a folder of nobody
    assert account_for(str(directory / "venv" / "pip.conf")).uid == nobody.uid
    os.chown(directory / "venv", 1, 1)
    with pytest.raises(ClientFilesError, match="belong to several users"):
        account_for(str(directory / "venv" / "pip.conf"))
    (directory.parent / "system").chmod(0o777)
    with pytest.raises(ClientFilesError, match="every user may write"):
        account_for(str(directory.parent / "system" / "pip.conf"))
