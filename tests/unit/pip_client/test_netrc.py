"""The netrc merge: our login found by the tools' reader, everybody else's kept byte for byte."""

from __future__ import annotations

import netrc
from typing import TYPE_CHECKING

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _netrc

if TYPE_CHECKING:
    from pathlib import Path

HOST = "index1.example.org"


def read(tmp_path: Path, data: bytes, machine: str) -> tuple[str, str | None] | None:
    """Return login and password as Python's own reader finds them, the one that pip and twine use."""
    path = tmp_path / "netrc"
    path.write_bytes(data)
    found = netrc.netrc(str(path)).authenticators(machine)
    return found and (found[0], found[2])


@pytest.mark.parametrize(
    "existing",
    [
        b"",
        b"machine other.example.org login me password it\n",
        b"machine other.example.org login me password it",  # no newline at the end
        b"# mine\nmachine other.example.org\n\tlogin me\n\tpassword it\n\ndefault login anonymous password guest\n",
        b"machine other.example.org\r\nlogin me\r\npassword it\r\n",
        b"macdef init\ncd /pub\nmachine inside a macro\n\nmachine other.example.org login me password it\n",
        b'machine other.example.org login "m e" account "a b" password "i \\" t"\n',
    ],
)
def test_our_login_is_added_and_the_rest_kept(tmp_path: Path, existing: bytes) -> None:
    merged = _netrc.merge(existing, [HOST], "reader", "s3cret;%#'\"")
    assert merged.endswith(existing)
    assert read(tmp_path, merged, HOST) == ("reader", "s3cret;%#'\"")
    if existing:
        assert read(tmp_path, merged, "other.example.org") == read(tmp_path, existing, "other.example.org")
    assert _netrc.merge(merged, [HOST], "reader", "s3cret;%#'\"") == merged
    assert _netrc.unmerge(merged, existing, [HOST]) == existing


@pytest.mark.parametrize(
    ("existing", "left"),
    [
        (b"machine index1.example.org login old password gone\nmachine b login c password d\n", b"machine b login c password d\n"),
        (b"machine b login c password d machine index1.example.org login old password gone", b"machine b login c password d "),
        (
            b"machine index1.example.org\n  login old\n  # why\n  password gone\n\n# next\nmachine b login c password d\n",
            b"\n# next\nmachine b login c password d\n",
        ),
        (b"machine index1.example.org login a password x\nmachine index1.example.org login b password y\n", b""),
    ],
)  # fmt: skip
def test_an_entry_of_a_person_for_the_same_machine_gives_way_and_comes_back(existing: bytes, left: bytes) -> None:
    merged = _netrc.merge(existing, [HOST], "reader", "new")
    assert merged.endswith(_netrc.END.encode() + left)
    assert b"gone" not in merged
    back = _netrc.unmerge(merged + b"machine later login l password m\n", existing, [HOST])
    assert {entry.machine for entry in _netrc.entries(back.decode())} >= {HOST, "later"}


def test_a_changed_password_and_machine_replace_the_block(tmp_path: Path) -> None:
    first = _netrc.merge(b"machine b login c password d\n", [HOST], "reader", "one")
    second = _netrc.merge(first, ["index2.example.org"], "reader", "two")
    assert read(tmp_path, second, HOST) is None
    assert read(tmp_path, second, "index2.example.org") == ("reader", "two")
    assert second.count(b"BEGIN") == 1


def test_a_lost_end_marker_loses_nothing_else(tmp_path: Path) -> None:
    merged = _netrc.merge(b"machine b login c password d\n", [HOST], "reader", "one")
    broken = merged.replace(_netrc.END.encode(), b"")
    again = _netrc.merge(broken, [HOST], "reader", "two")
    assert read(tmp_path, again, HOST) == ("reader", "two")
    assert read(tmp_path, again, "b") == ("c", "d")
    assert again == merged.replace(b"one", b"two")


def test_bytes_that_are_no_utf8_survive() -> None:
    existing = b"# caf\xe9 \xff\nmachine b login c password d\xe9\n"
    assert _netrc.merge(existing, [HOST], "reader", "x").endswith(existing)


@pytest.mark.parametrize(
    ("existing", "line"),
    [
        (b"hunter2\n", 1),
        (b"machine b login c password d\nhunter2 e\n", 2),
        (b"machine b login c\npassword", 2),
        (b"\n\nmachine", 3),
    ],
)
def test_what_is_no_netrc_is_named_by_line_and_not_quoted(existing: bytes, line: int) -> None:
    with pytest.raises(_netrc.NetrcError, match=f"line {line}: ") as caught:
        _netrc.merge(existing, [HOST], "reader", "x")
    assert "hunter2" not in str(caught.value)


def test_redact_hides_passwords_and_accounts_of_everybody() -> None:
    text = 'machine a login b password c1d2\ndefault login x account z9z9 password "q q"\n'
    assert _netrc.redact(text) == (
        "machine a login b password ********\ndefault login x account ******** password ********\n"
    )
    assert "pass" not in _netrc.redact("pass word")


@pytest.mark.parametrize("word", ["plain", "a#b", "a\"b'c", "!$%&()*+,-./:;<=>?@[]^_`{|}~", "'x'", "machine"])
def test_safe_words(tmp_path: Path, word: str) -> None:
    assert _netrc.unsafe(word) == ""
    assert read(tmp_path, _netrc.merge(b"", [HOST], word, word), HOST) == (word, word)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", "is empty"),
        ("a b", "contains white space"),
        ("a\n", "contains white space"),
        ("a\u00a0b", "contains white space"),
        ("pässword", "contains a character that is not printable ASCII"),
        ("a\x00b", "contains a character that is not printable ASCII"),
        ("a\\b", "contains a backslash"),
        ('"ab', 'begins with "'),
        ("#ab", "begins with #"),
    ],
)
def test_words_that_tools_read_differently(word: str, reason: str) -> None:
    assert _netrc.unsafe(word) == reason
