"""What the role pypiserver exports to nginx and the firewall, by runtime and by who asks for passwords."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.nginx.rendering import evaluate

CONTAINER = {"pypiserver_runtime": "container"}
PUBLISHING = {**CONTAINER, "pypiserver_container_publishing": True}


def exported(name: str, **variables: Any) -> Any:
    return evaluate(
        f"pypiserver_{name}", "Debian", {"pypiserver_server_name": "a.example.org", **variables}, "pypiserver"
    )


def test_our_own_image_has_the_site_of_a_virtual_environment() -> None:
    assert exported("nginx_site", **PUBLISHING) == exported("nginx_site")


def test_the_official_image_publishes_no_pages() -> None:
    """nginx still sends the files, and asks for the same passwords; the rest is Python's."""
    venv, official = exported("nginx_site"), exported("nginx_site", **CONTAINER)
    without = {"pages", "metadata"}
    locations = [{key: value for key, value in place.items() if key not in without} for place in venv["locations"]]
    assert any(without & set(place) for place in venv["locations"])
    assert official == {**venv, "locations": locations}
    assert [place["files"] for place in official["locations"] if "files" in place] == ["/var/lib/pypiserver/packages"]


@pytest.mark.parametrize("runtime", [{}, CONTAINER, PUBLISHING], ids=["venv", "official", "publishing"])
def test_an_index_without_passwords_answers_on_the_host_alone(runtime: dict[str, Any]) -> None:
    nobody = {**runtime, "pypiserver_authentication": "none"}
    site = exported("nginx_site", **nobody)
    assert site["addresses"] == ["127.0.0.1"]
    assert exported("firewall_rules", **nobody) == []
    assert exported("protected_actions", **nobody) == []
    assert {place.get("writers_file", "") for place in site["locations"]} == {""}
    assert {place["readers_file"] for place in site["locations"]} == {""}


def test_and_on_the_network_where_that_is_asked_for_too() -> None:
    everywhere = {"pypiserver_authentication": "none", "pypiserver_listen": "network"}
    assert exported("nginx_site", **everywhere)["addresses"] == []
    assert exported("firewall_rules", **everywhere) == exported("firewall_rules")


def test_passwords_are_the_default() -> None:
    assert exported("nginx_site")["addresses"] == []
    assert [rule["port"] for rule in exported("firewall_rules")] == [443, 80]
    assert exported("protected_actions") == ["update"]
