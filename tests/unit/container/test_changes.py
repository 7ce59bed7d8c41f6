"""Images that come as files or cannot be had, and services that change hands: what is asked, in which order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.container.machine import Host, deploy, failures

IMAGE = "registry.example.org/pypiserver:1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changes")


@pytest.fixture(scope="module")
def hosts(folder: Path) -> dict[str, Host]:
    """Each has another image before it, or none."""
    (folder / "image.tar").write_text(f"{IMAGE}\n")
    (folder / "other.tar").write_text("registry.example.org/other:1\n")
    # The file cannot tell the digest
    given = {"pypiserver_container_image": f"{IMAGE}@sha256:{'1' * 64}"}
    made = [
        Host("offline", folder / "offline", {**given, "container_image_archive": str(folder / "image.tar")}),
        Host("wrong", folder / "wrong", {**given, "container_image_archive": str(folder / "other.tar")}),
        Host("refused", folder / "refused", {"pypiserver_container_image": IMAGE}),
    ]
    for host in made:
        # Its folder is removed with the service
        socket = str(folder / "run" / host.name / "pypiserver.sock")
        host.variables |= {"container_engine": "podman", "pypiserver_socket": socket}
        host.make()
    made[-1].says(version="podman version 5.4.2", pull="Error: pinging container registry registry.example.org")
    return {host.name: host for host in made}


@pytest.fixture(scope="module")
def report(hosts: dict[str, Host], folder: Path) -> Any:
    return deploy(list(hosts.values()), folder)


def test_an_image_is_loaded_from_a_file(report: Any, hosts: dict[str, Host]) -> None:
    assert failures(report, "offline") == []
    calls = hosts["offline"].calls()
    (load,) = [call for call in calls if call.startswith("podman load --input ")]
    assert not Path(load.split()[-1]).exists()
    assert not [call for call in calls if "pull " in call]
    assert f'"{IMAGE}"' in hosts["offline"].files()["systemd/pypiserver.service"]


def test_a_file_without_the_image_is_named(report: Any, hosts: dict[str, Host]) -> None:
    (said,) = failures(report, "wrong")
    assert f"other.tar does not hold {IMAGE}, which is asked for" in said
    assert not hosts["wrong"].files().get("systemd/pypiserver.service")
    # Not taken for loaded the next time
    assert not list((hosts["wrong"].folder / "etc/pyindex/loaded").iterdir())


def test_an_image_that_cannot_be_pulled_is_named_with_the_way_out(report: Any, hosts: dict[str, Host]) -> None:
    (said,) = failures(report, "refused")
    assert f"refused cannot pull {IMAGE}: Error: pinging container registry registry.example.org" in said
    assert f"podman save --output image.tar {IMAGE}" in said
    assert "set container_image_archive to its path" in said
    # Nothing of a service that runs was touched
    assert hosts["refused"].files() == {}
    assert not [call for call in hosts["refused"].calls() if call.startswith("systemctl")]


def test_another_file_and_another_engine(report: Any, hosts: dict[str, Host], folder: Path) -> None:
    """The new image is there before the old service stops; its unit goes before the new one comes."""
    assert report["stats"]["offline"]["failures"] == 0
    host = hosts["offline"]
    (folder / "image.tar").write_text(f"{IMAGE}\nregistry.example.org/more:1\n")
    host.variables["container_engine"] = "quadlet"
    host.calls()
    again = deploy([host], folder)
    assert failures(again, "offline") == []
    calls = host.calls()
    kinds = [" ".join(call.split()[:2]) for call in calls]
    assert kinds.index("podman load") < kinds.index("systemctl show")
    units = [path for path in host.files() if path.startswith("systemd/")]
    assert units == ["systemd/containers/pypiserver.container"]
    socket = host.variables["pypiserver_socket"]
    assert json.loads(host.files()["pyindex/pypiserver.json"]) == {"engine": "quadlet", "socket": socket}

    # Back to the file of before: what it held has another content now
    (folder / "image.tar").write_text(f"{IMAGE}\n")
    assert failures(deploy([host], folder), "offline") == []
    assert [call for call in host.calls() if call.startswith("podman load")]

    run = folder / "run/offline"
    run.mkdir(parents=True)
    Path(socket).touch()
    # The inventory names another one meanwhile, among files of somebody
    packages = folder / "packages"
    packages.mkdir()
    (packages / "demo-1.0.tar.gz").touch()
    host.variables["pypiserver_socket"] = str(packages / "pypiserver.sock")
    # Moving away, twice: the second time there is nothing to do
    removed = deploy([host], folder, tasks_from="remove")
    assert failures(removed, "offline") == []
    assert not [path for path in host.files() if not path.startswith("pyindex/loaded/")]
    assert not run.exists()
    assert list(packages.iterdir()) == [packages / "demo-1.0.tar.gz"]
    assert "systemctl show pypiserver.service" in host.calls()
    assert deploy([host], folder, tasks_from="remove")["stats"]["offline"]["changed"] == 0
    assert host.calls() == []
