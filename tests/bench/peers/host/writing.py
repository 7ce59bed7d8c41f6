"""Work that uploads: how fast, how soon it is seen, and what is left of it when the server is killed."""

from __future__ import annotations

import hashlib
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

from . import services, wheels, wrk
from .bench import Bench, FigureError
from .clients import HTML, JSON, ClientError, json_files, links, targets_of
from .reading import wait
from .targets import Target

CONNECTIONS = 4
SINGLE_UPLOADS = 3
# Large enough that a kill falls into the midst of it
KILLED_BYTES = 200_000
READERS = 4
# devpi takes ten seconds to start where it has little CPU
PATIENCE_SECONDS = 60


def upload_one(bench: Bench, target: Target) -> dict[str, float]:
    """One upload of 20 KB after the other: the time until each is answered."""
    times = []
    with bench.client(target, write=True) as client:
        for _number in range(SINGLE_UPLOADS):
            name, content = bench.new_wheel(20_000)
            before = time.monotonic()
            status = client.upload(target.upload_url, name, content)
            times.append((time.monotonic() - before) * 1000)
            if status != 200:
                raise FigureError(f"an upload was answered {status}")
    return {"upload_ms": statistics.median(times)}


def uploads(bench: Bench, target: Target) -> dict[str, float]:
    """Many uploads of new projects over some connections, bounded in number and time."""
    waiting = [bench.new_wheel() for _number in range(bench.limits.uploads)]
    end = time.monotonic() + bench.limits.uploads_seconds
    lock = threading.Lock()

    def work() -> list[tuple[str, bytes]]:
        answered = []
        with bench.client(target, write=True) as client:
            while time.monotonic() < end:
                with lock:
                    if not waiting:
                        break
                    name, content = waiting.pop()
                status = client.upload(target.upload_url, name, content)
                if status != 200:
                    raise FigureError(f"an upload was answered {status}")
                answered.append((name, content))
        return answered

    before = time.monotonic()
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(work) for _thread in range(CONNECTIONS)]
        answered = [sent for job in jobs for sent in job.result()]
    seconds = time.monotonic() - before
    if not answered:
        raise FigureError(f"no upload was answered in {seconds:.0f} s")
    # Once is enough of a peer that needs seconds for a page
    if target.ours or bench.first_time(target.key, "uploads"):
        _require_listed(bench, target, [answered[0], answered[-1]] if target.ours else answered[-1:])
    return {"uploads_per_second": len(answered) / seconds, "uploads": len(answered)}


def _require_listed(bench: Bench, target: Target, wheels_sent: Iterable[tuple[str, bytes]]) -> None:
    """Require that uploads are there, whole. Raises FigureError."""
    with bench.client(target) as client:
        for name, content in wheels_sent:
            url = f"{uploads_url(target)}{wheels.project_of(name)}/"
            place = links(client.get(url, HTML).content, url).get(name, "").partition("#")[0]
            if not place or client.get(place).content != content:
                raise FigureError(f"{name} was answered 200 and is {'damaged' if place else 'not listed'}")


@contextmanager
def _readers(bench: Bench, target: Target, seconds: float) -> Iterator[None]:
    """Load the server with readers meanwhile."""
    lua = bench.scratch / "readers.lua"
    lua.touch(mode=0o600)
    paths = [urlsplit(target.page(project)).path for project in bench.data.sample()]
    lua.write_text(wrk.script(paths, target.read_headers))
    command = wrk.command(target.simple_url, lua, seconds, READERS)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
        try:
            yield
        finally:
            load.terminate()


def upload_then_read(bench: Bench, target: Target) -> dict[str, float]:
    """Read a project's page as soon as an upload to it is answered, while others read: is the file on it?

    HTML and JSON by turns.
    """
    project, stale, rounds = bench.new_project(), 0, 0
    listing = f"{uploads_url(target)}{project}/"
    seconds = bench.limits.reads_seconds if target.deployed else bench.limits.peer_reads_seconds
    end = time.monotonic() + seconds
    with (
        _readers(bench, target, seconds + 10),
        bench.client(target, write=True) as writer,
        bench.client(target) as reader,
    ):
        while rounds < bench.limits.reads_after_upload and time.monotonic() < end:
            version = f"1.{rounds}"
            name = wheels.filename(project, version)
            status = writer.upload(target.upload_url, name, wheels.tiny(project, version))
            if status != 200:
                raise FigureError(f"an upload was answered {status}")
            if target.json and rounds % 2:
                stale += name not in json_files(reader.get(listing, JSON).content)
            else:
                stale += name not in links(reader.get(listing, HTML).content, listing)
            rounds += 1
    return {"stale_reads": stale, "reads_after_upload": rounds}


def uploads_url(target: Target) -> str:
    """Return the root of the simple API where uploads appear: devpi takes them into another index than the data's."""
    return f"{target.upload_url}+simple/" if target.upload_url.endswith("/scratch/") else target.simple_url


class _Senders:
    """Clients that upload as long as they are let, and remember what was sent and what was answered 200."""

    def __init__(self, bench: Bench, target: Target) -> None:
        self.bench, self.target = bench, target
        self.sent: dict[str, str] = {}
        self.answered: set[str] = set()
        self.over = threading.Event()

    def send(self) -> None:
        with self.bench.client(self.target, write=True) as client:
            while not self.over.is_set():
                name, content = self.bench.new_wheel(KILLED_BYTES)
                self.sent[name] = hashlib.sha256(content).hexdigest()
                try:
                    status = client.upload(self.target.upload_url, name, content)
                except ClientError:
                    status = 0
                if status == 200:
                    self.answered.add(name)
                else:
                    time.sleep(0.02)


def kills(bench: Bench, target: Target) -> dict[str, float]:
    """Kill the server during uploads, again and again; then compare what it lists and serves with what was sent."""
    unit = target.deployed or target.services[0].unit
    senders = _Senders(bench, target)
    done, end = 0, time.monotonic() + (bench.limits.kills_seconds if target.deployed else bench.limits.peer_seconds)
    chance = random.Random(1)
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(senders.send) for _thread in range(CONNECTIONS)]
        try:
            while done < bench.limits.kills and time.monotonic() < end:
                before, patience = len(senders.answered), time.monotonic() + PATIENCE_SECONDS
                while len(senders.answered) == before and time.monotonic() < patience:
                    time.sleep(0.005)
                if len(senders.answered) == before:
                    raise FigureError(
                        f"after {done} kills nothing was uploaded for {PATIENCE_SECONDS} s: {services.words(unit)}"
                    )
                time.sleep(chance.uniform(0, 0.1))
                services.kill(unit)
                services.revive(unit)
                done += 1
        finally:
            senders.over.set()
        for job in jobs:
            job.result()
    wait(bench, target)
    lost, broken = _damage(bench, target, senders)
    return {
        "lost_or_broken": lost + broken,
        "lost": lost,
        "broken": broken,
        "kills": done,
        "answered": len(senders.answered),
    }


def _damage(bench: Bench, target: Target, senders: _Senders) -> tuple[int, int]:
    """Return how many uploads that were answered are lost, and how many listed files are not what was sent."""
    lost = broken = 0
    root = uploads_url(target)
    with bench.client(target) as client:
        answer = client.get(root, HTML)
        projects = {urlsplit(url).path.rstrip("/").rpartition("/")[2] for url in targets_of(answer.content, root)}
        for name, digest in senders.sent.items():
            project = wheels.project_of(name)
            if project not in projects and name not in senders.answered:
                continue
            url = f"{root}{project}/"
            page = client.get(url, HTML)
            listed = links(page.content, url) if page.status == 200 else {}
            if name not in listed:
                lost += name in senders.answered
                continue
            place, _hash, fragment = listed[name].partition("#")
            answer = client.get(place)
            whole = answer.status == 200 and hashlib.sha256(answer.content).hexdigest() == digest
            broken += not whole or fragment not in ("", f"sha256={digest}")
    return lost, broken
