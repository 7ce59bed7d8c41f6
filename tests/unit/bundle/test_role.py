"""The role's variables: they name what the roles that follow install."""

from __future__ import annotations

from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.unit.repository import ROOT, load


def test_the_packages_that_the_roles_install_come_along() -> None:
    """What a role would ask the network for is in the bundle: nginx with all its modules, Python's venv, the trust store."""
    nginx: dict[str, Any] = load(ROOT / "roles/nginx/vars/Debian.yml")
    variables = {**load(ROOT / "roles/nginx/defaults/main.yml"), "ansible_facts": {"distribution_major_version": "12"}}
    packages = Templar(DataLoader(), variables=variables).template(trust_as_template(nginx["__nginx_packages"]))
    service = load(ROOT / "roles/python_service/vars/Debian.yml")["__python_service_os_packages"]
    assert {*packages, *service, "ca-certificates"} <= set(
        load(ROOT / "roles/bundle/defaults/main.yml")["bundle_packages"]
    )
