"""What wrk says is read right. The outputs were recorded (wrk 4.1.0)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.peers.host import wrk

RECORDED = """\
Running 1s test @ https://index1.pyindex.test:8400/simple/bench-00001/
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.01ms   14.35ms  95.62ms   88.22%
    Req/Sec     6.09k     4.97k   17.30k    60.00%
  Latency Distribution
     50%  614.00us
     75%    5.12ms
     90%   26.00ms
     99%   69.60ms
  12469 requests in 1.06s, 3.50MB read
Requests/sec:  11772.69
Transfer/sec:      3.30MB
pyindex-bench {"requests": 12469, "microseconds": 1059146, "bytes": 3665886, "bad_status": 0, "failed": 0, "p50": 614, "p99": 69603}
"""


def test_figures_are_those_that_wrk_prints() -> None:
    load = wrk.parse(RECORDED)
    assert load.requests == 12469
    assert load.rate == pytest.approx(11772.69, abs=0.01)
    assert (load.p50_ms, load.p99_ms) == (0.614, 69.603)
    assert load.bytes == pytest.approx(3.50 * 2**20, rel=0.01)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"bad_status": 0', '"bad_status": 12469', "12469 of 12469 answers were errors, 0 failed"),
        ('"failed": 0', '"failed": 16', "0 of 12469 answers were errors, 16 failed"),
        ('"requests": 12469', '"requests": 0', "no request was answered in time"),
        ("pyindex-bench", "unable to connect", "wrk said nothing of its figures"),
    ],
)
def test_run_with_errors_is_no_figure(old: str, new: str, message: str) -> None:
    with pytest.raises(wrk.LoadError, match=message):
        wrk.parse(RECORDED.replace(old, new))


def test_script_asks_for_the_paths_with_the_headers() -> None:
    text = wrk.script(["/simple/a/", '/simple/"b\\/'], {"Authorization": "Basic x"})
    assert 'local paths = { "/simple/a/", "/simple/\\"b\\\\/" }' in text
    assert 'wrk.headers["Authorization"] = "Basic x"' in text


def test_command_has_whole_seconds_and_no_secret() -> None:
    command = wrk.command("https://index.test/simple/", Path("load.lua"), 0.4, connections=1)
    assert command[:4] == ["wrk", "-t1", "-c1", "-d1s"]
    assert command[-3:] == ["-s", "load.lua", "https://index.test/simple/"]
