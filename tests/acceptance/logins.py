"""Wrong logins without tripping the limit: the suite must not lock out the host that it asks from."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .web import Request, form

if TYPE_CHECKING:
    from .indexes import Index
    from .machines import Machine

WINDOW_SECONDS = 61


@dataclass
class WrongLogins:
    """Counts failed logins as nginx does: for each address, in the minute that begins with the first of them."""

    _seen: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    @contextmanager
    def spend(self, index: Index, count: int) -> Iterator[Machine]:
        """A host from which `count` wrong logins to `index` stay below the limit; waits for one if need be."""
        limit = int(index["nginx_failed_logins_per_minute"])
        if not limit or not count:
            yield index.vantages[0]
            return
        assert count < limit, f"{count} wrong logins at once, but nginx_failed_logins_per_minute is {limit}"
        while True:
            machine = min(index.vantages, key=lambda machine: self._window(index, machine)[1])
            start, failures = self._window(index, machine)
            if failures + count < limit:
                break
            time.sleep(max(0.0, start + WINDOW_SECONDS - time.monotonic()))
        yield machine
        # The minute began at the first failure, at the latest now
        self._seen[index.machine.name, machine.name] = (start if failures else time.monotonic(), failures + count)

    def _window(self, index: Index, machine: Machine) -> tuple[float, int]:
        now = time.monotonic()
        start, failures = self._seen.get((index.machine.name, machine.name), (now, 0))
        return (now, 0) if now - start > WINDOW_SECONDS else (start, failures)


def door(index: Index) -> Request:
    """A harmless request that needs a login."""
    if "list" in index.protected:
        return Request(index.page)
    if "download" in index.protected:
        return Request("/packages/no-such-file.whl")
    return replace(form({":action": "nothing"}), target=index.upload_path)


def local_address() -> str:
    """An address of a host itself that nobody else uses: what it does wrong is held against nobody."""
    return f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
