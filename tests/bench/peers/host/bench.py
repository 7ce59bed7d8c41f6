"""What each piece of work is given: the data, the limits of time and count, the names for new files."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import services, wheels
from .clients import HTML, Client, links
from .dataset import Dataset
from .targets import Target


@dataclass(frozen=True)
class Limits:
    """How much is measured. All times in seconds."""

    sizes: tuple[int, ...]
    rounds: int
    load_seconds: float
    uploads: int
    uploads_seconds: float
    reads_after_upload: int
    """In one round."""
    reads_seconds: float
    kills: int
    kills_seconds: float
    peer_seconds: float
    """The most that any series of a peer may take; then it has fewer rounds."""
    total_seconds: float


FULL = Limits(
    sizes=(2_000, 20_000, 200_000),
    rounds=5,
    load_seconds=2,
    uploads=200,
    uploads_seconds=8,
    reads_after_upload=100,
    reads_seconds=15,
    kills=100,
    kills_seconds=240,
    peer_seconds=25,
    total_seconds=1500,
)
QUICK = Limits(
    sizes=(2_000,),
    rounds=2,
    load_seconds=1,
    uploads=40,
    uploads_seconds=3,
    reads_after_upload=20,
    reads_seconds=5,
    kills=5,
    kills_seconds=20,
    peer_seconds=10,
    total_seconds=600,
)


class FigureError(Exception):
    """A figure cannot be had; the message says why."""


@dataclass
class Bench:
    """One run, at one number of files."""

    limits: Limits
    data: Dataset
    folder: Path
    authority: Path
    """The CA certificate of the deployed index."""
    scratch: Path
    venvs: Path
    ours: bool = False
    deadline: float = field(default_factory=lambda: time.monotonic() + 600)
    run: str = field(default_factory=lambda: f"{int(time.time()):x}")
    """Part of the names of uploads: no two runs upload the same."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _slow: dict[tuple[str, str], bool] = field(default_factory=dict)

    def client(
        self, target: Target, *, write: bool = False, source: str = "", login: dict[str, str] | None = None
    ) -> Client:
        headers = target.write_headers if write else target.read_headers
        authority = str(self.authority) if target.tls else ""
        url = target.upload_url if write else target.simple_url
        return Client(url, headers if login is None else login, authority, source)

    def units(self, target: Target) -> list[str]:
        """Return the units that serve a target now."""
        if target.deployed:
            return services.running(target.deployed)
        return [service.unit for service in target.services]

    def new_project(self) -> str:
        return f"up{self.run}-{next(self._numbers):05}"

    def new_wheel(self, size: int = 0) -> tuple[str, bytes]:
        """Return the name and content of a wheel of a project that no server has seen."""
        project = self.new_project()
        content = wheels.padded(project, "1.0", size) if size else wheels.tiny(project, "1.0")
        return wheels.filename(project, "1.0"), content

    def file_url(self, target: Target, project: str) -> str:
        """Return where the first file of a project is, as the project's page says."""
        url = target.page(project)
        with self.client(target) as client:
            answer = client.get(url, HTML)
        found = links(answer.content, url)
        if answer.status != 200 or not found:
            raise FigureError(f"{url} was answered {answer.status} with {len(found)} links")
        return next(iter(found.values())).partition("#")[0]

    def slow(self, target: Target, url: str, accept: str = "") -> bool:
        """Whether a page takes so long that wrk's connections would only wait. The first look warms the server up."""
        key = (accept, url)
        if key not in self._slow:
            with self.client(target) as client:
                times = []
                for _try in range(2):
                    started = time.monotonic()
                    answer = client.get(url, accept)
                    times.append(time.monotonic() - started)
            if answer.status != 200:
                raise FigureError(f"{url} was answered {answer.status}")
            if accept and answer.media_type != accept:
                raise FigureError(f"it answers {answer.media_type} to who asks for {accept}")
            self._slow[key] = min(times) > 0.25
        return self._slow[key]

    def remember_slow(self, url: str, accept: str = "") -> None:
        """Ask a page without wrk from now on: it had no answer in time."""
        self._slow[accept, url] = True
