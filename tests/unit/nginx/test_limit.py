"""The benchmark's limit: the nginx that ours is measured against has all that makes ours fast, and serves the same."""

from __future__ import annotations

import getpass
import grp
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.bench.peers.host import prepare, wheels
from tests.bench.peers.host.clients import HTML, JSON
from tests.bench.peers.host.dataset import Dataset
from tests.bench.peers.host.targets import LIMIT, PORTS, peers
from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Client, Front, answers, free_ports, require_nginx, wait_until

LIMIT_CONF = Path(prepare.__file__).parent / "nginx" / "limit.conf"
# Of ours, and nothing that the limit is slower without: names and places, sizes of tables of what the limit has not,
# and compression, which costs who reads on the same host
NO_MATTER_OF_SPEED = re.compile(r"user|pid|error_log|include|default_type|\w+_hash_\w+|gzip\w*")
SITE = {
    "name": "pypiserver",
    "server_name": "index.pyindex.test",
    "upstream": "unix:/run/pypiserver.sock",
    "readers_file": "/etc/nginx/readers",
    "certificate": "/etc/ssl/index.crt",
    "certificate_key": "/etc/ssl/index.key",
    "locations": [
        {"match": "^~ /simple/", "readers_file": "/etc/nginx/readers", "pages": "/srv/pages"},
        {"match": "/", "readers_file": "/etc/nginx/readers"},
    ],
}


def directives(text: str) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    """Yield (names of the blocks around it, name, arguments) of each directive of a configuration."""
    code = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    around: list[str] = []
    words: list[str] = []
    for token in re.findall(r'"[^"]*"|[{};]|(?:\$\{\w+\}|[^\s{};"])+', code):
        if token == "{":
            around.append(words[0])
            words = []
        elif token == "}":
            around.pop()
        elif token == ";":
            yield tuple(around), words[0], words[1:]
            words = []
        else:
            words.append(token)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the role writes into /etc/nginx of a host of the size that it is made for, by the path in there."""
    front = Front(tmp_path_factory.mktemp("ours"), [SITE], {"__nginx_open_files": 16384})
    written = {Path(path): text for path, text in front.files().items()}
    root = front.configuration
    return {str(path.relative_to(root)): text for path, text in written.items() if path.is_relative_to(root)}


def shared(ours: dict[str, str]) -> str:
    """Return what all sites of ours share."""
    [text] = [text for path, text in ours.items() if path.startswith("conf.d/") and "\nssl_session_cache" in text]
    return text


def tuning(text: str) -> set[tuple[str, ...]]:
    """Return the directives of the main, the events and the http block that speed may depend on."""
    return {
        # Of a log, how it is written, and not where
        (*around, name, *(words[1:] if name == "access_log" else words))
        for around, name, words in directives(text)
        if around in ((), ("events",), ("http",)) and not NO_MATTER_OF_SPEED.fullmatch(name)
    }


def test_limit_has_each_directive_that_makes_ours_fast(ours: dict[str, str]) -> None:
    wanted = tuning(ours["nginx.conf"])
    assert {("pcre_jit", "on"), ("http", "access_log", "combined", "buffer=64k", "flush=1s")} <= wanted
    assert wanted <= tuning(LIMIT_CONF.read_text(encoding="utf-8"))


def test_limit_listens_as_ours_does(ours: dict[str, str]) -> None:
    assert [words for _around, name, words in directives(shared(ours)) if name == "listen" and "reuseport" in words]
    listens = [words for _around, name, words in directives(LIMIT_CONF.read_text()) if name == "listen"]
    assert len(listens) == 2
    assert all("reuseport" in words for words in listens)


def test_limit_finds_pages_with_one_look_as_ours_does(ours: dict[str, str]) -> None:
    sites = "".join(text for path, text in ours.items() if path.startswith("conf.d/"))
    assert re.search(r"rewrite \^ /\$pyindex_page\.\$pyindex_form break;", sites)
    _before, _server, tls_server = LIMIT_CONF.read_text(encoding="utf-8").partition("listen @port@ ssl")
    assert re.search(r"rewrite \^ \S+ break;", tls_server)
    assert not re.search(r"^\s*(try_files|index|error_page)\b", tls_server, re.MULTILINE)


def test_limit_has_nothing_that_only_protects_ours() -> None:
    names = {name for _around, name, _words in directives(LIMIT_CONF.read_text(encoding="utf-8"))}
    assert not [name for name in names if re.search(r"disable_symlinks|lua|perl|^auth_|_pass$|^if$|^limit_", name)]


# The limit at work ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 files, and a real package with metadata beside it."""
    root = tmp_path_factory.mktemp("limit")
    (root / "extras").mkdir()
    (root / "extras" / "real-2.0-py3-none-any.whl").write_bytes(wheels.padded("real", "2.0", 100))
    data = Dataset(root / "data", 40)
    data.make(root / "extras")
    return data


@pytest.fixture(scope="module")
def _running(data: Dataset, ports: list[int], ours: dict[str, str], certificates: Certificates) -> Iterator[None]:
    """The limit over the data, with the TLS policy of what the role has written."""
    deployed, state = data.root / "nginx", data.root / "state"
    state.mkdir()
    for path, text in ours.items():
        (deployed / path).parent.mkdir(parents=True, exist_ok=True)
        (deployed / path).write_text(text, encoding="utf-8")
    values = {
        "state": str(state),
        "data": str(data.folder),
        "tls": prepare.tls_policy(deployed),
        "certificate": str(certificates.certificate),
        "certificate_key": str(certificates.key),
        "server_name": "index.pyindex.test",
    }
    targets = [target for target in peers("index.pyindex.test", {}, {}, {}, 40) if target.key == LIMIT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.bench.peers.host.prepare.PORTS", replace(PORTS, limit=ports[0], upstream=ports[1]))
        prepare.configurations(state, targets, values)
    # As who runs the tests, with folders that they can write
    user = f"user {getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name};"
    kinds = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    folders = "\n".join(f"{kind}_temp_path {state / kind};" for kind in kinds)
    conf = state / "limit.conf"
    text = conf.read_text(encoding="utf-8").replace("user www-data;", user)
    conf.write_text(text.replace("http {", f"http {{\n{folders}", 1), encoding="utf-8")
    log = state / "nginx-limit.log"
    log.touch()
    with subprocess.Popen([require_nginx(), "-e", str(log), "-c", str(conf), "-g", "daemon off;"]) as nginx:
        try:
            wait_until(lambda: all(map(answers, ports)), nginx, log)
            yield
        finally:
            nginx.terminate()


@pytest.mark.usefixtures("_running")
@pytest.mark.parametrize("tls", [True, False], ids=["limit", "upstream-of-proxpi"])
def test_limit_serves_all_that_its_pages_name(
    data: Dataset, ports: list[int], certificates: Certificates, *, tls: bool
) -> None:
    client = Client(ports[0] if tls else ports[1], certificates.authority)
    for project in ("", "real/", f"{data.last()}/"):
        for accept, name in ((HTML, "index.html"), (JSON, "index.json")):
            answer = client.ask("GET", f"/simple/{project}", headers={"Accept": accept}, tls=tls)
            assert (answer.status, answer.headers["content-type"]) == (200, accept)
            assert answer.body == (data.simple / project / name).read_bytes()
    [file] = json.loads((data.simple / "real" / "index.json").read_bytes())["files"]
    place = urljoin("/simple/real/", file["url"])
    for path, wanted in ((place, file["hashes"]["sha256"]), (f"{place}.metadata", file["core-metadata"]["sha256"])):
        answer = client.ask("GET", path, tls=tls)
        assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, wanted)


@pytest.mark.usefixtures("_running")
def test_limit_has_the_tls_sessions_of_ours(data: Dataset, ours: dict[str, str]) -> None:
    wanted = {
        (name, *words) for around, name, words in directives(shared(ours)) if not around and name.startswith("ssl_")
    }
    assert any(name == "ssl_session_cache" for name, *_words in wanted)
    written = (data.root / "state" / "limit.conf").read_text(encoding="utf-8")
    assert wanted <= {(name, *words) for around, name, words in directives(written) if around == ("http",)}
