"""Bad input and taken ports: the message says what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.nginx.front import Front

GOOD: dict[str, Any] = {
    "name": "index",
    "server_name": "index.pyindex.test",
    "certificate": "/etc/index.crt",
    "certificate_key": "/etc/index.key",
    "upstream": "unix:/run/index.sock",
    "locations": [{"match": "/", "readers_file": ""}],
}


def place(**keys: Any) -> dict[str, Any]:
    """The good site with one location that has these keys."""
    return {**GOOD, "locations": [{"match": "/", "readers_file": "", **keys}]}


CHECK = {"uri": "/check"}
CHECKED: dict[str, Any] = {**GOOD, "login_check": CHECK, "locations": [{"match": "/"}]}


def checked(**keys: Any) -> dict[str, Any]:
    """The good site with a login check that has these keys."""
    return {**CHECKED, "login_check": {**CHECK, **keys}}


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({"name": "My Index"}, "Use a-z, 0-9"),
        ({"name": "../x"}, "Use a-z, 0-9"),
        ({"server_name": "https://index.pyindex.test"}, "Write the DNS name alone"),
        ({"server_name": "a; return 200"}, "Write the DNS name alone"),
        ({"https_port": 80}, "both for HTTP and for HTTPS"),
        ({"http_port": 70000}, "http_port must be 0 (none) to 65535"),
        ({"https_port": 0}, "https_port 1 to 65535"),
        ({"addresses": ["::1"]}, 'address "::1" must be an IPv4 address, or an IPv6 address in brackets'),
        ({"addresses": ["localhost"]}, 'address "localhost" must be an IPv4 address'),
        ({"max_body_mb": 0}, "max_body_mb must be 1 or more"),
        ({"certificate": "index.crt"}, 'certificate "index.crt" must be an absolute path'),
        ({"certificate_key": "/etc/a b"}, 'certificate_key "/etc/a b" must be an absolute path'),
        ({"upstream": "http://127.0.0.1:3141"}, "must be unix:/path/of.sock or address:port"),
        (place(match="simple/"), "must be a path as nginx writes it"),
        (place(match="/ { } location /x"), "must be a path as nginx writes it"),
        (place(readers_file="readers"), 'readers_file "readers" of "/" must be an absolute path'),
        (place(writers_file="/etc/x;"), 'writers_file "/etc/x;" of "/" must be an absolute path'),
        (place(match="/packages", files="/srv"), "its match must be a path that ends in /"),
        (place(match="~ ^/p/", files="/srv"), "its match must be a path that ends in /"),
        (place(match="/p/", files="srv"), 'files "srv" of "/p/" must be an absolute path'),
        ({"locations": [{"match": "/"}]}, "says nothing of its readers"),
        (place(access="public"), 'access of "/" is for sites with a login_check'),
        (place(immutable=True), 'immutable of "/" is for locations with files'),
        (place(match="/p/", files="/srv", metadata="srv"), 'metadata "srv" of "/p/" must be an absolute path'),
        (place(match="/p/", metadata="/srv"), 'metadata of "/p/" is that of the files of a location'),
        (place(match="/p/", pages="srv"), 'pages "srv" of "/p/" must be an absolute path'),
        (place(match="/p", pages="/srv"), "its match must be a path that ends in /"),
        (place(match="/p/", pages="/srv", files="/srv"), "has files and pages"),
        (
            {"locations": [{"match": f"/{name}/", "readers_file": "", "pages": "/srv"} for name in "ab"]},
            "more than one location has pages",
        ),
        (place(generations="/run/g"), "and the site needs a login_check"),
        ({**CHECKED, "locations": [{"match": "/", "generations": "g"}]}, 'generations "g" of "/" must be an absolute'),
        ({**CHECKED, "upstream": "localhost:3141"}, "must be unix:/path/of.sock or an IP address with a port"),
        ({"further_methods": ["PUSH"]}, "further_methods is for sites with a login_check"),
        ({"login_check": CHECK}, "Use access"),
        (checked(uri="check"), 'login_check.uri "check" must be a path'),
        (checked(page="/login?x=$y"), 'login_check.page "/login?x=$y" must be a path'),
        (checked(headers=["X Token"]), '"X Token" is no name'),
        (checked(cookies=["a;b"]), '"a;b" is no name'),
        ({**CHECKED, "dropped_headers": ["X:"]}, '"X:" is no name'),
        ({**CHECKED, "backend_files": "docs"}, 'backend_files "docs" must be an absolute path'),
        ({**CHECKED, "further_methods": ["push"]}, "Write it in capital letters"),
        ({**CHECKED, "locations": [{"match": "/p/", "pages": "/srv"}]}, "are for sites without a login_check"),
        ({**CHECKED, "readers_file": "/etc/readers"}, "have no use where the backend knows the logins"),
        ({**CHECKED, "locations": [{"match": "/", "access": "all"}]}, "must be login, open, public or closed"),
        (
            {**CHECKED, "locations": [{"match": "/f/", "access": "open", "files": "/srv"}]},
            "serves files, after the login check or to all",
        ),
    ],
)
def test_bad_sites(site: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in Front(tmp_path, [{**GOOD, **site}]).problems()


def test_good_sites(tmp_path: Path) -> None:
    full = checked(required=False, page="/+login", page_parameter="to", headers=["X-Token"], cookies=["ticket"])
    files = {"match": "~ ^/[^/]+/f/", "files": "/srv", "immutable": True}
    assert Front(tmp_path, [GOOD]).problems() == ""
    assert Front(tmp_path, [{**full, "locations": [files, {"match": "/", "access": "open"}]}]).problems() == ""


def test_nobody_to_ask(tmp_path: Path) -> None:
    site = {key: value for key, value in GOOD.items() if key != "upstream"}
    assert 'location "/" has neither files nor an upstream' in Front(tmp_path, [site]).problems()


def test_sites_that_exclude_each_other(tmp_path: Path) -> None:
    problems = Front(tmp_path, [GOOD, GOOD]).problems()
    assert 'Two sites of nginx_sites have the name "index"' in problems
    other = {**GOOD, "name": "other", "server_name": "INDEX.pyindex.test"}
    assert '"index" has the same server_name and https_port' in Front(tmp_path, [GOOD, other]).problems()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"nginx_failed_logins_per_minute": -1}, "must be 0 or more"),
        ({"nginx_login_cache_seconds": -1}, "must be 0 (every request asks) to 3600"),
        ({"nginx_login_cache_seconds": 3601}, "must be 0 (every request asks) to 3600"),
        ({"nginx_page_cache_mb": 0}, "nginx_page_cache_mb must be 1 or more"),
        ({"nginx_page_cache_mb": 1, "nginx_page_cache_max_kb": 257}, "from 1 to a quarter of that memory"),
        ({"nginx_worker_processes": "many"}, "must be a number or auto"),
    ],
)
def test_bad_variables(variables: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in Front(tmp_path, [GOOD], variables).problems()


def test_el_wants_the_limit_switched_off(tmp_path: Path) -> None:
    """Where the backend knows the logins; where nginx does, the verifier counts."""
    locations = [{"match": "/"}]
    checked = {**GOOD, "login_check": {"uri": "/check"}, "locations": locations}
    assert "Set nginx_failed_logins_per_minute: 0" in Front(tmp_path, [checked], family="RedHat").problems()
    variables = {"nginx_failed_logins_per_minute": 0}
    assert Front(tmp_path, [checked], variables, family="RedHat").problems() == ""
    assert Front(tmp_path, [GOOD], family="RedHat").problems() == ""


LISTENERS = [
    'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=79,fd=3))',
    'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=81,fd=6),("nginx",pid=80,fd=6))',
    'LISTEN 0 511 *:443 *:* users:(("apache2",pid=90,fd=4),("apache2",pid=91,fd=4))',
    "LISTEN 0 4096 127.0.0.1:8443 0.0.0.0:*",
    'LISTEN 0 511 [::1]:8080 [::]:* users:(("python3",pid=92,fd=3))',
    'LISTEN 0 511 0.0.0.0:4430 0.0.0.0:* users:(("x",pid=443,fd=80))',
]


@pytest.mark.parametrize(
    ("ports", "taken"),
    [((80, 444), []), ((80, 443), [2]), ((8080, 8443), [3, 4]), ((0, 44), []), ((8080, 4430), [4, 5])],
)
def test_ports_of_other_programs(ports: tuple[int, int], taken: list[int], tmp_path: Path) -> None:
    site = {**GOOD, "http_port": ports[0], "https_port": ports[1]}
    front = Front(tmp_path, [site], listeners=[*LISTENERS, "ipv6"])
    assert front.value("__nginx_foreign_listeners") == [LISTENERS[number] for number in taken]
    assert front.value("__nginx_ipv6") is True
