"""What is done before devpi-server starts: its options are checked, its secret and its data are made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.devpi_server import install
from tests.unit.repository import ROOT

PASSWORD = "root's %password"
MIRROR = "https://upstream.example.org/simple/"


def prepare(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the program with the *options* of devpi-server's file that the test is about."""
    static = folder.with_name(f"{folder.name}-web")
    static.mkdir(exist_ok=True)
    given = {
        "options": {"serverdir": str(folder), "secretfile": str(folder / ".secret"), **options},
        "data": {"root_password": PASSWORD, "root_pypi": True, "mirror": {"mirror_url": MIRROR}},
        "own_folders": ["+files", "+docs"],
        "static_folder": str(static),
    }
    return subprocess.run(
        [install() / "python", "-m", "pyindex_devpi.prepare", *arguments],
        input=json.dumps(given),
        env={**os.environ, "PYTHONPATH": str(ROOT / "roles/devpi/files"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that was empty but for what the role makes, and has been prepared."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "+files").mkdir()
    done = prepare(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "changed\n", "")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wrong_options_are_named_and_nothing_is_made(tmp_path: Path) -> None:
    done = prepare(
        tmp_path,
        **{
            "restrict-modifyy": "root",
            "threads": "many",
            "offline-mode": "perhaps",
            "listen": "localhost:1",
            "role": "boss",
            "outside-url": True,
            "keyfs-cache-size": 20000,
            "trusted-proxy": "127.0.0.1",
            "no-replica-streaming": True,
        },
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "devpi-server has no option restrict-modifyy: did you mean restrict-modify?",
        "the option threads of devpi-server is 'many': it has to be a number",
        "the option offline-mode of devpi-server is 'perhaps': it has to be true or false",
        "the option listen of devpi-server is 'localhost:1': it has to be a list",
        "the option role of devpi-server is 'boss': it has to be one of master, primary, replica, standalone, auto",
        "the option outside-url of devpi-server is True: it has to be a text",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_option_like_no_other_is_told_which_there_are(tmp_path: Path) -> None:
    # A command of devpi-server, and no option of its file
    done = prepare(tmp_path, passwd="root")
    assert re.fullmatch(
        "devpi-server has no option passwd: it knows absolute-urls, .*, unix-socket-perms\n", done.stderr
    )


def test_new_data_belong_to_the_server_alone(made: Path) -> None:
    files = [path for path in made.iterdir() if path.is_file()]
    assert {".nodeinfo", ".secret", ".serverversion", ".sqlite"} == {path.name for path in files}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert len((made / ".secret").read_bytes()) >= 32
    assert json.loads((made / ".nodeinfo").read_text())["role"] == "primary"
    database = (made / ".sqlite").read_bytes()
    assert PASSWORD.encode() not in database
    assert b"$argon2id$" in database
    # From its first moment: devpi-server asks for the list of all projects as soon as it runs
    assert MIRROR.encode() in database


def test_a_second_call_changes_nothing(made: Path) -> None:
    before = contents(made)
    done = prepare(made)
    assert (done.returncode, done.stdout) == (0, "")
    assert contents(made) == before


def test_check_mode_makes_nothing(tmp_path: Path) -> None:
    done = prepare(tmp_path, "--check")
    assert (done.returncode, done.stdout) == (0, "changed\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moved", [0, 2])
def test_data_that_were_being_moved_are_kept(made: Path, tmp_path: Path, moved: int) -> None:
    """The call before was killed after that many files were in their place."""
    ready = tmp_path / ".pyindex-new"
    shutil.copytree(made, ready, ignore=shutil.ignore_patterns(".secret", "+files"))
    for name in sorted({path.name for path in ready.iterdir()} - {".nodeinfo"})[:moved]:
        (ready / name).rename(tmp_path / name)
    done = prepare(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "changed\n", "")
    wanted = {name: text for name, text in contents(made).items() if name != ".secret"}
    assert {name: text for name, text in contents(tmp_path).items() if name != ".secret"} == wanted
    assert not ready.exists()


def test_data_and_secret_that_were_being_made_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".pyindex-unfinished").mkdir()
    (tmp_path / ".pyindex-unfinished" / ".nodeinfo").write_text("{")
    (tmp_path / ".secret.new").write_text("")
    done = prepare(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {".nodeinfo", ".secret", ".serverversion", ".sqlite"}


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = prepare(tmp_path)
    assert done.returncode == 1
    assert "holds no data of devpi-server, but thesis.txt: name an empty folder in devpi_server_dir" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_secret_that_others_can_read_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    shutil.copytree(made, folder)
    (folder / ".secret").chmod(0o640)
    done = prepare(folder)
    assert done.returncode == 1
    assert "can be read by others than the server" in done.stderr


def test_the_front_finds_the_files_of_the_web_pages(made: Path, tmp_path: Path) -> None:
    (current,) = made.with_name(f"{made.name}-web").iterdir()
    assert (current / "style.css").stat().st_size > 0
    # What an interrupted call has left, and an older version: gone once the pages have the current one
    folder = tmp_path / "server"
    shutil.copytree(made, folder)
    static = tmp_path / "server-web"
    for name in (".pyindex-unfinished", "+static-0.0.1"):
        (static / name).mkdir(parents=True)
    assert prepare(folder).returncode == 0
    assert {path.name for path in static.iterdir()} == {current.name, "+static-0.0.1"}
    assert contents(static) == {f"{current.name}/{name}": text for name, text in contents(current).items()}
    assert prepare(folder).returncode == 0
    assert {path.name for path in static.iterdir()} == {current.name}


def test_check_mode_copies_nothing(tmp_path: Path) -> None:
    assert prepare(tmp_path, "--check").returncode == 0
    assert list(tmp_path.with_name(f"{tmp_path.name}-web").iterdir()) == []
