"""Files of a mirror that several installers ask for before the first one has them."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.unit.nginx.devpi_index import file_path
from tests.unit.nginx.devpi_service import devpi_server, upstream, wheel


def test_who_asks_before_a_file_is_there_gets_it_also_when_it_came_meanwhile(tmp_path: Path) -> None:
    """devpi-server alone answers 500 then: it asserts that a file that it begins to store is not there."""
    name, content = wheel("shared", "1.0")
    numbers, both, stored = itertools.count(), threading.Event(), threading.Event()

    def before(path: str) -> None:
        # The first answer comes when both were asked for, the second one when the first file is in its place
        if path.startswith("/files/"):
            if next(numbers) == 0:
                both.wait(30)
            else:
                both.set()
                stored.wait(30)

    with (
        upstream({"shared": (name, content)}, before) as mirror_url,
        devpi_server(tmp_path / "devpi", lockdown=False) as devpi,
        ThreadPoolExecutor(2) as pool,
    ):
        devpi.do("PUT", "/owner", "root", {"password": "owner-password"})
        devpi.do("PUT", "/root/mirror", "root", {"type": "mirror", "mirror_url": mirror_url, "volatile": False})
        path = file_path(devpi, "root/mirror", "shared")

        def fetch() -> tuple[int, bytes]:
            return devpi.ask("GET", path, headers={"Accept": "*/*"})

        answers = [pool.submit(fetch) for _unused in range(2)]
        deadline = time.monotonic() + 30
        while not list(devpi.server_dir.rglob(name)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        stored.set()
        assert [answer.result(30) for answer in answers] == [(200, content)] * 2
        assert both.is_set()
        assert fetch() == (200, content)
        assert [found.read_bytes() for found in devpi.server_dir.rglob(name)] == [content]
