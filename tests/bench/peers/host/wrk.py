"""Load from wrk, and what it has to say.

wrk's percentiles are corrected for coordinated omission: a request that had to wait for an answer to an earlier one
counts with its waiting time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MARK = "pyindex-bench "
CONNECTIONS = 16

# Requests are built before the load begins; each thread walks through all of them
SCRIPT = """\
local paths = {{ {paths} }}
local requests = {{}}
local last = 0

function init(args)
    {headers}
    for number, path in ipairs(paths) do
        requests[number] = wrk.format(nil, path)
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{mark}{{"requests": %d, "microseconds": %d, "bytes": %d, "bad_status": %d, "failed": %d, '
            .. '"p50": %d, "p99": %d}}\\n',
        summary.requests, summary.duration, summary.bytes, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""


class LoadError(Exception):
    """wrk failed, or the server answered with errors, so that there is no figure."""


class NoAnswerError(LoadError):
    """Not one request was answered in time."""


@dataclass(frozen=True)
class Load:
    """What one run of wrk came to."""

    requests: int
    seconds: float
    bytes: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def quoted(text: str) -> str:
    """Return text as a string of Lua."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def script(paths: Sequence[str], headers: Mapping[str, str]) -> str:
    """Return the program that asks for `paths` in turn."""
    assignments = "\n    ".join(f"wrk.headers[{quoted(name)}] = {quoted(value)}" for name, value in headers.items())
    return SCRIPT.format(paths=", ".join(map(quoted, paths)), headers=assignments, mark=MARK)


def parse(output: str) -> Load:
    """Read what the script has written. Raises LoadError when not every answer was a good one."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), "")
    if not line:
        raise LoadError(f"wrk said nothing of its figures:\n{output[-1000:]}")
    found = json.loads(line.removeprefix(MARK))
    if found["bad_status"] or found["failed"]:
        raise LoadError(f"{found['bad_status']} of {found['requests']} answers were errors, {found['failed']} failed")
    if not found["requests"]:
        raise NoAnswerError("no request was answered in time")
    return Load(
        requests=found["requests"],
        seconds=found["microseconds"] / 1e6,
        bytes=found["bytes"],
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
    )


def command(url: str, lua: Path, seconds: float, connections: int = CONNECTIONS) -> list[str]:
    threads = min(2, connections)
    options = [f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "--latency"]
    return ["wrk", *options, "-s", str(lua), url]


def run(
    urls: Sequence[str], headers: Mapping[str, str], seconds: float, scratch: Path, connections: int = CONNECTIONS
) -> Load:
    """Load a server with requests for `urls` in turn, and return what came of it. Raises LoadError."""
    lua = scratch / "load.lua"
    # It holds a password
    lua.touch(mode=0o600)
    lua.write_text(script([urlsplit(url).path for url in urls], headers))
    try:
        done = subprocess.run(
            command(urls[0], lua, seconds, connections),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 60,
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError("wrk did not come to an end") from error
    if done.returncode:
        raise LoadError(f"wrk failed: {done.stderr[-1000:]}")
    return parse(done.stdout)
