"""The limit of failed logins. Asked from made-up addresses of the index host itself (127.0.0.0/8), so that nobody
else is locked out, and the suite need not wait for the end of its own lockout."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from .indexes import Index, User
from .logins import door, local_address
from .shelf import publisher
from .web import Answer, Request, ask


@dataclass(frozen=True)
class Lockout:
    """An address that has just failed too often, and what it was answered."""

    address: str
    answers: Sequence[Answer]
    moment: float


def knock(index: Index, address: str, user: User | None) -> Request:
    """A request from `address` that needs a login."""
    return replace(door(index), user=user, source=address, address="127.0.0.1")


@pytest.fixture(scope="session")
def lockouts() -> dict[str, Lockout]:
    """Those of each index: pytest itself keeps a fixture of one index only until a test asks for that of another."""
    return {}


@pytest.fixture
def lockout(index: Index, lockouts: dict[str, Lockout]) -> Lockout:
    """As many failures as are allowed, and one more."""
    if index.machine.name in lockouts:
        return lockouts[index.machine.name]
    limit = int(index["nginx_failed_logins_per_minute"])
    if not limit or not index.protected:
        pytest.skip(f"{index} limits no logins (nginx_failed_logins_per_minute), or asks nobody")
    address = local_address()
    wrong = [knock(index, address, User("nobody", f"wrong-{number}")) for number in range(limit + 1)]
    answers = ask(index.machine, index, wrong)
    lockouts[index.machine.name] = Lockout(address, answers, time.monotonic())
    return lockouts[index.machine.name]


@pytest.mark.place(-1)
def test_too_many_failures_lock_an_address_out(index: Index, lockout: Lockout) -> None:
    """429 with the seconds to wait, after exactly as many failures as the inventory says."""
    limit = int(index["nginx_failed_logins_per_minute"])
    assert [answer.status for answer in lockout.answers] == [401] * limit + [429]
    assert 1 <= int(lockout.answers[-1].headers["retry-after"]) <= 60


@pytest.mark.place(-1)
def test_guesses_at_the_same_time_are_limited_too(index: Index) -> None:
    """Of many at once no more are looked at than one after the other."""
    limit = int(index["nginx_failed_logins_per_minute"])
    if not limit or not index.protected:
        pytest.skip(f"{index} limits no logins (nginx_failed_logins_per_minute), or asks nobody")
    address, count = local_address(), 5 * limit
    wrong = [knock(index, address, User("nobody", f"wrong-{number}")) for number in range(count)]
    answers = ask(index.machine, index, wrong, parallel=count)
    assert sorted(answer.status for answer in answers) == [401] * limit + [429] * (count - limit)


@pytest.mark.place(-1)
def test_a_lockout_holds_for_that_address_and_logins_only(index: Index, lockout: Lockout) -> None:
    """The right password does not help there, nor a claim to be somebody else; without a login and from elsewhere
    all is as usual."""
    user = publisher(index)
    elsewhere, here = local_address(), lockout.address
    claim = (("X-Forwarded-For", "203.0.113.9"), ("X-Real-IP", "203.0.113.9"), ("Forwarded", "for=203.0.113.9"))
    requests = [knock(index, here, user), knock(index, here, None), knock(index, elsewhere, user)]
    requests.append(replace(requests[0], headers=(*requests[0].headers, *claim)))
    right, anonymous, other, claimed = ask(index.machine, index, requests)
    assert (right.status, claimed.status, anonymous.status) == (429, 429, 401)
    assert other.status in {200, 400, 404}


@pytest.mark.place(1)
def test_a_lockout_ends(index: Index, lockout: Lockout) -> None:
    """After the minute the right password is right again."""
    time.sleep(max(0.0, lockout.moment + 62 - time.monotonic()))
    answer = ask(index.machine, index, [knock(index, lockout.address, publisher(index))])[0]
    assert answer.status in {200, 400, 404}, str(answer)
