"""Who is measured: the limit, the peers as their own documentation runs them, and what site.yml has deployed.

Texts in {braces} (commands) and @signs@ (nginx configurations, in nginx/) are filled in by the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .services import Service

HOST = "127.0.0.1"
LIMIT = "limit"


class Filling(Enum):
    """How a server comes by the files."""

    FOLDER = "it serves the data's folder, or proxies to one who does"
    LINKS = "the files are linked into its own folder, and it publishes them"
    UPLOADS = "the files are uploaded, once"


@dataclass(frozen=True)
class Target:
    """A server to measure."""

    key: str
    title: str
    simple_url: str
    """The root of the simple API (PEP 503), with a slash at its end."""
    filling: Filling = Filling.FOLDER
    services: tuple[Service, ...] = ()
    """Units of the benchmark's own, in the order in which they start; the first is the one that keeps the files."""
    deployed: str = ""
    """The unit of the server that site.yml has made. What is before it is found by itself."""
    upload_url: str = ""
    """Where uploads go; '' = it takes none."""
    requirements: str = ""
    """Name of the lock file in requirements/ that it is installed from."""
    nginx: str = ""
    """Name of its configuration in nginx/."""
    read_headers: Mapping[str, str] = field(default_factory=dict)
    write_headers: Mapping[str, str] = field(default_factory=dict)
    sizes: frozenset[int] | None = None
    """The numbers of files that it is measured with; None = all."""
    too_many: str = ""
    """Why it is not measured with more."""
    kills: bool = False
    """Whether it is killed again and again. A start of devpi takes ten seconds."""
    json: bool = True
    """Whether it answers JSON (PEP 691)."""

    @property
    def ours(self) -> bool:
        """Whether it is what is measured, or the limit: the others are who it is compared with."""
        return bool(self.deployed) or self.key == LIMIT

    @property
    def tls(self) -> bool:
        return self.simple_url.startswith("https:")

    @property
    def password(self) -> bool:
        """Whether its pages want a password."""
        return bool(self.read_headers)

    def page(self, project: str) -> str:
        return f"{self.simple_url}{project}/"

    def takes(self, files: int) -> bool:
        return self.sizes is None or files in self.sizes


@dataclass(frozen=True)
class Ports:
    """One port for each server of the benchmark."""

    limit: int = 8400
    upstream: int = 8401
    pypiserver: int = 8402
    gunicorn: int = 8403
    gunicorn_front: int = 8404
    devpi: int = 8405
    devpi_front: int = 8406
    proxpi: int = 8407
    simple_repository: int = 8408


PORTS = Ports()
NGINX = "/usr/sbin/nginx -g 'daemon off;' -c {state}/%s.conf"
DEVPI_INDEX = "root/bench"
"""The index with the data. Uploads that are measured go to DEVPI_SCRATCH, so that the data stays as it is."""
DEVPI_SCRATCH = "root/scratch"
DEVPI_SERVER = Service(
    name="devpi",
    command=f"{{venvs}}/devpi/bin/devpi-server --host 127.0.0.1 --port {PORTS.devpi} --serverdir {{state}}/devpi",
    port=PORTS.devpi,
)


def peers(
    server_name: str, reader: Mapping[str, str], writer: Mapping[str, str], devpi_login: Mapping[str, str], few: int
) -> list[Target]:
    """Return the limit and the peers.

    `server_name` is the name in the certificate of the deployed index, `reader` and `writer` are headers of users in
    its htpasswd file, `devpi_login` those of a new devpi's root; devpi is filled with `few` files.
    """
    devpi_sizes = frozenset({few})
    too_many = "filling devpi by uploads with more files takes hours; its pages cost by the files of one project"
    return [
        Target(
            key=LIMIT,
            title="the limit: nginx, finished files, TLS",
            simple_url=f"https://{server_name}:{PORTS.limit}/simple/",
            services=(Service("limit", NGINX % "limit", user="root"),),
            nginx="limit",
        ),
        Target(
            key="pypiserver-bare",
            title="pypiserver, `pypi-server run`",
            simple_url=f"http://{HOST}:{PORTS.pypiserver}/simple/",
            upload_url=f"http://{HOST}:{PORTS.pypiserver}/",
            kills=True,
            services=(
                Service(
                    "pypiserver",
                    "{venvs}/pypiserver/bin/pypi-server run --interface 127.0.0.1 "
                    f"--port {PORTS.pypiserver} --passwords . --authenticate . {{data}}/files",
                ),
            ),
            requirements="pypiserver",
            json=False,
        ),
        Target(
            key="pypiserver-nginx",
            title="pypiserver, gunicorn, nginx: TLS, bcrypt",
            simple_url=f"https://{server_name}:{PORTS.gunicorn_front}/simple/",
            upload_url=f"https://{server_name}:{PORTS.gunicorn_front}/",
            services=(
                Service(
                    "gunicorn",
                    f"{{venvs}}/pypiserver/bin/gunicorn --workers 4 --no-control-socket --bind 127.0.0.1:{PORTS.gunicorn} "
                    "\"pypiserver:app(roots=['{data}/files'], password_file='.', authenticate=[])\"",
                    port=PORTS.gunicorn,
                ),
                Service("gunicorn-front", NGINX % "pypiserver", user="root"),
            ),
            requirements="pypiserver",
            nginx="pypiserver",
            read_headers=reader,
            write_headers=writer,
            json=False,
        ),
        Target(
            key="devpi-bare",
            title="devpi-server",
            simple_url=f"http://{HOST}:{PORTS.devpi}/{DEVPI_INDEX}/+simple/",
            upload_url=f"http://{HOST}:{PORTS.devpi}/{DEVPI_SCRATCH}/",
            filling=Filling.UPLOADS,
            services=(DEVPI_SERVER,),
            requirements="devpi",
            write_headers=devpi_login,
            sizes=devpi_sizes,
            too_many=too_many,
        ),
        Target(
            key="devpi-nginx",
            title="devpi-server, nginx by devpi-gen-config",
            simple_url=f"http://{HOST}:{PORTS.devpi_front}/{DEVPI_INDEX}/+simple/",
            upload_url=f"http://{HOST}:{PORTS.devpi_front}/{DEVPI_SCRATCH}/",
            filling=Filling.UPLOADS,
            services=(DEVPI_SERVER, Service("devpi-front", NGINX % "devpi", user="root")),
            requirements="devpi",
            nginx="devpi",
            write_headers=devpi_login,
            sizes=devpi_sizes,
            too_many=too_many,
        ),
        Target(
            key="proxpi",
            title="proxpi, gunicorn, in front of the limit",
            simple_url=f"http://{HOST}:{PORTS.proxpi}/index/",
            services=(
                Service(
                    "proxpi",
                    f"{{venvs}}/proxpi/bin/gunicorn --threads 2 --no-control-socket --bind 127.0.0.1:{PORTS.proxpi} proxpi.server:app",
                    environment={
                        "PROXPI_INDEX_URL": f"http://{HOST}:{PORTS.upstream}/simple/",
                        "PROXPI_LOGGING_LEVEL": "WARNING",
                    },
                ),
            ),
            requirements="proxpi",
        ),
        Target(
            key="simple-repository-server",
            title="simple-repository-server",
            simple_url=f"http://{HOST}:{PORTS.simple_repository}/simple/",
            services=(
                Service(
                    "simple-repository",
                    "{venvs}/simple-repository-server/bin/simple-repository-server "
                    f"--host 127.0.0.1 --port {PORTS.simple_repository} {{data}}/files",
                ),
            ),
            requirements="simple-repository-server",
        ),
    ]


def deployed_pypiserver(
    install_url: str, upload_url: str, reader: Mapping[str, str], writer: Mapping[str, str]
) -> Target:
    """Return the pypiserver that site.yml has deployed on this host."""
    return Target(
        key="pyindex-pypiserver",
        title="**pyindex.fleet**, pypiserver: TLS, bcrypt",
        simple_url=install_url,
        upload_url=upload_url,
        filling=Filling.LINKS,
        deployed="pypiserver.service",
        kills=True,
        read_headers=reader,
        write_headers=writer,
    )


def deployed_devpi(url: str, login: Mapping[str, str], few: int) -> Target:
    """Return the devpi that site.yml has deployed on this host, with an index of the benchmark's own in it."""
    return Target(
        key="pyindex-devpi",
        title="**pyindex.fleet**, devpi: TLS, password",
        simple_url=f"{url}{DEVPI_INDEX}/+simple/",
        upload_url=f"{url}{DEVPI_SCRATCH}/",
        filling=Filling.UPLOADS,
        deployed="devpi.service",
        read_headers=login,
        write_headers=login,
        sizes=frozenset({few}),
        too_many="filling devpi by uploads with more files takes hours; its pages cost by the files of one project",
    )
