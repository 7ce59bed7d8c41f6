"""Which URLs an index has by its variables, and what is said of each when it is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.pyindex.fleet.plugins.filter.index_urls import index_urls
from ansible_collections.pyindex.fleet.plugins.module_utils._index_urls import (
    NOBODYS,
    Client,
    Target,
    UrlError,
    ask,
    shown,
)
from tests.unit.urls.tls_index import PASSWORDS, TlsIndex, authority_and_certificate, running

PYPISERVER: dict[str, Any] = {
    "install_url": "https://h/simple/",
    "upload_url": "https://h/",
    "protected_actions": ["update"],
    "users": [
        {"name": "both", "password": "b", "rights": ["read", "upload"]},
        {"name": "reader", "password": "s@/:%"},
    ],
}
DEVPI: dict[str, Any] = {
    "url": "https://h/",
    "lockdown": True,
    "root_pypi": True,
    "root_password": "r",
    "users": [{"name": "devuser", "password": "d"}, {"name": "reader", "password": "x"}, {"name": "other"}],
    "indexes": [
        {"name": "devuser/dev"},
        {"name": "root/local", "acl_upload": "root"},
        {"name": "root/all", "acl_upload": [":anonymous:"]},
        {"name": "other/mirror", "type": "mirror"},
        {"name": "other/dev"},
    ],
}


def brief(urls: list[dict[str, Any]]) -> list[tuple[str, str, str, bool]]:
    return [(each["use"], each["login_url"], each["username"], each["login_required"]) for each in urls]


def test_the_urls_of_a_pypiserver() -> None:
    assert brief(index_urls(PYPISERVER, "pypiserver")) == [
        ("install", "https://h/simple/", "", False),
        ("install", "https://reader:s%40%2F%3A%25@h/simple/", "reader", False),
        ("upload", "https://h/", "", True),
        ("upload", "https://both:b@h/", "both", True),
    ]


def test_a_url_with_a_login_says_that_login() -> None:
    url = urlsplit(index_urls(PYPISERVER, "pypiserver")[1]["login_url"])
    assert (unquote(url.username or ""), unquote(url.password or ""), url.hostname) == ("reader", "s@/:%", "h")


def test_a_pypiserver_without_users_has_urls_without_logins() -> None:
    urls = index_urls({**PYPISERVER, "users": [], "protected_actions": []}, "pypiserver")
    assert brief(urls) == [("install", "https://h/simple/", "", False), ("upload", "https://h/", "", False)]


def test_the_urls_of_a_devpi() -> None:
    urls = brief(index_urls(DEVPI, "devpi"))
    assert urls == [
        ("install", "https://h/devuser/dev/+simple/", "", True),
        # Who may not upload there, where there is somebody; root last
        ("install", "https://reader:x@h/devuser/dev/+simple/", "reader", True),
        ("upload", "https://h/devuser/dev/", "", True),
        ("upload", "https://devuser:d@h/devuser/dev/", "devuser", True),
        ("install", "https://h/root/local/+simple/", "", True),
        ("install", "https://devuser:d@h/root/local/+simple/", "devuser", True),
        ("upload", "https://h/root/local/", "", True),
        ("upload", "https://root:r@h/root/local/", "root", True),
        ("install", "https://h/root/all/+simple/", "", True),
        ("install", "https://devuser:d@h/root/all/+simple/", "devuser", True),
        ("upload", "https://h/root/all/", "", False),
        ("install", "https://h/other/mirror/+simple/", "", True),
        ("install", "https://devuser:d@h/other/mirror/+simple/", "devuser", True),
        ("install", "https://h/other/dev/+simple/", "", True),
        ("install", "https://devuser:d@h/other/dev/+simple/", "devuser", True),
        # Its owner has no password in the inventory
        ("upload", "https://h/other/dev/", "", True),
        ("install", "https://h/root/pypi/+simple/", "", True),
        ("install", "https://devuser:d@h/root/pypi/+simple/", "devuser", True),
    ]


def test_another_server_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="knows pypiserver and devpi, and no nexus"):
        index_urls({}, "nexus")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return authority_and_certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="module")
def index(tls: tuple[str, Path]) -> Iterator[TlsIndex]:
    with running(tls[1]) as server:
        yield server


@pytest.fixture(scope="module")
def client(tls: tuple[str, Path]) -> Client:
    return Client(tls[0], 5)


def target(index: TlsIndex, path: str, use: str, username: str = "", login_required: bool = True) -> Target:
    url = f"https://localhost:{index.server_port}{path}"
    return Target(url, use, username, PASSWORDS.get(username, "wrong") if username else "", login_required)


@pytest.mark.parametrize(
    ("server", "path", "use", "username", "login_required", "works", "status", "message"),
    [
        ("pypiserver", "/open/simple/", "install", "", False, True, 200, "works without a login"),
        ("pypiserver", "/open/simple/", "install", "reader", False, True, 200, "works"),
        ("pypiserver", "/open/simple/", "install", "", True, False, 200, "has to ask for a login"),
        ("pypiserver", "/locked/simple/", "install", "", True, True, 401, "asks for a login, as it has to"),
        ("pypiserver", "/locked/simple/", "install", "", False, False, 401, "by the inventory everybody may"),
        ("pypiserver", "/locked/simple/", "install", "reader", True, True, 200, "works"),
        ("pypiserver", "/locked/simple/", "install", "unknown", True, False, 401, "does not know unknown"),
        ("pypiserver", "/locked/", "upload", "uploader", True, True, 400, "works; this form"),
        ("pypiserver", "/locked/", "upload", "", True, True, 401, "asks for a login, as it has to"),
        ("pypiserver", "/locked/", "upload", "reader", True, False, 403, "reader may not upload there"),
        ("pypiserver", "/anybody/", "upload", "", True, False, 400, "has to ask for a login"),
        ("pypiserver", "/400/", "upload", "uploader", True, False, 400, "an answer that no index gives"),
        ("pypiserver", "/200/", "upload", "uploader", True, False, 200, "nothing takes uploads at this URL"),
        ("pypiserver", "/404/", "install", "", True, False, 404, "no such index"),
        ("pypiserver", "/429/", "install", "reader", True, False, 429, "try again in a minute"),
        ("pypiserver", "/502/", "install", "reader", True, False, 502, "behind nginx does not answer"),
        ("pypiserver", "/302/", "install", "reader", True, False, 302, "an answer that no index gives"),
        ("devpi", "/open/dev/+simple/", "install", "", False, True, 200, "works without a login"),
        ("devpi", "/locked/dev/+simple/", "install", "", True, True, 401, "asks for a login, as it has to"),
        ("devpi", "/locked/dev/+simple/", "install", "reader", True, True, 200, "works"),
        ("devpi", "/open/unreachable/+simple/", "install", "", False, False, 502, "what it mirrors cannot be reached"),
        ("devpi", "/404/dev/+simple/", "install", "reader", True, False, 404, "no such index"),
    ],
)
def test_what_is_said_of_an_answer(
    index: TlsIndex,
    client: Client,
    server: str,
    path: str,
    use: str,
    username: str,
    login_required: bool,
    works: bool,
    status: int,
    message: str,
) -> None:
    answer = ask(client, server, target(index, path, use, username, login_required))
    assert (answer.works, answer.status) == (works, status)
    assert message in answer.message


def test_an_upload_is_asked_for_with_a_form_without_a_file(index: TlsIndex, client: Client) -> None:
    index.asked.clear()
    ask(client, "pypiserver", target(index, "/locked/", "upload", "uploader"))
    (asked,) = index.asked
    assert (asked.method, asked.path, asked.login) == ("POST", "/locked/", f"uploader:{PASSWORDS['uploader']}")
    assert NOBODYS in asked.body
    assert "filename" not in asked.body


def test_a_devpi_is_never_asked_for_all_projects_of_a_mirror(index: TlsIndex, client: Client) -> None:
    index.asked.clear()
    ask(client, "devpi", target(index, "/open/dev/+simple/", "install", "", login_required=False))
    assert [asked.path for asked in index.asked] == ["/open/dev?no_projects=", f"/open/dev/+simple/{NOBODYS}/"]


def test_no_password_is_shown(index: TlsIndex) -> None:
    asked = target(index, "/locked/", "upload", "uploader")
    assert shown(asked) == f"https://uploader:********@localhost:{index.server_port}/locked/"
    assert PASSWORDS["uploader"] not in repr(asked)


def test_a_certificate_of_another_authority(index: TlsIndex, tmp_path: Path) -> None:
    other = Client(authority_and_certificate(tmp_path, "localhost")[0], 5)
    answer = ask(other, "pypiserver", target(index, "/open/", "install"))
    assert (answer.works, answer.status) == (False, 0)
    assert answer.message.startswith("the certificate of localhost is not to be trusted: ")
    # Nor is it one that the system trusts
    assert "is not to be trusted" in ask(Client("", 5), "pypiserver", target(index, "/open/", "install")).message


def test_a_certificate_for_another_name(index: TlsIndex, client: Client) -> None:
    answer = ask(client, "pypiserver", Target(f"https://127.0.0.1:{index.server_port}/open/", "install"))
    assert not answer.works
    assert "not to be trusted" in answer.message
    assert "127.0.0.1" in answer.message


def test_nobody_answers(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    closed = ask(client, "pypiserver", Target(f"https://localhost:{port}/", "install"))
    assert (closed.works, closed.message) == (False, f"localhost:{port} cannot be asked: Connection refused")
    unknown = ask(client, "pypiserver", Target("https://no-such-host.invalid/", "install"))
    assert unknown.message.startswith("no-such-host.invalid cannot be asked: ")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        answer = ask(Client("", 0.2), "pypiserver", Target(f"http://127.0.0.1:{port}/", "install"))
    assert answer.message == f"127.0.0.1:{port} does not answer within 0.2 seconds"


def test_a_ca_certificate_that_is_none() -> None:
    with pytest.raises(UrlError, match="cannot be read"):
        Client("not PEM", 5)
