"""Work that only reads: pages, downloads, good users among bad ones."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from . import checks, services, wrk
from .bench import Bench, FigureError
from .checks import Check
from .clients import HTML, JSON, PIP, Client, ClientError, basic, links, login_of
from .dataset import FILES_A_PROJECT, LARGE, SMALL
from .measure import percentile
from .targets import Target

FLOOD_THREADS = 8
GOOD_CONNECTIONS = 4
# Of one who tries passwords: the measuring program must not be the load
FLOOD_SECONDS = 0.04
# Pages of some projects are a little smaller than that of another
NEARLY = 0.98


def _load(
    bench: Bench,
    target: Target,
    urls: list[str],
    accept: str,
    check: Callable[[str], Check],
    *,
    connections: int = wrk.CONNECTIONS,
    decides: bool = False,
) -> dict[str, float]:
    """Ask for the URLs in turn for some seconds. `check` says what is expected of the answer to a URL; `decides`:
    a figure to reach comes from it.
    """
    seconds = bench.limits.deciding_load_seconds if decides and target.ours else bench.limits.load_seconds
    headers = {**target.read_headers, "Accept": accept}
    look = bench.look(target, urls, accept, check)
    if look.slow:
        return _one_by_one(bench, target, urls, accept, check, seconds)
    units = bench.units(target)
    before = services.cpu_seconds(units)
    try:
        load = wrk.run(urls, headers, seconds, bench.scratch, connections)
    except wrk.NoAnswerError:
        bench.remember_slow(urls[0], accept)
        # It still works on what nobody waits for any more
        services.settle(units)
        return _one_by_one(bench, target, urls, accept, check, seconds)
    cpu_seconds = services.cpu_seconds(units) - before
    # wrk counts redirects as successes, and looks at no content
    if load.bytes < NEARLY * look.size * load.requests:
        raise FigureError(f"answers of {load.bytes // load.requests} bytes under load, and of {look.size} before")
    return {
        "requests_per_second": load.rate,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "cpu_us": cpu_seconds / load.requests * 1e6,
        "answer_bytes": look.size,
    }


def _one_by_one(
    bench: Bench, target: Target, urls: list[str], accept: str, check: Callable[[str], Check], seconds: float
) -> dict[str, float]:
    """Two clients that ask again and again: for servers that take a good part of a second for an answer."""
    units = bench.units(target)
    cpu_before = services.cpu_seconds(units)
    started = time.monotonic()

    def ask(offset: int) -> list[float]:
        times = []
        with bench.client(target) as client:
            for url in itertools.cycle(urls[offset:] + urls[:offset]):
                before = time.monotonic()
                answer = client.get(url, accept)
                times.append((time.monotonic() - before) * 1000)
                if said := check(url)(answer) if answer.status == 200 else f"answered {answer.status}":
                    raise FigureError(f"{url}: {said}")
                if time.monotonic() - started > seconds:
                    break
        return times

    with ThreadPoolExecutor() as pool:
        times = [one for job in [pool.submit(ask, number) for number in (0, 1)] for one in job.result()]
    elapsed = time.monotonic() - started
    return {
        "requests_per_second": len(times) / elapsed,
        "p50_ms": percentile(times, 50),
        "p99_ms": percentile(times, 99),
        "cpu_us": (services.cpu_seconds(units) - cpu_before) / len(times) * 1e6,
    }


def _pages(bench: Bench, target: Target) -> list[str]:
    return [target.page(project) for project in bench.data.sample()]


def _expect_page(bench: Bench, accept: str) -> Callable[[str], Check]:
    return lambda url: checks.page(bench.data, url, accept)


def simple_html(bench: Bench, target: Target) -> dict[str, float]:
    return _load(bench, target, _pages(bench, target), HTML, _expect_page(bench, HTML), decides=True)


def simple_json(bench: Bench, target: Target) -> dict[str, float]:
    return _load(bench, target, _pages(bench, target), JSON, _expect_page(bench, JSON), decides=True)


def project_list(bench: Bench, target: Target) -> dict[str, float]:
    return _load(bench, target, [target.simple_url], HTML, lambda url: checks.project_list(bench.data, url))


def download_small(bench: Bench, target: Target) -> dict[str, float]:
    return _download(bench, target, SMALL)


def download_large(bench: Bench, target: Target) -> dict[str, float]:
    return _download(bench, target, LARGE)


def _download(bench: Bench, target: Target, project: str) -> dict[str, float]:
    [path] = (bench.data.files / project).iterdir()
    return _load(
        bench,
        target,
        [bench.file_url(target, project)],
        "*/*",
        lambda _url: checks.file(path),
        decides=project == LARGE,
    )


def good_user(bench: Bench, target: Target) -> dict[str, float]:
    """A user with the right password reads while others try wrong ones, each from an address of its own."""
    lock, over = threading.Lock(), threading.Event()
    statuses: Counter[int] = Counter()

    def flood() -> None:
        while not over.wait(FLOOD_SECONDS):
            with lock:
                source = bench.new_address()
            with _intruder(bench, target, source) as client:
                try:
                    status = client.request("GET", target.page(bench.data.last())).status
                except ClientError:
                    status = 0
            if status == 200:
                raise FigureError("a wrong password was let in")
            with lock:
                statuses[status] += 1

    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(flood) for _thread in range(FLOOD_THREADS)]
        time.sleep(0.5)
        try:
            figures = _load(
                bench,
                target,
                _pages(bench, target),
                HTML,
                _expect_page(bench, HTML),
                connections=GOOD_CONNECTIONS,
                decides=True,
            )
        finally:
            seconds = time.monotonic() - began
            over.set()
        for job in jobs:
            job.result()
    return {
        "requests_per_second": figures["requests_per_second"],
        "p99_ms": figures["p99_ms"],
        "wrong_passwords_per_second": statuses.total() / seconds,
        # The others were refused without a look at the password, or had no answer
        "wrong_passwords_looked_at_per_second": (statuses[401] + statuses[403]) / seconds,
    }


def _intruder(bench: Bench, target: Target, source: str) -> Client:
    # A name that is known, so that its hash must be computed
    name, _password = login_of(target.read_headers)
    return bench.client(target, source=source, login=basic(name, secrets.token_hex(8)))


def memory(bench: Bench, target: Target) -> dict[str, float]:
    return {"memory_mb": services.memory_mb(bench.units(target))}


def start(bench: Bench, target: Target) -> dict[str, float]:
    """Stop a server and all before it; measure from the start until it gives the page of a project."""
    units = bench.units(target)
    if target.deployed and target.deployed not in units:
        raise FigureError(f"{target.deployed} does not run")
    services.stop(units)
    before = time.monotonic()
    if target.deployed:
        services.start(units)
    else:
        services.start_in_turn(target.services, 180)
    wait(bench, target, seconds=180)
    seconds = time.monotonic() - before
    # What comes after needs all of them, also those that no page waits for
    while waiting := [unit for unit in units if not services.active(unit)]:
        if time.monotonic() - before > 180:
            raise FigureError(f"{', '.join(waiting)} did not start: {services.words(waiting[0])}")
        time.sleep(0.1)
    return {"seconds": seconds}


def wait(bench: Bench, target: Target, seconds: float = 60) -> None:
    """Wait until a server gives the page of the last project. Raises FigureError."""
    wait_for(bench, target, [bench.data.last()], seconds)


def wait_for(bench: Bench, target: Target, projects: Iterable[str], seconds: float) -> None:
    """Wait until a server gives the pages of some projects, with all their files. Raises FigureError."""
    end = time.monotonic() + seconds
    for project in projects:
        url = target.page(project)
        while (said := _missing(bench, target, url)) and time.monotonic() < end:
            time.sleep(0.05)
        if said:
            raise FigureError(f"{url} was not there after {seconds:.0f} s: {said}")


def _missing(bench: Bench, target: Target, url: str) -> str:
    """Return what is wrong with a project's page; '' = nothing. Raises FigureError when the server has ended."""
    try:
        with bench.client(target) as client:
            answer = client.request("GET", url, headers={"Accept": HTML})
    except ClientError as error:
        for service in target.services:
            if not services.active(service.unit):
                raise FigureError(f"{service.unit} has ended: {services.words(service.unit)}") from error
        return str(error)
    files = len(links(answer.content, url))
    return "" if answer.status == 200 and files >= FILES_A_PROJECT else f"answered {answer.status} with {files} files"


def asks(bench: Bench, target: Target) -> bool:
    """Return whether a server refuses the pages to who has no password."""
    with bench.client(target, login={}) as client:
        return client.get(target.page(bench.data.last()), PIP).status in (401, 403)
