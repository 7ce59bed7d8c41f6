"""What is asked for: every fault is named before anything happens, and no message holds a password."""

from __future__ import annotations

import datetime
import grp
import os
import pwd
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.pyindex.fleet.plugins.module_utils._accounts import ClientFilesError
from ansible_collections.pyindex.fleet.plugins.module_utils._client_files import (
    Login,
    Repository,
    Request,
    TextFile,
    TrustAnchor,
    User,
    check_anchor,
    check_shared,
    check_users,
    resolve,
)

NAME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user who runs the tests a home that may be written to."""
    mine = pwd.getpwnam(NAME)
    fields = [*mine[:5], str(tmp_path), mine.pw_shell]

    def getpwnam(name: str) -> pwd.struct_passwd:
        if name != NAME:
            raise KeyError(name)
        return pwd.struct_passwd(fields)

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    return tmp_path


def certificate(*, ca: bool = True, days: int = 30) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def anchor(text: str) -> TrustAnchor:
    return TrustAnchor("/usr/local/share/ca-certificates/x.crt", text, ("update-ca-certificates",))


def test_a_request_becomes_files_of_each_user(home: Path) -> None:
    request = Request(
        files=[TextFile("/etc/pip.conf", "a"), TextFile("~/.config/pip/pip.conf", "b")],
        users=[User(NAME, "up", "secret", upload=True)],
        machines=["index1.example.org"],
        repository=Repository("pyindex", "https://index1.example.org/", "/ca.crt"),
        devpi_index="https://devpi.example.org/user/dev/",
        anchor=anchor(certificate()),
    )
    wanted, notes = resolve(request)
    assert notes == []
    assert {item.path: (item.kind, item.mode) for item in wanted} == {
        "/etc/pip.conf": ("text", 0o644),
        str(home / ".config/pip/pip.conf"): ("text", 0o644),
        str(home / ".netrc"): ("netrc", 0o600),
        str(home / ".pypirc"): ("pypirc", 0o600),
        str(home / ".devpi/client/current.json"): ("current_json", 0o600),
        str(home / ".devpi/client/auth.json"): ("auth_json", 0o600),
        "/usr/local/share/ca-certificates/x.crt": ("text", 0o644),
    }
    written = {Path(item.path).name: item.merge(b"").decode() for item in wanted}
    assert "machine index1.example.org\n  login up\n  password secret\n" in written[".netrc"]
    assert "repository = https://index1.example.org/\nusername = up\npassword = secret\n" in written[".pypirc"]
    assert "ca_cert = /ca.crt\n" in written[".pypirc"]
    assert '"index": "https://devpi.example.org/user/dev"' in written["current.json"]
    assert "secret" not in written["current.json"]
    assert '"https://devpi.example.org:443/user/dev/+f/": [' in written["auth.json"]


@pytest.mark.parametrize(
    ("login", "user", "content", "mode"),
    [
        ("none", User(NAME, "me", "s@/:%"), "https://{login}h/", 0o644),
        ("username", User(NAME, "m e", "x"), "", 0),
        ("username", User(NAME, "me", "s@/:%"), "https://me@h/", 0o644),
        ("password", User(NAME, "me", "s@/:%"), "https://me:s%40%2F%3A%25@h/", 0o600),
        ("password", User(NAME), "https://h/", 0o600),
    ],
)
def test_the_login_of_each_user_in_a_url(login: str, user: User, content: str, mode: int) -> None:
    request = Request(files=[TextFile("~/.pip/pip.conf", "https://{login}h/", login=login)], users=[user])
    if not content:
        with pytest.raises(ClientFilesError, match="white space"):
            resolve(request)
        return
    (wanted,) = resolve(request)[0]
    assert (wanted.merge(b"").decode(), wanted.mode) == (content, mode)


def test_the_shared_login_is_for_a_group_or_for_the_owner_alone() -> None:
    group = grp.getgrgid(os.getegid())
    files = [
        TextFile("/etc/pip.conf", "https://{login}h/", login="password", group=group.gr_name),
        TextFile("/etc/xdg/pip/pip.conf", "https://{login}h/", login="password"),
    ]
    wanted, _notes = resolve(Request(files=files, shared=Login("me", "x/y")))
    assert [(item.merge(b""), item.mode, item.gid) for item in wanted] == [
        (b"https://me:x%2Fy@h/", 0o640, group.gr_gid),
        (b"https://me:x%2Fy@h/", 0o600, None),
    ]


def test_a_group_that_is_not_there_is_named() -> None:
    request = Request(files=[TextFile("/etc/pip.conf", "", group="no-such-group")])
    with pytest.raises(ClientFilesError, match=r"'no-such-group'.* does not exist .*pip_client_shared_login"):
        resolve(request)
    assert len(resolve(request, lenient=True)[1]) == 1


def test_a_group_in_a_home_is_refused() -> None:
    with pytest.raises(ClientFilesError, match="for its user only"):
        resolve(Request(files=[TextFile("~/pip.conf", "", group="root")], users=[User(NAME)]))


@pytest.mark.parametrize(
    ("login", "message"),
    [
        (Login("", "hunter2"), "the username .* is empty"),
        (Login("me", ""), "the password .* is empty"),
        (Login("me", "hunter2 "), "the password .* contains white space"),
        (Login("m:e", "hunter2"), "colon"),
    ],
)
def test_shared_logins_that_cannot_be_written(login: Login, message: str) -> None:
    (fault,) = check_shared(login)
    assert re.search(message, fault)
    assert "pip_client_shared_login" in fault
    assert "hunter2" not in fault + repr(login)


def test_a_keyring_has_the_login_of_each_user(home: Path) -> None:
    request = Request(users=[User(NAME, "me", "secret")], services=["h", "h:8443"])
    (wanted,) = resolve(request)[0]
    assert (wanted.path, wanted.mode, wanted.kind) == (
        str(home / ".local/share/python_keyring/keyring_pass.cfg"),
        0o600,
        "keyring",
    )
    assert wanted.keys == ("h me", "h_3A8443 me")
    assert b"secret" not in wanted.merge(b"")
    assert resolve(Request(users=[User(NAME)], services=["h"]))[0] == []


def test_a_user_without_a_login_has_the_index_of_devpi_too() -> None:
    request = Request(users=[User(NAME)], machines=["h"], devpi_index="https://h/user/dev/")
    assert {Path(item.path).name for item in resolve(request)[0]} == {"current.json"}


@pytest.mark.parametrize(
    ("user", "files"),
    [(User(NAME), set()), (User(NAME, "reader", "x"), {".netrc"})],
)
def test_only_logins_that_are_needed_are_written(user: User, files: set[str]) -> None:
    request = Request(users=[user], machines=["h"], repository=Repository("pyindex", "https://h/"))
    assert {Path(item.path).name for item in resolve(request)[0]} == files


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([User("a", "x", "y"), User("a", "z", "y")], "'a' stands twice"),
        ([User("a", "x")], "go together"),
        ([User("a", "", "hunter2")], "go together"),
        ([User("a", upload=True)], "upload .* needs a username"),
        ([User("a", "x:y", "z")], "colon"),
        ([User("a", "x y", "z")], "the username .* contains white space"),
        ([User("a", "x", "hunter2 ")], "the password .* contains white space"),
        ([User("a", "x", "hunter2\nmachine evil")], "the password .* contains white space"),
        ([User("a", "x", "hunter2\\")], "the password .* contains a backslash"),
        ([User("a", "x", '"hunter2')], "the password .* begins with"),
    ],
)
def test_users_that_cannot_be_written(users: list[User], message: str) -> None:
    faults = check_users(users)
    assert len(faults) == 1
    with pytest.raises(ClientFilesError, match=message):
        raise ClientFilesError(faults[0])
    assert "pip_client_users" in faults[0]
    assert "hunter2" not in faults[0]


def test_a_password_is_in_no_representation() -> None:
    assert "hunter2" not in repr(User("a", "x", "hunter2"))


def test_an_unknown_user_is_named_and_is_a_note_only_when_checking() -> None:
    request = Request(users=[User("carol", "x", "y")], machines=["h"])
    with pytest.raises(ClientFilesError, match=r"'carol' does not exist on this host.*pip_client_users"):
        resolve(request)
    wanted, notes = resolve(request, lenient=True)
    assert wanted == []
    assert "'carol' does not exist" in notes[0]


def test_a_missing_home_is_named(home: Path) -> None:
    home.rmdir()
    with pytest.raises(ClientFilesError, match=r"the home directory .* is missing"):
        resolve(Request(users=[User(NAME)]))


def test_a_directory_that_is_no_virtual_environment_is_named(home: Path) -> None:
    request = Request(files=[TextFile(f"{home}/venv/pip.conf", "x", beside="pyvenv.cfg")])
    with pytest.raises(ClientFilesError, match=r"venv/pyvenv\.cfg does not exist.*pip_client_virtualenvs"):
        resolve(request)
    assert len(resolve(request, lenient=True)[1]) == 1
    (home / "venv").mkdir()
    (home / "venv" / "pyvenv.cfg").touch()
    assert len(resolve(request)[0]) == 1


def test_a_ca_certificate_is_taken() -> None:
    assert check_anchor(anchor("\n" + certificate())) == []


def test_what_is_no_ca_certificate_is_refused() -> None:
    good = certificate()
    key = "-----BEGIN " + "PRIVATE KEY-----\nabc\n"
    for text, message in (
        ("", "this text has 0"),
        ("/etc/ssl/ca.crt", "this text has 0"),
        (good + good, "this text has 2"),
        (good[:200] + "\n-----END CERTIFICATE-----\n", "damaged"),
        (good + key, "private key"),
        (certificate(ca=False), "of a server, not of a CA"),
        (certificate(days=-1), "expired on"),
    ):
        faults = check_anchor(anchor(text))
        assert len(faults) == 1
        assert message in faults[0]
        assert "pip_client_ca_certificate" in faults[0]
