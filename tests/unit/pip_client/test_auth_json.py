"""The auth.json merge: a login for the files of one index, and everybody else's kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _auth_json, _current_json

URL = "https://devpi.example.org/python/devuser/dev/"
FILES = "https://devpi.example.org:443/python/devuser/dev/+f/"
OURS = {FILES: ["ann", 'p"ss']}
TOKENS = {"https://devpi.example.org/": [["ann", "token1"]]}
ELSEWHERE = {"https://other.example.org:443/": ["ann", "theirs1"]}


def encoded(**content: Any) -> bytes:
    return json.dumps(content).encode()


def merged(existing: bytes) -> Any:
    return json.loads(_auth_json.merge(existing, URL, "ann", 'p"ss'))


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (URL, FILES),
        (URL.rstrip("/"), FILES),
        ("https://h:8443/u/i/", "https://h:8443/u/i/+f/"),
        ("http://h/u/i/", "http://h:80/u/i/+f/"),
    ],
)
def test_a_login_is_for_the_files_of_one_index(url: str, key: str) -> None:
    assert _auth_json.key(url) == key


@pytest.mark.parametrize("existing", [b"", b"{}", encoded(basic_auth={}), encoded(basic_auth=None)])
def test_the_login_is_there(existing: bytes) -> None:
    assert merged(existing) == {"basic_auth": OURS}


def test_a_second_merge_changes_nothing() -> None:
    once = _auth_json.merge(encoded(auth=TOKENS, basic_auth=ELSEWHERE), URL, "ann", "pass")
    assert _auth_json.merge(once, URL, "ann", "pass") == once


def test_other_logins_stay() -> None:
    existing = encoded(auth=TOKENS, basic_auth={**ELSEWHERE, FILES: ["old", "old"]})
    assert merged(existing) == {"auth": TOKENS, "basic_auth": {**ELSEWHERE, **OURS}}


def test_taking_it_out_brings_the_original_back() -> None:
    original = encoded(basic_auth={**ELSEWHERE, FILES: ["old", "old"]})
    back = _auth_json.unmerge(encoded(**merged(original), auth=TOKENS), original, [FILES])
    assert json.loads(back) == {"auth": TOKENS, "basic_auth": {**ELSEWHERE, FILES: ["old", "old"]}}


@pytest.mark.parametrize("original", [b"", b"{}"])
def test_taking_it_out_of_a_file_that_held_nothing_else(original: bytes) -> None:
    assert _auth_json.unmerge(_auth_json.merge(original, URL, "ann", "pass"), original, [FILES]) == b""


def test_no_secret_is_shown() -> None:
    shown = _auth_json.redact(encoded(auth=TOKENS, basic_auth={**ELSEWHERE, **OURS}).decode())
    assert FILES in shown
    assert not any(secret in shown for secret in ("token1", "theirs1", "ss"))
    assert "s3cret" not in _auth_json.redact("{s3cret")
    assert _auth_json.redact("") == ""


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(_current_json.CurrentError):
        _auth_json.merge(b"[", URL, "ann", "pass")
