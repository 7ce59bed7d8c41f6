"""The current.json merge: what devpi's client reads of it, and everybody else's settings kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _current_json

URL = "https://devpi.example.org:8443/python/devuser/dev/"
OURS = {
    "index": "https://devpi.example.org:8443/python/devuser/dev",
    "simpleindex": "https://devpi.example.org:8443/python/devuser/dev/+simple/",
    "pypisubmit": URL,
    "login": "https://devpi.example.org:8443/python/+login",
    "features": _current_json.FEATURES,
}

KEYS = list(_current_json.KEYS)


def encoded(**content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize("url", [URL, URL.rstrip("/")])
@pytest.mark.parametrize("existing", [b"", b"\n", b"{}"])
def test_the_file_names_the_index(existing: bytes, url: str) -> None:
    assert json.loads(_current_json.merge(existing, url)) == OURS


def test_a_second_merge_changes_nothing() -> None:
    once = _current_json.merge(encoded(username="ann"), URL)
    assert _current_json.merge(once, URL) == once


def test_what_devpi_writes_is_no_change() -> None:
    """devpi-client writes the file with these arguments of json.dumps."""
    once = _current_json.merge(encoded(username="ann"), URL)
    assert json.dumps(json.loads(once), indent=2, sort_keys=True).encode() == once


def test_other_settings_stay_and_another_index_goes() -> None:
    merged = json.loads(_current_json.merge(encoded(index="https://other/a/b", venvdir="/v", username="ann"), URL))
    assert merged == {**OURS, "venvdir": "/v", "username": "ann"}


def test_what_the_client_has_learnt_of_this_server_stays() -> None:
    learnt = encoded(login=OURS["login"], features=["new"])
    assert json.loads(_current_json.merge(learnt, URL))["features"] == ["new"]
    elsewhere = encoded(login="https://other/+login", features=["new"])
    assert json.loads(_current_json.merge(elsewhere, URL))["features"] == OURS["features"]


def test_taking_it_out_brings_the_original_back() -> None:
    original = encoded(index="https://other/a/b", venvdir="/v")
    later = json.dumps({**json.loads(_current_json.merge(original, URL)), "username": "ann"}).encode()
    back = _current_json.unmerge(later, original, KEYS)
    assert json.loads(back) == {"index": "https://other/a/b", "venvdir": "/v", "username": "ann"}


def test_taking_it_out_of_a_file_that_held_nothing_else() -> None:
    assert _current_json.unmerge(_current_json.merge(b"", URL), b"", KEYS) == b""


@pytest.mark.parametrize("broken", [b"{", b"[1]", b"secret", b"\xff"])
def test_a_broken_file_is_refused_and_not_quoted(broken: bytes) -> None:
    with pytest.raises(_current_json.CurrentError) as caught:
        _current_json.merge(broken, URL)
    assert "secret" not in str(caught.value)


def test_an_old_login_is_not_shown() -> None:
    text = encoded(auth={"https://h/": [["ann", "s3cret"]]}).decode()
    assert "s3cret" not in _current_json.redact(text)
    assert "s3cret" not in _current_json.redact("{s3cret")
    assert _current_json.redact('{"index": "x"}') == '{"index": "x"}'
