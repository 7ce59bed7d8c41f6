"""What each piece of work is given: the data, the limits of time and count, the names for new files."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import services, wheels
from .checks import Check
from .clients import HTML, Client, links
from .dataset import Dataset
from .targets import Target

# A page that takes longer is not asked for by wrk, whose connections would only wait
SLOW_SECONDS = 0.25
# Answers whose content is checked before a load
LOOKS = 5


@dataclass(frozen=True)
class Limits:
    """How much is measured. All times in seconds."""

    sizes: tuple[int, ...]
    rounds: int
    load_seconds: float
    deciding_load_seconds: float
    """Of the limit and what is deployed, where a figure to reach comes from it."""
    uploads: int
    uploads_seconds: float
    reads_after_upload: int
    """In one round."""
    reads_seconds: float
    peer_reads_seconds: float
    kills: int
    kills_seconds: float
    peer_seconds: float
    """The most that any series of a peer may take; then it has fewer rounds."""
    deciding_seconds: float
    """The same where a figure to reach is against that peer."""
    peers_until_seconds: float
    """From then on of the run, only what figures to reach come from."""
    total_seconds: float


FULL = Limits(
    sizes=(2_000, 20_000, 200_000),
    rounds=5,
    load_seconds=1,
    deciding_load_seconds=2,
    uploads=200,
    uploads_seconds=6,
    reads_after_upload=100,
    reads_seconds=12,
    peer_reads_seconds=3,
    kills=100,
    kills_seconds=240,
    peer_seconds=10,
    # Five rounds of uploads to a server that looks at 200,000 files at each: 17 s a round, on a slow day 25
    deciding_seconds=120,
    peers_until_seconds=720,
    total_seconds=1300,
)
QUICK = Limits(
    sizes=(2_000,),
    rounds=2,
    load_seconds=1,
    deciding_load_seconds=1,
    uploads=40,
    uploads_seconds=3,
    reads_after_upload=20,
    reads_seconds=5,
    peer_reads_seconds=3,
    kills=5,
    kills_seconds=20,
    peer_seconds=10,
    deciding_seconds=20,
    peers_until_seconds=600,
    total_seconds=600,
)


class FigureError(Exception):
    """A figure cannot be had; the message says why."""


@dataclass(frozen=True)
class Look:
    """What was seen of some pages before they are asked for again and again."""

    slow: bool
    """Whether a page takes so long that wrk's connections would only wait."""
    size: int
    """Of an answer, in bytes."""


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
    began: float = field(default_factory=time.monotonic)
    """When measuring began, with the first number of files."""
    run: str = field(default_factory=lambda: f"{int(time.time()):x}")
    """Part of the names of uploads: no two runs upload the same."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _addresses: itertools.count[int] = field(default_factory=itertools.count)
    _done: set[tuple[str, ...]] = field(default_factory=set)
    _looks: dict[tuple[str, str], Look] = field(default_factory=dict)

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
            return services.deployed()
        return [service.unit for service in target.services]

    def first_time(self, *what: str) -> bool:
        """Return whether nobody has asked for this before."""
        if what in self._done:
            return False
        self._done.add(what)
        return True

    @property
    def patience(self) -> float:
        """Return for how many seconds a server may be looking at so many files for the first time."""
        return 60 + self.data.count / 1000

    def new_address(self) -> str:
        """Return a loopback address that no server has seen: limits for each address do not stop who has many."""
        number = 256 + next(self._addresses)
        return f"127.{number >> 16 & 127}.{number >> 8 & 255}.{number & 255}"

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

    def look(self, target: Target, urls: Sequence[str], accept: str, check: Callable[[str], Check]) -> Look:
        """Ask for some pages and require what they should hold. The first look warms the server up.

        Raises FigureError when an answer is not as it should be.
        """
        key = (accept, urls[0])
        if key not in self._looks:
            times: list[float] = []
            sizes = []
            with self.client(target) as client:
                # The first one twice: only its second answer says how fast it is
                for url in [urls[0], *urls[:: max(1, len(urls) // LOOKS)][:LOOKS]]:
                    if min(times, default=0) > SLOW_SECONDS and len(times) > 1:
                        break
                    started = time.monotonic()
                    answer = client.get(url, accept)
                    times.append(time.monotonic() - started)
                    said = check(url)(answer) if answer.status == 200 else f"answered {answer.status}"
                    if said:
                        raise FigureError(f"{url}: {said}")
                    sizes.append(len(answer.content))
            self._looks[key] = Look(slow=min(times) > SLOW_SECONDS, size=min(sizes))
        return self._looks[key]

    def remember_slow(self, url: str, accept: str) -> None:
        """Ask a page without wrk from now on: it had no answer in time."""
        self._looks[accept, url] = replace(self._looks[accept, url], slow=True)
