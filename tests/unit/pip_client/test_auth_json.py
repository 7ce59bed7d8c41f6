"""The auth.json merge: one login that devpi's client finds, and everybody else's kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _auth_json, _current_json

ROOT = "https://devpi.example.org:8443/python/"
URL = f"{ROOT}devuser/dev/"
ELSEWHERE = {"https://other.example.org/": [["ann", "theirs1"]]}
OURS = [["ann", 'p"ss']]
KEYS = [_auth_json.key(URL, "ann")]


def encoded(**content: Any) -> bytes:
    return json.dumps(content).encode()


def merged(existing: bytes, password: str = 'p"ss') -> Any:
    return json.loads(_auth_json.merge(existing, URL, "ann", password))


@pytest.mark.parametrize("existing", [b"", b"{}", encoded(auth={}), encoded(auth={ROOT: []}), encoded(auth=None)])
def test_the_login_is_there(existing: bytes) -> None:
    assert merged(existing) == {"auth": {ROOT: OURS}}


def test_a_second_merge_changes_nothing() -> None:
    once = _auth_json.merge(encoded(auth=ELSEWHERE), URL, "ann", "pass")
    assert _auth_json.merge(once, URL, "ann", "pass") == once


def test_a_token_of_the_same_user_goes_and_all_others_stay() -> None:
    existing = encoded(auth={ROOT: [["bob", "token1"], ["ann", "token2"]], **ELSEWHERE}, client_cert={"h": "/c.pem"})
    assert merged(existing) == {
        "auth": {ROOT: [*OURS, ["bob", "token1"]], **ELSEWHERE},
        "client_cert": {"h": "/c.pem"},
    }


def test_taking_it_out_brings_the_original_back() -> None:
    original = encoded(auth={ROOT: [["ann", "token2"]], **ELSEWHERE})
    now = merged(original)
    now["auth"][ROOT].append(["later", "token3"])
    back = json.loads(_auth_json.unmerge(encoded(**now), original, KEYS))
    assert back == {"auth": {ROOT: [["ann", "token2"], ["later", "token3"]], **ELSEWHERE}}


@pytest.mark.parametrize("original", [b"", b"{}"])
def test_taking_it_out_of_a_file_that_held_nothing_else(original: bytes) -> None:
    assert _auth_json.unmerge(_auth_json.merge(original, URL, "ann", "pass"), original, KEYS) == b""


def test_all_logins_that_were_ever_written_are_taken_out() -> None:
    once = _auth_json.merge(b"", URL, "ann", "pass1")
    twice = _auth_json.merge(once, URL, "bob", "pass2")
    assert _auth_json.unmerge(twice, b"", [*KEYS, _auth_json.key(URL, "bob")]) == b""


def test_no_secret_is_shown() -> None:
    text = encoded(auth={ROOT: [["ann", "s3cret1"]], **ELSEWHERE}, basic_auth={ROOT: ["ann", "s3cret2"]}).decode()
    shown = _auth_json.redact(text)
    assert "ann" in shown
    assert not any(secret in shown for secret in ("s3cret1", "s3cret2", "theirs1"))
    assert "s3cret" not in _auth_json.redact("{s3cret")
    assert _auth_json.redact("") == ""


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(_current_json.CurrentError):
        _auth_json.merge(b"[", URL, "ann", "pass")
