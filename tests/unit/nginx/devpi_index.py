"""A devpi-server with users, indexes and releases, behind a front that its role's own site describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tests.unit.nginx.conftest import Certificates
from tests.unit.nginx.devpi_service import (
    PASSWORDS,
    Devpi,
    devpi_server,
    documentation,
    release_fields,
    token,
    upstream,
    wheel,
)
from tests.unit.nginx.front import Client, Front, debian_release, free_ports
from tests.unit.nginx.rendering import evaluate

LIMIT = 5
# What clients of this machine find without a resolver
NAME = "localhost"
BODY_MB = 4
# A plugin that lets only the owner read the index with this title, and takes a token that is good for pages of one
# project only, as devpi-tokens has them: elsewhere it is no login. Its answers have a header that nginx sets, too
PROJECT_TOKEN = "reader:token-for-example"
READ_RIGHTS = """
from devpi_server.view_auth import CredentialsIdentity
from pluggy import HookimplMarker

hookimpl = HookimplMarker("devpiserver")

@hookimpl
def devpiserver_stage_get_principals_for_pkg_read(ixconfig):
    return ["owner"] if ixconfig.get("title") == "secret" else None

@hookimpl(tryfirst=True)
def devpiserver_get_identity(request, credentials):
    if credentials and list(credentials) == ["reader", "token-for-example"]:
        if getattr(getattr(request, "context", None), "project", None) in (None, "example"):
            return CredentialsIdentity("reader", [])
    return None

@hookimpl
def devpiserver_pyramid_configure(config, pyramid_config):
    pyramid_config.add_tween("read_rights.framing")

def framing(handler, registry):
    def handle(request):
        response = handler(request)
        response.headers["X-Frame-Options"] = "DENY"
        return response
    return handle
"""


@dataclass
class Index:
    """What runs, and the paths of what is in it."""

    devpi: Devpi
    front: Front
    authority: Path
    paths: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    used: list[int] = field(default_factory=lambda: [1])

    def token(self, user: str) -> dict[str, str]:
        """The header of a login, as devpi's client sends it: the server checks it faster than a password."""
        if user and user not in self.tokens:
            self.tokens[user] = token(self.client(), user)
        return {"X-Devpi-Auth": self.tokens[user]} if user else {}

    @property
    def needs_login(self) -> bool:
        return bool(self.front.sites[0]["login_check"]["required"])

    @property
    def port(self) -> int:
        return int(self.front.sites[0]["https_port"])

    def client(self) -> Client:
        """A client with an address that nobody has failed from."""
        self.used.append(self.used[-1] + 1)
        number = self.used[-1]
        return Client(self.port, self.authority, NAME, address=f"127.3.{number // 250}.{number % 250 + 1}")


def login(user: str) -> str:
    return f"{user}:{PASSWORDS[user]}" if user else ""


def site_of(devpi: Devpi, certificates: Certificates, *, lockdown: bool) -> dict[str, object]:
    """Return the site that the role devpi exports."""
    http_port, https_port = free_ports(2)
    variables = {
        "devpi_server_name": NAME,
        "devpi_http_port": http_port,
        "devpi_https_port": https_port,
        "devpi_socket": str(devpi.socket),
        "devpi_server_dir": str(devpi.server_dir),
        "devpi_generations_file": str(devpi.generations),
        "devpi_lockdown": lockdown,
        "devpi_tls_certificate": str(certificates.certificate),
        "devpi_tls_key": str(certificates.key),
        "devpi_max_upload_mb": BODY_MB,
    }
    site: dict[str, object] = evaluate("devpi_nginx_site", "Debian", variables, other_role="devpi")
    return site


def fill(devpi: Devpi, mirror_url: str) -> dict[str, str]:
    """Make users, indexes and releases; return the paths of what is there."""
    for user in ("owner", "reader", "other"):
        devpi.do("PUT", f"/{user}", "root", {"password": PASSWORDS[user]})
    devpi.do("PUT", "/root/mirror", "root", {"type": "mirror", "mirror_url": mirror_url, "volatile": False})
    indexes: dict[str, dict[str, object]] = {
        "dev": {"bases": ["root/mirror"]},
        "stable": {"volatile": False},
        "secret": {"title": "secret"},
    }
    for name, options in indexes.items():
        devpi.do(
            "PUT", f"/owner/{name}", "root", {"acl_upload": ["owner"], "acl_toxresult_upload": ["owner"], **options}
        )
    paths = {}
    for index in ("dev", "stable", "secret"):
        name, content = wheel("example", "1.0")
        devpi.upload(f"owner/{index}", "owner", release_fields("example", "1.0"), name, content)
        paths[index] = file_path(devpi, f"owner/{index}", "example")
    doc = release_fields("example", "1.0", "doc_upload")
    devpi.upload("owner/dev", "owner", doc, "example-1.0.doc.zip", documentation("example documentation"))
    paths["mirrored"] = file_path(devpi, "root/mirror", "mirrored")
    headers = {"Content-Type": "application/json"}
    result = json.dumps({"testenvs": {}, "host": "example"}).encode()
    status, said = devpi.ask("POST", paths["dev"], user="owner", body=result, headers=headers)
    assert status == 200, said
    paths["toxresult"] = "/" + json.loads(said)["result"].split("#")[0]
    return paths


def file_path(devpi: Devpi, index: str, project: str) -> str:
    """Return the path of a project's first file."""
    kind = "application/vnd.pypi.simple.v1+json"
    path = f"/{index}/+simple/{project}/"
    status, said = devpi.ask("GET", path, user="owner", headers={"Accept": kind})
    assert status == 200, said
    address: str = json.loads(said)["files"][0]["url"]
    return urlsplit(urljoin(path, address)).path


@contextmanager
def running_index(folder: Path, certificates: Certificates, *, lockdown: bool) -> Iterator[Index]:
    """A filled devpi-server and its front, until the end of the with statement."""
    folder.mkdir()
    plugins = folder / "plugins"
    (plugins / "read_rights-1.dist-info").mkdir(parents=True)
    (plugins / "read_rights.py").write_text(READ_RIGHTS)
    (plugins / "read_rights-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: read-rights\nVersion: 1\n"
    )
    (plugins / "read_rights-1.dist-info" / "entry_points.txt").write_text("[devpi_server]\nread-rights = read_rights\n")
    with (
        upstream({"mirrored": wheel("mirrored", "2.0", padding=600_000)}) as mirror_url,
        devpi_server(folder / "devpi", lockdown=lockdown, plugins=plugins) as devpi,
    ):
        front = Front(folder, [site_of(devpi, certificates, lockdown=lockdown)], release=debian_release())
        front.variables = {"nginx_failed_logins_per_minute": LIMIT, "nginx_worker_processes": 1}
        assert front.problems() == ""
        front.write()
        assert front.check() == ""
        paths = fill(devpi, mirror_url)
        with front.running():
            yield Index(devpi, front, certificates.authority, paths)
