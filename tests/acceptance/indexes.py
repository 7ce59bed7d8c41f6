"""The two kinds of index: what all have in common, and what differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from . import web
from .machines import Machine
from .web import Request

if TYPE_CHECKING:
    from .fleet import Client

REST = Path(__file__).parent / "remote" / "rest.py"


@dataclass(frozen=True)
class User:
    """Somebody who logs in at an index."""

    name: str
    password: str = field(repr=False)
    rights: frozenset[str] = frozenset()


@dataclass(eq=False)
class Index(ABC):
    """An index host, and what the inventory says of it."""

    kind: ClassVar[str]
    """The role that runs the server; its variables begin so."""

    machine: Machine
    variables: Mapping[str, Any] = field(repr=False)
    address: str
    python_version: str
    """Of the Python that Ansible uses there: major.minor."""
    authority: str = field(repr=False)
    """The CA certificate that clients must trust (PEM); '' = a public one."""
    clients: list[Client] = field(default_factory=list)
    vantages: list[Machine] = field(default_factory=list)
    """Hosts to look at it from: its clients, else other hosts of the fleet, else the controller."""

    def __repr__(self) -> str:
        return self.machine.name

    def __getitem__(self, name: str) -> Any:
        """The value of a variable on this host; "" where it has none."""
        return self.variables[name]

    def own(self, name: str) -> Any:
        """The value of a variable that the roles of both kinds have, such as `server_name`."""
        return self[f"{self.kind}_{name}"]

    @property
    def server_name(self) -> str:
        return str(self.own("server_name"))

    @property
    def http_port(self) -> int:
        return int(self.own("http_port"))

    @property
    def https_port(self) -> int:
        return int(self.own("https_port"))

    @property
    def max_upload_mb(self) -> int:
        return int(self.own("max_upload_mb"))

    @property
    def threads(self) -> int:
        return int(self.own("threads"))

    @property
    def url_path(self) -> str:
        """Path of the URL that all of the index is below; '' = the whole server."""
        return ""

    @property
    def url(self) -> str:
        """The root of the index, with a slash at its end."""
        port = "" if self.https_port == 443 else f":{self.https_port}"
        return f"https://{self.server_name}{port}{self.url_path}/"

    @property
    def install_url(self) -> str:
        return f"{self.url}{self.simple[1:]}"

    @property
    @abstractmethod
    def simple(self) -> str:
        """Where clients install from, below the index's root."""

    @property
    @abstractmethod
    def upload_path(self) -> str:
        """Where clients upload to, below the index's root."""

    @property
    @abstractmethod
    def page(self) -> str:
        """A page for those who may list that costs the server little, below the index's root."""

    @property
    @abstractmethod
    def users(self) -> tuple[User, ...]:
        """Everybody whom the inventory gives a login, with their rights: read, upload."""

    @property
    @abstractmethod
    def protected(self) -> frozenset[str]:
        """Those of list, download and update that want a password."""

    @property
    @abstractmethod
    def packages(self) -> str:
        """The folder of published files."""

    @property
    @abstractmethod
    def units(self) -> tuple[str, ...]:
        """systemd's units of the server, the service first."""

    @property
    @abstractmethod
    def exposure(self) -> float:
        """The most that ``systemd-analyze security`` may say of the service."""

    @abstractmethod
    def takes_again(self, *, identical: bool) -> bool:
        """Whether a file that is there may be uploaded once more, with the same content or with other."""

    @abstractmethod
    def published(self, pattern: str) -> dict[str, str]:
        """The SHA-256 of every file on the index's disk whose name matches `pattern`, hidden folders included."""

    @abstractmethod
    def discard(self, project: str) -> None:
        """Remove all of a project."""

    @abstractmethod
    def tidy(self, prefix: str, run_id: str) -> None:
        """Remove every project whose name begins with `prefix` and that is of this run, or a day old."""

    @property
    def reader(self) -> User | None:
        """Somebody who may read and not upload."""
        return next((user for user in self.users if user.rights == {"read"}), None)

    @property
    def uploader(self) -> User | None:
        """Somebody who may read and upload."""
        return next((user for user in self.users if user.rights >= {"read", "upload"}), None)

    def upload(self, user: User | None, filename: str, content: bytes, **fields: str) -> Request:
        """An upload of a distribution to where clients upload to."""
        return replace(web.upload(user, filename, content, **fields), target=self.upload_path)

    def hashes(self, folder: str, pattern: str) -> dict[str, str]:
        """The SHA-256 of the files below a folder of the index host whose name matches `pattern`."""
        found = self.machine.run("find", folder, "-type", "f", "-name", pattern, "-exec", "sha256sum", "--", "{}", "+")
        return {Path(name).name: digest for digest, name in (line.split(None, 1) for line in found.out.splitlines())}


class Pypiserver(Index):
    """pypiserver behind nginx, which knows the users."""

    kind = "pypiserver"

    @property
    def url_path(self) -> str:
        return str(self["pypiserver_url_path"])

    @property
    def simple(self) -> str:
        return "/simple/"

    @property
    def page(self) -> str:
        return self.simple

    @property
    def upload_path(self) -> str:
        return "/"

    @property
    def users(self) -> tuple[User, ...]:
        return tuple(
            User(user["name"], user["password"], frozenset(user.get("rights") or ["read"]))
            for user in self["htpasswd_users"] or []
        )

    @property
    def protected(self) -> frozenset[str]:
        return frozenset(self["pypiserver_protected_actions"])

    @property
    def overwrite(self) -> bool:
        return bool(self["pypiserver_overwrite"])

    @property
    def removal(self) -> bool:
        return bool(self["pypiserver_removal"])

    @property
    def packages(self) -> str:
        return str(self["pypiserver_packages_dir"])

    @property
    def container(self) -> bool:
        """Whether the server runs in a container."""
        return bool(self["pypiserver_runtime"] == "container")

    @property
    def units(self) -> tuple[str, ...]:
        # A container makes its socket itself
        return ("pypiserver.service",) if self.container else ("pypiserver.service", "pypiserver.socket")

    @property
    def exposure(self) -> float:
        return 2.0

    def takes_again(self, *, identical: bool) -> bool:  # noqa: ARG002
        return self.overwrite

    def published(self, pattern: str) -> dict[str, str]:
        return self.hashes(self.packages, pattern)

    def discard(self, project: str) -> None:
        name = project.replace("-", "?")
        self.machine.check("find", self.packages, "-type", "f", "-name", f"{name}-*", "-delete")

    def tidy(self, prefix: str, run_id: str) -> None:
        ours = ("-type", "f", "-iname", f"{prefix.replace('-', '[-_.]')}*")
        for these in (("-iname", f"*{run_id}*"), ("-mtime", "+0")):
            self.machine.check("find", self.packages, *ours, *these, "-delete")
        assert self.machine.check("find", self.packages, "-iname", f"*{run_id}*") == ""


@dataclass(frozen=True)
class Stage:
    """An index of a devpi server that people upload to, as the inventory declares it."""

    name: str
    """USER/INDEX."""
    volatile: bool
    bases: tuple[str, ...]
    uploaders: frozenset[str]
    """Names of users, :AUTHENTICATED: or :ANONYMOUS:."""

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    def takes_uploads_of(self, user: str) -> bool:
        """Whether `user` ('' = nobody) may upload (acl_upload)."""
        everybody = {":ANONYMOUS:"} | ({":AUTHENTICATED:", user} if user else set())
        return bool(everybody & self.uploaders)

    @classmethod
    def declared(cls, index: Mapping[str, Any]) -> Stage:
        """From an item of devpi_indexes, with devpi's defaults."""
        owner = index["name"].partition("/")[0]
        names = _words(index.get("acl_upload", [owner]))
        special = {name.upper() if name.startswith(":") else name for name in names}
        return cls(
            index["name"], bool(index.get("volatile", True)), tuple(_words(index.get("bases"))), frozenset(special)
        )


def _words(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value or [])


class Devpi(Index):
    """devpi-server behind nginx. devpi knows the users itself."""

    kind = "devpi"

    @property
    def simple(self) -> str:
        return f"/{self['devpi_default_index']}/+simple/"

    @property
    def upload_path(self) -> str:
        return f"/{self['devpi_upload_index']}/"

    @property
    def page(self) -> str:
        return f"/{self['devpi_upload_index']}?no_projects="

    @property
    def locked(self) -> bool:
        """Whether reading needs a login."""
        return bool(self["devpi_lockdown"])

    @property
    def stages(self) -> dict[str, Stage]:
        """The declared indexes that people upload to, by name."""
        declared = [index for index in self["devpi_indexes"] or [] if index.get("type", "stage") == "stage"]
        return {index["name"]: Stage.declared(index) for index in declared}

    @property
    def mirrors(self) -> dict[str, str]:
        """The URL of what each declared mirror mirrors ('' = devpi's own default), by its name."""
        declared = [index for index in self["devpi_indexes"] or [] if index.get("type") == "mirror"]
        found = {index["name"]: str(index["mirror_url"]) for index in declared}
        return found | ({"root/pypi": str(self["devpi_mirror_url"])} if self["devpi_root_pypi"] else {})

    @property
    def chain(self) -> list[str]:
        """The index that clients install from, and all of its bases, in the order in which they are asked."""
        found, todo = [], [str(self["devpi_default_index"])]
        while todo:
            name = todo.pop(0)
            found.append(name)
            bases = self.stages[name].bases if name in self.stages else ()
            todo += [base for base in bases if base not in found + todo]
        return found

    @property
    def mirror(self) -> str:
        """The mirror that clients install from in the end; '' = there is none."""
        return next((name for name in self.chain if name in self.mirrors), "")

    @property
    def target(self) -> Stage:
        """The index that clients upload to."""
        return self.stages[str(self["devpi_upload_index"])]

    @property
    def root(self) -> User:
        return self._user("root", str(self["devpi_root_password"]))

    @property
    def users(self) -> tuple[User, ...]:
        declared = [self._user(user["name"], user["password"]) for user in self["devpi_users"] or []]
        return (*declared, self.root)

    def _user(self, name: str, password: str) -> User:
        return User(name, password, frozenset({"read"} | ({"upload"} if self.target.takes_uploads_of(name) else set())))

    @property
    def protected(self) -> frozenset[str]:
        reading = {"list", "download"} if self.locked else set()
        return frozenset(reading | (set() if self.target.takes_uploads_of("") else {"update"}))

    @property
    def packages(self) -> str:
        return str(self["devpi_files_dir"])

    @property
    def units(self) -> tuple[str, ...]:
        return ("devpi.service",)

    @property
    def exposure(self) -> float:
        # What serves a mirror has to reach it
        return 3.0 if self["devpi_network"] else 2.0

    def takes_again(self, *, identical: bool) -> bool:
        return identical or self.target.volatile

    def published(self, pattern: str) -> dict[str, str]:
        return self.stored(self.target.name, pattern)

    def stored(self, stage: str, pattern: str) -> dict[str, str]:
        """What `published` says of any index of the server."""
        return self.hashes(f"{self.packages}/{stage}/+f", pattern)

    def user(self, name: str) -> User | None:
        """A declared user, or root."""
        return next((user for user in self.users if user.name == name), None)

    def publisher(self, stage: Stage) -> User:
        """Somebody who may upload there."""
        return next(user for user in self.users if stage.takes_uploads_of(user.name))

    def post(self, stage: str, user: User | None, filename: str, content: bytes, **fields: str) -> Request:
        """An upload to any index of the server."""
        return replace(web.upload(user, filename, content, **fields), target=f"/{stage}/")

    def rest(self, *requests: tuple[str, str, Any]) -> list[tuple[int, Any]]:
        """Requests by root, by the server's own socket: method, path, and the body (None: none). Returns the status
        and the result of each."""
        job = {"socket": str(self["devpi_socket"]), "login": ["root", self.root.password], "requests": requests}
        return [(answer[0], answer[1]) for answer in self.machine.program(REST, job)]

    def discard(self, project: str) -> None:
        self.rest(("DELETE", f"{self.upload_path}{project}?force=yes", None))

    def tidy(self, prefix: str, run_id: str) -> None:
        job = {"socket": str(self["devpi_socket"]), "login": ["root", self.root.password]}
        left = self.machine.program(REST, job | {"tidy": True, "prefix": prefix, "run": run_id, "days": 1})
        assert left == []
