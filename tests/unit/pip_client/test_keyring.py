"""The plain-text keyring of keyrings.alt: our logins go in and out, and everything else in it stays."""

from __future__ import annotations

import base64
import configparser

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils._keyring import KeyringError, key, merge, redact, unmerge

# As `keyring set 127.0.0.1:8901 alice` writes it (keyring 25.7, keyrings.alt 5.0.2)
REAL = b"[127_2E0_2E0_2E1_3A8901]\nalice = \n\tczNjL3JldEB4\n\t\n\n"
OTHER = b"[mail]\nbob = \n\taHVudGVyMg==\n\t\n\n"


def passwords(data: bytes) -> dict[tuple[str, str], str]:
    """Read as the backend does: configparser, then base64."""
    keyring = configparser.RawConfigParser()
    keyring.read_string(data.decode())
    return {
        (section, option): base64.decodebytes(keyring.get(section, option).encode()).decode()
        for section in keyring.sections()
        for option in keyring.options(section)
    }


def test_what_the_backend_itself_has_written_is_no_change() -> None:
    assert merge(REAL, ["127.0.0.1:8901"], "alice", "s3c/ret@x") == REAL


def test_a_login_is_written_as_the_backend_reads_it() -> None:
    data = merge(b"", ["pypi.example.org", "pypi.example.org:8443"], "CI_bot", "p%ss")
    assert passwords(data) == {
        ("pypi_2Eexample_2Eorg", "ci_5fbot"): "p%ss",
        ("pypi_2Eexample_2Eorg_3A8443", "ci_5fbot"): "p%ss",
    }
    assert b"p%ss" not in data
    assert merge(data, ["pypi.example.org", "pypi.example.org:8443"], "CI_bot", "p%ss") == data


def test_other_logins_stay_and_ours_goes() -> None:
    data = merge(OTHER + REAL, ["127.0.0.1:8901"], "alice", "new")
    assert passwords(data) == {("mail", "bob"): "hunter2", ("127_2E0_2E0_2E1_3A8901", "alice"): "new"}
    ours = [key("127.0.0.1:8901", "alice")]
    assert unmerge(data, OTHER + REAL, ours) == OTHER + REAL
    assert unmerge(data, OTHER, ours) == OTHER
    assert unmerge(merge(b"", ["h"], "alice", "x"), b"", [key("h", "alice")]) == b""


def test_what_was_added_since_stays_when_ours_goes() -> None:
    ours = merge(b"", ["h"], "alice", "x")
    assert passwords(unmerge(ours + OTHER, b"", [key("h", "alice")])) == {("mail", "bob"): "hunter2"}


def test_no_password_is_shown() -> None:
    shown = redact((OTHER + REAL).decode())
    assert "[mail]" in shown
    assert "aHVudGVyMg==" not in shown
    assert "czNjL3JldEB4" not in shown
    assert "aHVudGVyMg==" not in redact("aHVudGVyMg==")


@pytest.mark.parametrize("data", [b"no section = 1", b"[h]\nalice\n", b"\xff"])
def test_a_file_that_is_no_keyring_is_refused_without_quoting_it(data: bytes) -> None:
    with pytest.raises(KeyringError, match=r"this is no keyring of keyrings\.alt$"):
        merge(data, ["h"], "alice", "x")
