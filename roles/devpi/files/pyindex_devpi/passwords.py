"""A plugin of devpi-server: the same right password is not computed again for a short time.

devpi-server stretches the password (argon2) at every request that has one: an upload by twine is three of them. What was
right is remembered in memory under a keyed digest of the stored hash and of the password: another stored hash is another
question, so that a password that was changed is wrong at once.

What is not known is computed one by one, as each takes 64 MB and all cores: who tries passwords from many addresses gets
neither all of devpi-server's threads nor all memory, and those who are known never wait for them.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

import devpi_server.model
from devpi_server.config import hookimpl
from pyramid.httpexceptions import HTTPServiceUnavailable

SECONDS = 30
MOST = 10_000
# Passwords that wait for their turn, far fewer than devpi-server has threads (50)
MOST_WAITING = 10

# Password, stored hash and salt; whether it is right, and the hash that should be stored from now on
Verdict = tuple[bool, str | None]
Verify = Callable[[str, str, str | None], Verdict]


class Remembering:
    """Verifies passwords, the same one once in a while."""

    def __init__(self, verify: Verify, now: Callable[[], float] = time.monotonic) -> None:
        """Ask *verify* what is not known; *now* is a clock in seconds."""
        self._verify = verify
        self._now = now
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._right_until: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, Future[Verdict]] = {}

    def __call__(self, password: str, stored: str, salt: str | None = None) -> Verdict:
        """Return what is said of a *password*, by who has just found it right or is about to.

        Raises HTTPServiceUnavailable, which says nothing of the password, when too many wait already.
        """
        # None of the parts before the password has a NUL in it
        question = f"{salt or ''}\0{stored}\0{password}".encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._key, question, "sha256")
        with self._lock:
            if self._right_until.get(digest, 0) > self._now():
                return True, None
            running = self._running.get(digest)
            if running is None:
                if len(self._running) > MOST_WAITING:
                    raise HTTPServiceUnavailable(
                        "too many passwords are being looked at: try again in a moment", headers={"Retry-After": "2"}
                    )
                mine = self._running[digest] = Future()
        if running is not None:
            return running.result()
        try:
            with self._turn:
                verdict = self._verify(password, stored, salt)
        except BaseException as error:
            mine.set_exception(error)
            self._end(digest)
            raise
        mine.set_result(verdict)
        self._end(digest, right=verdict == (True, None))
        return verdict

    def _end(self, digest: bytes, *, right: bool = False) -> None:
        with self._lock:
            del self._running[digest]
            self._right_until.pop(digest, None)
            if right:
                self._right_until[digest] = self._now() + SECONDS
                if len(self._right_until) > MOST:
                    self._right_until.popitem(last=False)


@hookimpl  # type: ignore[untyped-decorator]
def devpiserver_pyramid_configure(config: object, pyramid_config: object) -> None:  # noqa: ARG001 - named by devpi-server
    """Stand where users look at passwords."""
    verify = devpi_server.model.verify_and_update_password_hash
    if not isinstance(verify, Remembering):
        devpi_server.model.verify_and_update_password_hash = Remembering(verify)
