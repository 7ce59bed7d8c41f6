"""Whatever sites are declared, nginx takes the configuration without a warning and gixy finds nothing in it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.front import Front, Site, debian_release, free_ports

READERS, WRITERS = "/etc/nginx/htpasswd/readers", "/etc/nginx/htpasswd/writers"
PROXIED = {"match": "/", "readers_file": READERS, "writers_file": WRITERS}
FILES = {"match": "^~ /packages/", "readers_file": READERS, "files": "/srv/packages"}
TYPICAL: Site = {
    "name": "pypiserver",
    "server_name": "index.pyindex.test",
    "upstream": "unix:/run/pypiserver/pypiserver.sock",
    "readers_file": READERS,
    "locations": [{"match": "= /", "readers_file": "", "writers_file": WRITERS}, FILES, PROXIED],
}
# Pages and metadata from disk
PUBLISHED: Site = {
    **TYPICAL,
    "locations": [
        {"match": "^~ /a/simple/", "readers_file": READERS, "pages": "/srv/pages/simple"},
        {"match": "/a/p/", "readers_file": "", "files": "/srv/p", "metadata": "/srv/pages/p", "immutable": True},
        PROXIED,
    ],
}
# A backend that knows the logins
CHECKED: Site = {
    **{key: value for key, value in TYPICAL.items() if key != "readers_file"},
    "login_check": {
        "uri": "/+check",
        "page": "/+login",
        "page_parameter": "to",
        "headers": ["X-Token"],
        "cookies": ["ticket"],
    },
    "further_methods": ["PUSH"],
    "outside_url_header": "X-Outside",
    "dropped_headers": ["X-Internal"],
    "backend_files": "/srv/docs",
    "locations": [
        {"match": "^~ /closed", "access": "closed"},
        {"match": "= /open", "access": "open"},
        {"match": "/public/", "access": "public", "immutable": True},
        {"match": "~ ^/[^/]+/f/", "files": "/srv/files", "immutable": True},
        {"match": "/"},
    ],
}
# What gixy is not asked for, and why
NOT_ASKED = [
    # It would have us cache open files for speed, and so serve old versions of replaced ones
    "try_files_is_evil_too",
    # Debian 13, which alone gets a group that OpenSSL 3.5 knows, has OpenSSL 3.5
    "ssl_ecdh_curve",
]
# The sites, and other variables of the role
CASES: dict[str, tuple[list[Site], dict[str, Any]]] = {
    "typical": ([TYPICAL], {}),
    "no sites": ([], {}),
    "modern": ([TYPICAL], {"nginx_tls_policy": "modern", "nginx_worker_processes": 2, "nginx_hsts_seconds": 31536000}),
    "no limit of logins": ([TYPICAL], {"nginx_failed_logins_per_minute": 0}),
    "numbers as text": ([{**TYPICAL, "max_body_mb": "5"}], {"nginx_failed_logins_per_minute": "3"}),
    "all public": ([{**TYPICAL, "locations": [{"match": "/", "readers_file": "", "writers_file": ""}]}], {}),
    "files only": ([{**TYPICAL, "upstream": None, "locations": [FILES]}], {}),
    "no http": ([{**TYPICAL, "http_port": 0}], {}),
    "any name": ([{**TYPICAL, "server_name": "_"}], {}),
    "below a path": ([{**TYPICAL, "locations": [{**PROXIED, "match": "/python/"}]}], {}),
    "a pattern": ([{**TYPICAL, "locations": [{**PROXIED, "match": "~ ^/[a-z]+$"}]}], {}),
    "two that share ports": ([TYPICAL, {**TYPICAL, "name": "b-1", "server_name": "other.pyindex.test"}], {}),
    "login check": ([CHECKED], {}),
    "login check by tcp": ([{**CHECKED, "upstream": "127.0.0.1:3141"}], {}),
    "login check of the reluctant": (
        [{**CHECKED, "login_check": {"uri": "/check", "required": False}, "locations": [{"match": "/x/"}]}],
        {"nginx_failed_logins_per_minute": 0},
    ),
    "login check beside passwords": ([TYPICAL, {**CHECKED, "name": "b", "server_name": "other.pyindex.test"}], {}),
    "published pages": ([PUBLISHED], {}),
    "loopback only": ([{**TYPICAL, "addresses": ["127.0.0.1"]}], {}),
    "loopback only, any name": ([{**TYPICAL, "addresses": ["127.0.0.1"], "server_name": "_"}], {}),
    "loopback beside the network": (
        [TYPICAL, {**TYPICAL, "name": "b", "server_name": "b.pyindex.test", "addresses": ["127.0.0.1", "[::1]"]}],
        {},
    ),
    "another port each": (
        [TYPICAL, {**TYPICAL, "name": "tcp", "http_port": 0, "https_port": "own", "upstream": "127.0.0.1:3141"}],
        {},
    ),
}


def front_of(case: str, folder: Path, certificates: Certificates, own_ports: list[int] | None = None) -> Front:
    """Return the front of a case, with ports that anybody may try and certificates that are there."""
    declared, variables = CASES[case]
    http_port, https_port, own_port = own_ports or free_ports(3)
    ports = {80: http_port, 443: https_port, "own": own_port, 0: 0}
    sites: list[Site] = [
        {key: value for key, value in site.items() if value is not None}
        | {
            "http_port": ports[site.get("http_port", 80)],
            "https_port": ports[site.get("https_port", 443)],
            "certificate": str(certificates.certificate),
            "certificate_key": str(certificates.key),
        }
        for site in declared
    ]
    return Front(folder, sites, variables, release=debian_release())


@pytest.mark.parametrize("case", CASES)
def test_nginx_takes_the_configuration(case: str, tmp_path: Path, certificates: Certificates) -> None:
    front = front_of(case, tmp_path, certificates)
    assert front.problems() == ""
    front.write()
    assert front.check() == ""


def test_nginx_takes_ipv6(tmp_path: Path, certificates: Certificates) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    front = front_of("two that share ports", tmp_path, certificates)
    front.listeners.append("ipv6")
    front.write()
    assert front.check() == ""
    assert "listen [::]:" in (front.configuration / "conf.d" / "pyindex-pypiserver.conf").read_text()


@pytest.mark.parametrize("case", ["loopback only", "loopback only, any name"])
def test_a_site_with_addresses_listens_nowhere_else(case: str, tmp_path: Path, certificates: Certificates) -> None:
    """Not even what refuses unknown names."""
    front = front_of(case, tmp_path, certificates)
    # A machine with IPv6
    front.listeners.append("ipv6")
    texts = [text for path, text in front.files().items() if "/verifier/" not in path]
    listens = [line.split()[1] for text in texts for line in text.splitlines() if line.strip().startswith("listen ")]
    assert len(listens) >= 2
    assert {listen.rpartition(":")[0] for listen in listens} == {"127.0.0.1"}


def test_gixy_finds_nothing(tmp_path: Path, certificates: Certificates) -> None:
    """All cases in one go: gixy takes longer to start than to read."""
    configurations = []
    for number, (case, release) in enumerate(itertools.product(CASES, ["12", "13"])):
        # Not any port: gixy takes all with a 443 in them for HTTPS
        front = front_of(case, tmp_path / f"{number}-{case}-{release}", certificates, [80, 443, 8443])
        front.release = release
        front.write()
        configurations.append(str(front.configuration / "nginx.conf"))
    gixy = Path(sys.executable).with_name("gixy")
    done = subprocess.run(
        [str(gixy), "-f", "json", "--skips", ",".join(NOT_ASKED), *configurations],
        check=False,
        capture_output=True,
        text=True,
    )
    found = [(issue["path"], issue["plugin"], issue["reason"]) for issue in json.loads(done.stdout)]
    assert not found


def test_http2_is_written_as_each_release_wants_it(tmp_path: Path, certificates: Certificates) -> None:
    texts = {}
    for release in ("12", "13"):
        front = front_of("typical", tmp_path, certificates)
        front.release = release
        texts[release] = front.files()[str(front.configuration / "conf.d" / "pyindex-pypiserver.conf")]
    assert " ssl http2;" in texts["12"]
    assert "http2 on;" not in texts["12"]
    assert "http2 on;" in texts["13"]
    assert " ssl http2;" not in texts["13"]


def test_every_file_says_who_writes_it(tmp_path: Path, certificates: Certificates) -> None:
    files = front_of("typical", tmp_path, certificates).files()
    assert {"nginx.conf", "00-pyindex.conf", "pyindex-pypiserver.conf", "logins.lua"} <= {
        Path(path).name for path in files
    }
    assert all("Managed by Ansible (pyindex.fleet" in text.splitlines()[0] for text in files.values())


def test_the_other_family_is_rendered_too(tmp_path: Path, certificates: Certificates) -> None:
    """EL has other paths and no Lua; what nginx says of them cannot be tried here."""
    front = front_of("no limit of logins", tmp_path, certificates)
    front.family, front.release = "RedHat", "9"
    text = "\n".join(front.files().values())
    assert front.problems() == ""
    assert "/usr/share/nginx/modules/*.conf" in text
    assert "sites-enabled" not in text
    assert "_by_lua" not in text


def test_the_sandbox_leaves_home_readable_only_where_it_must(tmp_path: Path, certificates: Certificates) -> None:
    front = front_of("typical", tmp_path, certificates)
    drop_in = "/etc/systemd/system/nginx.service.d/pyindex.conf"
    assert "ProtectHome=true\n" in front.files()[drop_in]
    for key in ("files", "metadata", "pages"):
        front.sites[0] = {**front.sites[0], "locations": [{**FILES, key: "/home/index/folder"}]}
        assert "ProtectHome=read-only\n" in front.files()[drop_in]
