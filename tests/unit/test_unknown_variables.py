"""The filter unknown_variables: misspelt variables are found, others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.pyindex.fleet.plugins.filter.unknown_variables import (
    FilterModule,
    explain,
    explain_keys,
    read_options,
    unknown_variables,
)
from tests.unit.repository import ROLE_IDS, ROOT

OPTIONS = {
    "pip_client": {"pip_client_index_url", "pip_client_users"},
    "pip": {"pip_mirror"},
    "nginx": {"nginx_sites", "nginx_tls_policy"},
}


@pytest.mark.parametrize(
    ("name", "role", "meant"),
    [
        ("nginx_site", "nginx", "nginx_sites"),
        ("nginx_tls_polcy", "nginx", "nginx_tls_policy"),
        ("pip_client_index", "pip_client", "pip_client_index_url"),
        ("pip_client_user", "pip_client", "pip_client_users"),
        ("pip_mirrors", "pip", "pip_mirror"),
    ],
)
def test_names_the_nearest_option(name: str, role: str, meant: str) -> None:
    assert explain([name], OPTIONS) == [
        f"{name} is no option of the role pyindex.fleet.{role}, so it would change nothing. Did you mean {meant}?"
    ]


def test_says_where_to_look_when_nothing_is_near() -> None:
    [message] = explain(["nginx_zzzzzzzzzzzzzzzzzzzz"], OPTIONS)
    assert message.endswith("docs/roles.md lists those that it has.")


@pytest.mark.parametrize(
    "name", ["nginx_sites", "nginx", "nginxsite", "my_nginx_site", "ansible_user", "__nginx_x", ""]
)
def test_leaves_other_names_alone(name: str) -> None:
    assert explain([name], OPTIONS) == []


def test_leaves_allowed_names_alone() -> None:
    names = ["nginx_exporter_port", "nginx_exporter_user", "nginx_site"]
    [message] = explain(names, OPTIONS, allowed=["nginx_exporter_*"])
    assert message.startswith("nginx_site ")


def test_names_each_once_in_alphabetical_order() -> None:
    messages = explain(["pip_mirrors", "nginx_site", "pip_mirrors"], OPTIONS)
    assert [message.split()[0] for message in messages] == ["nginx_site", "pip_mirrors"]


def test_reads_options_of_every_entry_point_and_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "cache" / "meta").mkdir(parents=True)
    (tmp_path / "cache" / "defaults").mkdir()
    (tmp_path / "cache" / "meta" / "argument_specs.yml").write_text(
        "argument_specs:\n  main: {options: {cache_size: {type: int}}}\n  purge: {options: {cache_age: {type: int}}}\n"
        "  empty: {}\n"
    )
    (tmp_path / "cache" / "defaults" / "main.yml").write_text("cache_size: 1\ncache_path: /x\n")
    (tmp_path / "bare" / "meta").mkdir(parents=True)
    (tmp_path / "bare" / "meta" / "argument_specs.yml").write_text("---\n")
    assert read_options(tmp_path) == {"cache": {"cache_size", "cache_age", "cache_path"}, "bare": set()}


def test_knows_the_roles_of_this_collection() -> None:
    assert set(read_options(ROOT / "roles")) == set(ROLE_IDS)
    [message] = unknown_variables({"pypiserver_server_nam": "x", "pypiserver_server_name": "y"})
    assert message.endswith("Did you mean pypiserver_server_name?")


def test_looks_at_the_keys_of_dictionaries() -> None:
    options = {"name": {}, "port": {}, "locations": {"type": "list", "options": {"match": {}, "files": {}}}}
    value = [
        {"name": "web", "prot": 1, "locations": [{"match": "/", "file": "/srv"}, {}]},
        {"port": 1, "zzzzzzzzzz": 2},
        "no dictionary",
    ]
    assert list(explain_keys("sites", value, options)) == [
        "sites[web] has prot, which is no option of it. Did you mean port?",
        "sites[web].locations[0] has file, which is no option of it. Did you mean files?",
        "sites[1] has zzzzzzzzzz, which is no option of it. It takes locations, name, port.",
    ]


def test_names_the_nearest_option_of_an_index() -> None:
    variables = {"devpi_indexes": [{"name": "devuser/dev", "base": ["root/pypi"], "options": {"of_a_plugin": 1}}]}
    assert unknown_variables(variables) == [
        "devpi_indexes[devuser/dev] has base, which is no option of it. Did you mean bases?"
    ]


@pytest.mark.parametrize("wrong", ["nginx_sites", 7, None])
def test_refuses_what_is_no_list_of_names(wrong: object) -> None:
    with pytest.raises(AnsibleFilterError, match="wants a list of names or a mapping"):
        unknown_variables(wrong)  # type: ignore[arg-type]


def test_refuses_allowed_that_is_no_list() -> None:
    with pytest.raises(AnsibleFilterError, match="write allowed as a list"):
        unknown_variables([], allowed="nginx_*")


def test_is_what_ansible_loads() -> None:
    assert FilterModule().filters() == {"unknown_variables": unknown_variables}
