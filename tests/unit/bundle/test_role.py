"""The role's variables: they name what the roles that follow install."""

from __future__ import annotations

from tests.unit.repository import ROOT, load


def test_the_packages_that_the_roles_install_come_along() -> None:
    """What a role would ask the network for is in the bundle: nginx with all its modules, Python's venv, the trust store.

    And python3-apt: Ansible's module apt would install it by itself, before anything else.
    """
    nginx = load(ROOT / "roles/nginx/vars/Debian.yml")["__nginx_packages"]
    service = load(ROOT / "roles/python_service/vars/Debian.yml")["__python_service_os_packages"]
    assert {*nginx, *service, "ca-certificates", "python3-apt"} <= set(
        load(ROOT / "roles/bundle/defaults/main.yml")["bundle_packages"]
    )
