"""The credentials files: who is in them, what is kept, what is refused."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest

from ansible_collections.pyindex.fleet.plugins.plugin_utils import _htpasswd

COST = 4
USERS: list[dict[str, Any]] = [
    {"name": "uma", "password": "right", "rights": ["read", "upload"]},
    {"name": "rea", "password": "päss wörd"},
]


def hashes(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split(":", 1) for line in lines)


def test_each_right_has_its_users() -> None:
    assert list(hashes(_htpasswd.content(USERS, "read", "", COST))) == ["rea", "uma"]
    assert list(hashes(_htpasswd.content(USERS, "upload", "", COST))) == ["uma"]


def test_the_hashes_belong_to_the_passwords_and_have_the_cost() -> None:
    made = hashes(_htpasswd.content(USERS, "read", "", COST))
    assert all(value.startswith("$2y$04$") for value in made.values())
    assert bcrypt.checkpw("päss wörd".encode(), made["rea"].encode())
    assert not bcrypt.checkpw(b"right", made["rea"].encode())


def test_nothing_changes_when_nothing_changed() -> None:
    first = _htpasswd.content(USERS, "read", "", COST)
    assert _htpasswd.content(USERS, "read", first, COST) == first


def test_only_the_user_with_a_new_password_changes() -> None:
    first = _htpasswd.content(USERS, "read", "", COST)
    changed = [{**USERS[0], "password": "new"}, USERS[1]]
    second = _htpasswd.content(changed, "read", first, COST)
    assert hashes(second)["rea"] == hashes(first)["rea"]
    assert bcrypt.checkpw(b"new", hashes(second)["uma"].encode())


def test_another_cost_makes_new_hashes() -> None:
    first = _htpasswd.content(USERS, "read", "", COST)
    assert all(value.startswith("$2y$05$") for value in hashes(_htpasswd.content(USERS, "read", first, 5)).values())


@pytest.mark.parametrize("damage", ["$2y$04$", "$2y$04$not-a-hash", "", "{SSHA}x", "$2y$04$" + "é" * 53])
def test_a_damaged_line_is_made_anew(damage: str) -> None:
    made = hashes(_htpasswd.content(USERS, "upload", f"uma:{damage}\ngarbage\n", COST))
    assert bcrypt.checkpw(b"right", made["uma"].encode())


def test_a_user_who_is_not_declared_any_more_is_gone() -> None:
    first = _htpasswd.content(USERS, "read", "", COST)
    assert list(hashes(_htpasswd.content(USERS[:1], "read", first, COST))) == ["uma"]


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"password": "x"}, "user number 1 of htpasswd_users has no name: set name"),
        ({"name": "a:b", "password": "x"}, 'user "a:b": a name has no colon'),
        ({"name": "a b", "password": "x"}, 'user "a b": a name has no colon, no blank'),
        ({"name": "#a", "password": "x"}, "no leading #"),
        ({"name": "ann"}, 'user "ann" has no password: set password'),
        ({"name": "ann", "password": ""}, 'user "ann" has no password'),
        ({"name": "ann", "password": None}, 'user "ann" has no password'),
        ({"name": "ann", "password": "x" * 73}, 'user "ann" has a password of 73 bytes: bcrypt takes at most 72'),
        ({"name": "ann", "password": "é" * 37}, "has a password of 74 bytes"),
        ({"name": "ann", "password": "a\nb"}, "control characters"),
        ({"name": "ann", "password": "x", "rights": ["write"]}, 'unknown right "write": write read or upload'),
        ({"name": "ann", "password": "x", "rights": []}, "has no right at all"),
    ],
)
def test_problems_name_the_user_and_the_remedy(user: dict[str, Any], message: str) -> None:
    (found,) = _htpasswd.problems([user])
    assert message in found


def test_a_password_of_72_bytes_is_fine() -> None:
    assert _htpasswd.problems([{"name": "ann", "password": "é" * 36}]) == []


def test_a_user_declared_twice() -> None:
    (found,) = _htpasswd.problems([{"name": "ann", "password": "x"}, {"name": "ann", "password": "y"}])
    assert found == 'user "ann" is declared 2 times: keep one entry with all its rights'


def test_no_message_has_a_password_in_it() -> None:
    secret = "s3cret\n" * 20
    for message in _htpasswd.problems([{"name": "ann", "password": secret, "rights": ["x"]}] * 2):
        assert "s3cret" not in message
