"""The role container on hosts that are folders (machine.py): what it writes for each engine, and in which order it asks what."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pypiserver_programs import install
from tests.unit.container.machine import SERVER, WATCH, Host, deploy, failures
from tests.unit.repository import ROOT

PUBLISHING = {"pypiserver_container_publishing": True}
NAMED = {"pypiserver_container_image": f"registry.example.org/pypiserver@sha256:{'1' * 64}"}
SECRET = "s3cret-of-an-index"


@dataclass(frozen=True)
class Deployed:
    """What one host has after a run, and what was asked there."""

    host: Host
    calls: list[str]
    files: Mapping[str, str]
    stats: Mapping[str, int]


def hosts_of(folder: Path) -> list[Host]:
    settings = {"pypiserver_pip_environment": {"PIP_INDEX_URL": f"https://user:{SECRET}@index.example.org/"}}
    return [
        Host("quadlet", folder / "quadlet", {**PUBLISHING, **settings}),
        Host("podman", folder / "podman", {"pypiserver_overwrite": True, **NAMED}, quadlet=False),
        Host("docker", folder / "docker", {**PUBLISHING, "container_engine": "docker"}, ("docker", "podman")),
    ]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployed]:
    """All of them after a first run of the server's part and the watch's, where there is one."""
    folder = tmp_path_factory.mktemp("container")
    hosts = hosts_of(folder)
    for host in hosts:
        host.make()
    own = [host for host in hosts if "pypiserver_container_publishing" in host.variables]
    others = [host for host in hosts if host not in own]
    found = {}
    for several, calls in ((own, (SERVER, WATCH)), (others, (SERVER,))):
        report = deploy(several, folder, calls)
        for host in several:
            assert failures(report, host.name) == []
            found[host.name] = Deployed(host, host.calls(), host.files(), report["stats"][host.name])
    return found


ENGINES = {
    "quadlet": ["systemd/containers/pypiserver.container", "systemd/containers/pypiserver-watch.container"],
    "podman": ["systemd/pypiserver.service"],
    "docker": ["systemd/pypiserver.service", "systemd/pypiserver-watch.service"],
}


@pytest.mark.parametrize("name", ENGINES)
def test_units_start_at_boot_and_always_again(deployed: dict[str, Deployed], name: str) -> None:
    found = deployed[name]
    assert [path for path in found.files if path.startswith("systemd/")] == sorted(ENGINES[name])
    for path in ENGINES[name]:
        lines = found.files[path].splitlines()
        assert {"Restart=always", "[Install]", "WantedBy=multi-user.target"} <= set(lines)
        unit = Path(path).stem
        assert f"systemctl start {unit}.service" in found.calls
        # Quadlet's units are made at boot; others have to be enabled (this systemd says that they are)
        assert (f"systemctl is-enabled {unit}.service -l" in found.calls) == path.endswith(".service")


@pytest.mark.parametrize("name", [name for name, paths in ENGINES.items() if paths[0].endswith(".service")])
def test_systemd_takes_the_units(deployed: dict[str, Deployed], name: str, tmp_path: Path) -> None:
    """systemd's own judgement, without a word; Docker's unit is not of ours."""
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    for path in ENGINES[name]:
        (tmp_path / Path(path).name).write_text(deployed[name].files[path])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / Path(path).name) for path in ENGINES[name])],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line or "pypiserver" in line]
    assert (done.returncode, said) == (0, [])


def container_settings(found: Deployed, service: str) -> dict[str, Any]:
    """What an engine is told of a container, in Compose's words."""
    compose = found.files.get(f"pyindex/{service}.compose.json")
    if compose:
        (told,) = json.loads(compose)["services"].values()
        return dict(told)
    quadlet = found.files.get(f"systemd/containers/{service}.container", "")
    if quadlet:
        pairs = [line.partition("=")[::2] for line in quadlet.splitlines() if "=" in line]
        values = dict(pairs)
        volumes = [value.split(":") for key, value in pairs if key == "Volume"]
        return {
            "image": values["Image"],
            "user": f"{values['User']}:{values['Group']}",
            "network_mode": values["Network"],
            "read_only": values["ReadOnly"] == "true",
            "cap_drop": [values["DropCapability"].upper()],
            "security_opt": ["no-new-privileges:true"] if values["NoNewPrivileges"] == "true" else [],
            "volumes": [{"type": "bind", "source": source, "target": target} for source, target in volumes],
            "command": re.findall(r'"([^"]*)"', values["Exec"]),
            "environment": dict(value.strip('"').split("=", 1) for key, value in pairs if key == "Environment"),
        }
    unit = found.files[f"systemd/{service}.service"].replace("\\\n", "")
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', start)]
    options = [word for word in words if word.startswith("--")]
    image = next(place for place, word in enumerate(words) if not word.startswith("-") and place > 1)
    volumes = [word.partition("=")[2].split(":") for word in words[:image] if word.startswith("--volume=")]
    return {
        "image": words[image],
        "user": next(option.partition("=")[2] for option in options if option.startswith("--user=")),
        "network_mode": "none" if "--network=none" in options else "",
        "read_only": "--read-only" in options,
        "cap_drop": ["ALL"] if "--cap-drop=all" in options else [],
        "security_opt": ["no-new-privileges:true"] if "--security-opt=no-new-privileges" in options else [],
        "volumes": [{"type": "bind", "source": source, "target": target} for source, target in volumes],
        "command": words[image + 1 :],
        "environment": dict(word.removeprefix("--env=").split("=", 1) for word in words if word.startswith("--env=")),
    }


@pytest.mark.parametrize("name", ENGINES)
def test_containers_have_no_network_and_little_else(deployed: dict[str, Deployed], name: str) -> None:
    for path in ENGINES[name]:
        told = container_settings(deployed[name], Path(path).stem)
        assert told["network_mode"] == "none"
        assert told["read_only"]
        assert told["cap_drop"] == ["ALL"]
        assert told["security_opt"] == ["no-new-privileges:true"]
        # By number: that of the host's user (root, in these tests)
        assert told["user"] == "0:0"
    # Not even by a word somewhere
    assert not re.search(r"publish|ports|--privileged|docker\.sock", "\n".join(deployed[name].files.values()).lower())


@pytest.mark.parametrize("name", ["quadlet", "docker"])
def test_our_own_image_runs_what_a_virtual_environment_runs(deployed: dict[str, Deployed], name: str) -> None:
    """The same folders under the same names, the same socket, the same server."""
    server = container_settings(deployed[name], "pypiserver")
    watch = container_settings(deployed[name], "pypiserver-watch")
    assert server["image"] == watch["image"]
    assert server["image"].startswith("localhost/pyindex-pypiserver:")
    folders = ["/var/lib/pypiserver/packages", "/var/lib/pypiserver/pages"]
    assert [volume["source"] for volume in watch["volumes"]] == folders
    assert [volume["source"] for volume in server["volumes"]] == [*folders, "/run/pypiserver"]
    assert all(volume["source"] == volume["target"] for volume in server["volumes"] + watch["volumes"])
    assert "--bind=unix:/run/pypiserver/pypiserver.sock" in server["command"]
    assert server["command"][-1] == "pyindex_pypiserver.app:application()"
    assert watch["command"][1:] == ["-m", "pyindex_pypiserver.watch"]


def test_the_official_image_gets_its_folder_and_our_socket(deployed: dict[str, Deployed]) -> None:
    told = container_settings(deployed["podman"], "pypiserver")
    assert told["image"] == NAMED["pypiserver_container_image"]
    assert [(volume["source"], volume["target"]) for volume in told["volumes"]] == [
        ("/var/lib/pypiserver/packages", "/data/packages"),
        ("/run/pypiserver", "/run/pypiserver"),
    ]
    # nginx asks for passwords; a name that is unknown here is asked for nowhere else
    assert {"--authenticate=.", "--passwords=.", "--disable-fallback", "--overwrite"} < set(told["command"])
    assert "--bind=unix:/run/pypiserver/pypiserver.sock" in deployed["podman"].files[ENGINES["podman"][0]]
    assert not [path for path in deployed["podman"].files if "watch" in path]


@pytest.mark.parametrize("name", ENGINES)
def test_folders_are_seen_to_before_a_start(deployed: dict[str, Deployed], name: str) -> None:
    """The socket's folder is the front's to enter; a packages folder that is gone is not made in a disk's place."""
    text = deployed[name].files[ENGINES[name][0]]
    assert "ExecStartPre=/usr/bin/install -d -m 0750 -o root -g www-data /run/pypiserver\n" in text
    assert "ExecStartPre=/usr/bin/test -d /var/lib/pypiserver/packages\n" in text
    if len(ENGINES[name]) == 2:
        assert "try-restart pypiserver-watch.service" in text
        assert "try-restart pypiserver.service" in deployed[name].files[ENGINES[name][1]]


def test_the_image_is_pulled_by_its_digest(deployed: dict[str, Deployed]) -> None:
    image = NAMED["pypiserver_container_image"]
    assert [call for call in deployed["podman"].calls if image in call] == [
        f"podman image inspect --format {{{{.Id}}}} {image}",
        f"podman pull --quiet {image}",
        f"podman image inspect --format {{{{.Id}}}} {image}",
    ]


def test_no_password_of_an_index_is_anywhere(deployed: dict[str, Deployed]) -> None:
    """Neither in an argument nor in what the image is built from; pip reads it from its standard input."""
    found = deployed["quadlet"]
    assert SECRET in (found.host.folder / "read").read_text()
    texts = [*found.calls, *found.files.values()]
    texts += [path.read_text() for path in found.host.folder.glob("context/**/*") if path.is_file()]
    assert len(texts) > 20
    assert not [text for text in texts if SECRET in text]
    assert (found.host.folder / "context/wheels").is_dir()
    assert (found.host.folder / "context/pyindex_pypiserver/app.py").is_file()


def test_programs_run_beside_the_service(deployed: dict[str, Deployed]) -> None:
    """As the same user on the same folders, without a network unless one is asked for, and with their own arguments."""
    host = deployed["docker"].host
    launcher = host.folder / "etc/server/run"
    assert launcher.stat().st_mode & 0o777 == 0o755
    host.calls()
    for arguments in (["python", "-m", "x", "a b"], ["--online", "python", "-c", "$HOME"]):
        subprocess.run([launcher, *arguments], input="", text=True, check=True)
    offline, online = host.calls()
    image = container_settings(deployed["docker"], "pypiserver")["image"]
    assert offline.endswith(f" {image} -m x a b")
    assert online.endswith(f" {image} -c $HOME")
    assert "--network=none --entrypoint=python" in offline
    assert "--network=host --entrypoint=python" in online
    for call in (offline, online):
        assert {"--rm", "--read-only", "--user=0:0", "--cap-drop=all"} < set(call.split())
    assert subprocess.run([launcher], capture_output=True, check=False).returncode == 2


def test_a_second_run_asks_only_what_is_there(deployed: dict[str, Deployed], tmp_path: Path) -> None:
    """Nothing is pulled, built or loaded again; the service is started again, as nothing runs on these hosts."""
    hosts = [deployed["docker"].host]
    for host in hosts:
        host.calls()
    report = deploy(hosts, tmp_path, (SERVER, WATCH))
    for host in hosts:
        assert failures(report, host.name) == []
        asked = [call for call in host.calls() if not call.startswith("systemctl")]
        assert not [call for call in asked if re.match(r"\S+ (pull|build|load|run) ", call)]
        assert host.files() == deployed[host.name].files


@contextlib.contextmanager
def served(told: Mapping[str, Any], program: list[str], folder: Path) -> Iterator[Path]:
    """Run what a container is told, without the container; yield the socket that it listens on.

    Below *folder* lies what it would see; the programs are those of the role's lock file.
    """

    def here(text: str) -> str:
        for path in ("/var/lib/pypiserver", "/data", "/run/pypiserver"):
            text = text.replace(path, str(folder))
        return text

    command = [*program, *(here(word) for word in told["command"][1 if program[0].endswith("python") else 0 :])]
    environment = {name: here(value) for name, value in told["environment"].items()}
    with subprocess.Popen(
        command,
        cwd=ROOT / "roles/pypiserver/files",
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment, "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        path = folder / "pypiserver.sock"
        deadline = time.monotonic() + 60
        try:
            while not connects(path):
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield path
        finally:
            server.terminate()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def get(path: Path, target: str) -> int:
    """The status of a page, asked for through the socket."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(30)
        channel.connect(str(path))
        channel.sendall(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = http.client.HTTPResponse(channel)
        answer.begin()
        return answer.status


@pytest.mark.parametrize("name", ["podman", "docker"], ids=["the official image's server", "our own"])
def test_the_server_listens_on_the_socket_alone(deployed: dict[str, Deployed], name: str) -> None:
    """The real servers, told exactly what the containers are told: no port, and a socket that its folder guards."""
    told = container_settings(deployed[name], "pypiserver")
    programs = install()
    program = [str(programs / "pypi-server")] if name == "podman" else [str(programs / "python")]
    # Short, as the path of a socket may have 107 bytes only
    with tempfile.TemporaryDirectory(prefix="pypiserver-") as text:
        folder = Path(text)
        (folder / "packages").mkdir()
        (folder / "pages").mkdir()
        with served(told, program, folder) as path:
            assert get(path, "/health") == 200
            assert path.stat().st_mode & 0o777 == 0o777
            listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
            assert not [line for line in listening.splitlines() if "gunicorn" in line or "pypi-server" in line]
            # A name that is not here is asked for nowhere else
            assert get(path, "/simple/no-such-project/") in {404, 503}
