"""A right password is computed once in a while, and a changed one is wrong at once."""

from __future__ import annotations

from tests.unit.devpi_role.test_plugins import run

BEGIN = """
import json, threading
from pyindex_devpi import passwords
from pyindex_devpi.passwords import MOST, SECONDS, Remembering

asked, time = [], [0.0]
def verify(password, stored, salt):
    asked.append([password, stored, salt])
    return password == stored, None
remembering = Remembering(verify, now=lambda: time[0])
"""


def test_the_same_right_password_is_computed_once() -> None:
    program = """
said = [remembering("a", "a")[0] for _ in range(3)]
time[0] += SECONDS - 1
said.append(remembering("a", "a")[0])
time[0] += 2
said.append(remembering("a", "a")[0])
print(json.dumps([said, len(asked)]))
"""
    assert run(BEGIN + program) == [[True] * 5, 2]


def test_what_was_right_is_so_for_this_stored_hash_only() -> None:
    program = """
said = [remembering(*question)[0] for question in (("a", "a"), ("a", "b"), ("b", "a"), ("a", "a", "salt"), ("a", "b"))]
print(json.dumps([said, len(asked)]))
"""
    assert run(BEGIN + program) == [[True, False, False, True, False], 5]


def test_many_at_once_are_one_computation() -> None:
    program = """
begun, go_on = threading.Event(), threading.Event()
def slow(password, stored, salt):
    asked.append(password)
    begun.set()
    go_on.wait(10)
    return password == stored, None
remembering = Remembering(slow)
said = []
threads = [threading.Thread(target=lambda: said.append(remembering("a", "a")[0])) for _ in range(20)]
for thread in threads:
    thread.start()
begun.wait(10)
go_on.set()
for thread in threads:
    thread.join()
print(json.dumps([len(asked), said]))
"""
    assert run(BEGIN + program) == [1, [True] * 20]


def test_an_error_and_a_new_hash_are_not_remembered() -> None:
    program = """
def failing(password, stored, salt):
    asked.append(password)
    if stored == "broken":
        raise ValueError(stored)
    return True, "new hash"
remembering = Remembering(failing)
said = []
for stored in ("broken", "broken", "old", "old"):
    try:
        said.append(remembering("a", stored))
    except ValueError as error:
        said.append(str(error))
print(json.dumps([said, len(asked), len(remembering._running)]))
"""
    assert run(BEGIN + program) == [["broken", "broken", [True, "new hash"], [True, "new hash"]], 4, 0]


def test_it_does_not_grow_without_end() -> None:
    program = """
for number in range(MOST + 5):
    remembering(str(number), str(number))
print(json.dumps([len(remembering._right_until) == MOST, remembering(str(MOST), str(MOST))[0]]))
"""
    assert run(BEGIN + program) == [True, True]


def test_nothing_of_a_password_is_kept() -> None:
    program = """
remembering("a secret password", "a secret password")
print(json.dumps(["a secret password" in repr(vars(remembering)), [len(key) for key in remembering._right_until]]))
"""
    assert run(BEGIN + program) == [False, [32]]


def test_passwords_are_computed_one_by_one_and_only_some_may_wait() -> None:
    """Who is known does not wait, who comes when too many do is told so, and afterwards all is as usual."""
    program = """
from pyramid.httpexceptions import HTTPServiceUnavailable
begun, go_on = threading.Event(), threading.Event()
at_once, most = [0], [0]
def slow(password, stored, salt):
    at_once[0] += 1
    most[0] = max(most[0], at_once[0])
    if password.startswith("wrong"):
        begun.set()
        go_on.wait(10)
    at_once[0] -= 1
    return password == stored, None
remembering = Remembering(slow)
remembering("known", "known")
said = []
def ask(password):
    try:
        said.append(remembering(password, "stored")[0])
    except HTTPServiceUnavailable as error:
        said.append(error.headers["Retry-After"])
threads = [threading.Thread(target=ask, args=[f"wrong {number}"]) for number in range(20)]
for thread in threads:
    thread.start()
begun.wait(10)
meanwhile = remembering("known", "known")[0]
# The refused ones are answered while the others wait
while len(said) < 20 - 1 - passwords.MOST_WAITING:
    threads[0].join(0.01)
refused = list(said)
go_on.set()
for thread in threads:
    thread.join()
print(json.dumps([meanwhile, most[0], refused, said.count(False), remembering("stored", "stored")[0]]))
"""
    assert run(BEGIN + program) == [True, 1, ["2"] * 9, 11, True]
