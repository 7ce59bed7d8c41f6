"""Files of index hosts and clients: whose they are, and who may read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .fleet import Client
from .indexes import Index, Pypiserver
from .kinds import PYPISERVER
from .machines import Machine
from .tools import Person


@dataclass(frozen=True)
class Status:
    """Kind, owner, group and permission bits of a file."""

    kind: str
    owner: str
    group: str
    mode: int


def status(machine: Machine, *paths: str) -> dict[str, Status]:
    """The status of those of `paths` that exist."""
    found = {}
    for line in machine.run("stat", "--format=%F|%U|%G|%a|%n", "--", *paths).out.splitlines():
        kind, owner, group, mode, path = line.split("|", 4)
        found[path] = Status(kind, owner, group, int(mode, 8))
    return found


def test_packages_are_private_to_server_and_front(index: Index) -> None:
    """Only the server writes there, only it and the web server read."""
    folder = status(index.machine, index.packages)[index.packages]
    assert folder.kind == "directory"
    assert folder.owner == index.own("user")
    assert folder.group in {index.own("group"), index["nginx_group"]}
    assert folder.mode & 0o007 == 0
    if folder.group != index.own("group"):
        assert folder.mode & 0o020 == 0, "the web server could change packages"
    others = index.machine.check("find", index.packages, "(", "-perm", "/007", "-o", "-perm", "/020", ")", "-type", "f")
    assert others == ""


@PYPISERVER
def test_password_hashes_are_readable_by_the_web_server_only(index: Pypiserver) -> None:
    """Mode 0640 root and the web server's group; bcrypt, and no user without the right."""
    rights = {str(index["pypiserver_readers_file"]): "read", str(index["pypiserver_uploaders_file"]): "upload"}
    found = status(index.machine, *rights)
    for path, right in rights.items():
        assert found[path] == Status("regular file", "root", index["nginx_group"], 0o640)
        entries = dict(line.split(":", 1) for line in index.machine.check("cat", path).splitlines() if line[:1] != "#")
        assert set(entries) == {user.name for user in index.users if right in user.rights}
        assert all(hashed.startswith(("$2b$", "$2y$")) for hashed in entries.values())


def test_tls_key_is_for_root_only(index: Index) -> None:
    """Nobody but nginx's master process reads it; the certificate is anybody's to read, and to write for root only."""
    found = status(index.machine, str(index["tls_key_path"]), str(index["tls_certificate_path"]))
    key, certificate = (found[str(index[name])] for name in ("tls_key_path", "tls_certificate_path"))
    assert (key.owner, key.mode & 0o077) == ("root", 0)
    assert (certificate.owner, certificate.mode & 0o022) == ("root", 0)


def test_server_cannot_change_its_own_program(index: Index) -> None:
    """A broken-into server leaves no trace in what starts next time."""
    folder, user, group = (str(index.own(name)) for name in ("install_dir", "user", "group"))
    writable = [
        "(",
        "-user",
        user,
        "-o",
        "-group",
        group,
        "-perm",
        "/020",
        "-o",
        "-perm",
        "/002",
        ")",
        "!",
        "-type",
        "l",
    ]
    assert index.machine.check("find", folder, *writable) == ""


def test_only_its_own_key_is_on_the_host(index: Index) -> None:
    """The CA's key signs for every client, so it stays on the controller, encrypted or not."""
    key = str(index["tls_key_path"])
    assert index.machine.check("grep", "-rls", "PRIVATE KEY-----", str(Path(key).parent)).split() == [key]


def test_credentials_are_private(account: Person) -> None:
    """What holds a password is readable by its user alone."""
    client, user = account
    home = client.machine.home(user.name)
    private = [f"{home}/.netrc", *([f"{home}/.pypirc"] if user.upload else [])]
    found = status(client.machine, *private)
    if user.user:
        assert set(found) == set(private)
    for path, file in found.items():
        assert (file.kind, file.owner, file.mode) == ("regular file", user.name, 0o600), path


def test_configuration_holds_no_credentials_and_weakens_nothing(client: Client) -> None:
    """pip.conf and uv.toml are readable by everybody, name the index without a login, and switch no check off."""
    homes = [client.machine.home(account.name) for account in client.accounts]
    places = {
        "global": ["/etc/pip.conf", "/etc/uv/uv.toml"],
        "user": [f"{home}/.config/{name}" for home in homes for name in ("pip/pip.conf", "uv/uv.toml")],
        "virtualenv": [f"{folder}/pip.conf" for folder in client.virtualenvs],
    }
    paths = [path for level in sorted(client.levels) for path in places[level]]
    if "uv" not in client["pip_client_tools"]:
        paths = [path for path in paths if not path.endswith("uv.toml")]
    found = status(client.machine, *paths)
    assert set(found) == set(paths)
    for path in paths:
        text = client.machine.check("cat", path)
        assert client.index.install_url in text, path
        assert "@" not in text, path
        assert found[path].mode & 0o022 == 0, path
        for word in ("trusted-host", "allow-insecure-host"):
            assert (word in text) == bool(client["pip_client_trusted_hosts"]), path
        if not client["pip_client_extra_index_urls"]:
            assert "extra-index-url" not in text, path


def test_client_trusts_the_index_by_its_system_store(client: Client) -> None:
    """curl, git and everything else trust it as well, without an option."""
    done = client.machine.run("curl", "--silent", "--show-error", "--output", "/dev/null", client.index.url)
    if done.code == 127:
        pytest.skip(f"{client} has no curl")
    assert done.code == 0, str(done)
