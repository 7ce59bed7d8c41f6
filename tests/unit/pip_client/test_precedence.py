"""Which configuration pip really takes: every level of it, against a real index, with the HOME and XDG folders of the test.

What the role's README says of precedence is held to here. /etc/pip.conf is tried on the hosts of the acceptance suite.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pip
import pytest

from tests.acceptance.distributions import wheel

FILE, WHEEL = wheel("demo", "1.0")
LOGIN = ("alice", "s3c/ret@x:y")
# Weakest first: the two of XDG_CONFIG_DIRS, the two of a user, the virtual environment
LEVELS = ["first_xdg", "second_xdg", "user_legacy", "user", "virtualenv"]


class Indexes(ThreadingHTTPServer):
    """Many indexes, /NAME/simple/; that of the name `locked` asks for a login. `asked` are those that were asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.logins: list[str] = []

    def url(self, name: str, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.server_port}/{name}/simple/"


class Handler(BaseHTTPRequestHandler):
    server: Indexes

    def do_GET(self) -> None:
        name, _slash, path = self.path.lstrip("/").partition("/")
        self.server.asked.append(name)
        login = base64.b64decode(self.headers.get("Authorization", "").partition(" ")[2]).decode()
        self.server.logins.append(login)
        if name == "locked" and login != ":".join(LOGIN):
            self._answer(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
        elif path == "simple/demo/":
            self._answer(200, f'<a href="../../{FILE}">{FILE}</a>'.encode(), ("Content-Type", "text/html"))
        elif path == FILE:
            self._answer(200, WHEEL, ("Content-Type", "application/octet-stream"))
        else:
            self._answer(404, b"")

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Host:
    """A host of which only the homes and the folders of XDG are real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = {
            "first_xdg": folder / "one/pip/pip.conf",
            "second_xdg": folder / "two/pip/pip.conf",
            "user_legacy": folder / "home/.pip/pip.conf",
            "user": folder / "home/.config/pip/pip.conf",
            "virtualenv": folder / "venv/pip.conf",
        }
        (folder / "home").mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
        self.environment = {
            "HOME": str(folder / "home"),
            "PATH": os.environ["PATH"],
            "XDG_CONFIG_DIRS": f"{folder}/one:{folder}/two",
            # pip itself; the virtual environment has none, which would cost seconds
            "PYTHONPATH": str(Path(pip.__file__).parents[1]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def configure(self, level: str, text: str) -> None:
        self.places[level].parent.mkdir(parents=True, exist_ok=True)
        self.places[level].write_text(text)

    def pip(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [str(self.folder / "venv/bin/python"), "-m", "pip", *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def download(self, **environment: str) -> None:
        arguments = ("--no-input", "--no-cache-dir", "--no-deps", "--dest", str(self.folder / "out"), "demo")
        self.pip("download", *arguments, **environment)
        assert (self.folder / "out" / FILE).read_bytes() == WHEEL
        (self.folder / "out" / FILE).unlink()


@pytest.fixture
def indexes() -> Iterator[Indexes]:
    with Indexes() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.skipif(
    Path("/etc/pip.conf").is_file() and "index-url" in Path("/etc/pip.conf").read_text(),
    reason="the /etc/pip.conf of this machine stands above the folders of XDG",
)
def test_each_level_wins_over_those_before_it(host: Host, indexes: Indexes) -> None:
    for level in LEVELS:
        host.configure(level, f"[global]\nindex-url = {indexes.url(level)}\n")
        indexes.asked.clear()
        host.download()
        assert set(indexes.asked) == {level}
    # It names the files by the name of their kind (site is the virtual environment), and not in this order
    found = re.findall(r"^(\w+):\n((?: +.*\n?)*)", host.pip("config", "debug"), re.MULTILINE)
    read = {kind: re.findall(r"(\S+), exists: True$", text, re.MULTILINE) for kind, text in found}
    places = {level: str(path) for level, path in host.places.items()}
    assert [path for path in read["global"] if path != "/etc/pip.conf"] == [places["first_xdg"], places["second_xdg"]]
    assert read["user"] == [places["user_legacy"], places["user"]]
    assert read["site"] == [places["virtualenv"]]


def test_variables_of_the_environment_win_over_every_level(host: Host, indexes: Indexes) -> None:
    for level in LEVELS:
        host.configure(level, f"[global]\nindex-url = {indexes.url(level)}\n")
    (host.folder / "other.conf").write_text(f"[global]\nindex-url = {indexes.url('file')}\n")
    file = {"PIP_CONFIG_FILE": str(host.folder / "other.conf")}
    host.download(**file)
    assert set(indexes.asked) == {"file"}
    indexes.asked.clear()
    host.download(**file, PIP_INDEX_URL=indexes.url("variable"))
    assert set(indexes.asked) == {"variable"}


def test_levels_are_joined_option_by_option(host: Host, indexes: Indexes) -> None:
    host.configure("user_legacy", f"[global]\nindex-url = {indexes.url('index')}\ntimeout = 7\n")
    host.configure("user", "[global]\ntimeout = 9\n")
    host.download()
    assert set(indexes.asked) == {"index"}
    listed = host.pip("config", "list")
    assert "global.timeout='9'" in listed


def netrc(host: Host, password: str) -> None:
    path = host.folder / "home/.netrc"
    path.write_text(f"machine 127.0.0.1\n  login {LOGIN[0]}\n  password {password}\n")
    path.chmod(0o600)


def test_a_login_in_the_url_wins_over_the_netrc(host: Host, indexes: Indexes) -> None:
    host.configure("user", f"[global]\nindex-url = {indexes.url('locked')}\n")
    netrc(host, LOGIN[1])
    host.download()
    host.configure("user", f"[global]\nindex-url = {indexes.url('locked', 'alice:s3c%2Fret%40x%3Ay@')}\n")
    netrc(host, "wrong")
    indexes.logins.clear()
    host.download()
    assert set(indexes.logins) == {":".join(LOGIN)}


def keyring(host: Host) -> None:
    """The program's protocol, old (the password alone) and new (--mode=creds --output=json), without its package."""
    program = host.folder / "bin/keyring"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(host.folder / 'keyring.log')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "words = [word for word in sys.argv[1:] if not word.startswith('-')]\n"
        f"if words[0] != 'get' or words[1] not in ALLOWED or words[2:] != [{LOGIN[0]!r}]:\n    sys.exit(1)\n"
        f"login = {{'username': {LOGIN[0]!r}, 'password': {LOGIN[1]!r}}}\n"
        "print(json.dumps(login) if '--output=json' in sys.argv else login['password'])\n"
    )
    program.chmod(0o755)
    host.environment["PATH"] = f"{program.parent}:{host.environment['PATH']}"


def test_the_keyring_is_asked_for_the_password_of_a_name(host: Host, indexes: Indexes) -> None:
    keyring(host)
    program = host.folder / "bin/keyring"
    program.write_text(program.read_text().replace("ALLOWED", repr([f"127.0.0.1:{indexes.server_port}"])))
    host.configure("user", f"[global]\nindex-url = {indexes.url('locked', 'alice@')}\nkeyring-provider = subprocess\n")
    host.download()
    # First the name alone: an index counts that as a failed login, once for each run of pip
    assert indexes.logins.count("alice:") == 1
    assert LOGIN[1] not in (host.folder / "keyring.log").read_text()
    uv(host, indexes, 'keyring-provider = "subprocess"\n', "alice@", 'authenticate = "always"\n')
    assert set(indexes.logins) == {":".join(LOGIN)}


@pytest.mark.parametrize("login", ["", "alice:s3c%2Fret%40x%3Ay@"], ids=["netrc", "url"])
def test_uv_has_the_same_login(host: Host, indexes: Indexes, login: str) -> None:
    netrc(host, "wrong" if login else LOGIN[1])
    uv(host, indexes, "", login)
    assert ":".join(LOGIN) in indexes.logins
    assert f"{LOGIN[0]}:wrong" not in indexes.logins


def uv(host: Host, indexes: Indexes, settings: str, login: str, more: str = "") -> None:
    """Install by uv from the index that wants a login."""
    path = host.folder / "home/.config/uv/uv.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'{settings}[[index]]\nurl = "{indexes.url("locked", login)}"\ndefault = true\n{more}')
    indexes.logins.clear()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("uv")), "pip", "install", "--no-cache", "--target", "out", "demo"],
        env=host.environment | {"UV_PYTHON": sys.executable},
        cwd=host.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert LOGIN[1] not in done.stdout + done.stderr
