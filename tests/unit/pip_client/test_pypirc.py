"""The .pypirc merge: our section readable by configparser as twine does, everybody else's kept byte for byte."""

from __future__ import annotations

import configparser

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _pypirc

OPTIONS = {"repository": "https://index1.example.org/", "username": "up", "password": "50%;#='\"", "ca_cert": "/ca.crt"}


def parsed(data: bytes) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(data.decode("latin-1"))
    return parser


def listed(data: bytes) -> list[str]:
    return parsed(data).get("distutils", "index-servers").split()


@pytest.mark.parametrize(
    ("existing", "names"),
    [
        (b"", ["pyindex"]),
        (b"[pypi]\nusername = __token__\npassword = pypi-abc\n", ["pypi", "pyindex"]),
        (b"[pypi]\nusername = __token__\npassword = pypi-abc", ["pypi", "pyindex"]),
        (b"[distutils]\nindex-servers =\n    pypi\n    corp\n\n[pypi]\nusername = a\n\n[corp]\nusername=b\n",
         ["pypi", "corp", "pyindex"]),
        (b"[distutils]\nindex-servers = pypi corp\n[corp]\nusername=b\n", ["pypi", "corp", "pyindex"]),
        (b"[distutils]\nindex-servers = pypi", ["pypi", "pyindex"]),
        (b"[distutils]\nindex-servers:\n  corp\n\n  # more\n  other\n", ["corp", "other", "pyindex"]),
        (b"[distutils]\n", ["pyindex"]),
        (b"# mine\n\n[distutils]\nsomething = else\n[testpypi]\nusername = a\n", ["testpypi", "pyindex"]),
        (b"[DEFAULT]\nx = y\n[corp]\nusername=b\n", ["pyindex"]),
        (b"[distutils]\r\nindex-servers =\r\n    corp\r\n[corp]\r\nusername=b\r\n", ["corp", "pyindex"]),
        (b"; \xe9\xff\n[corp]\nusername=\xe9\n", ["pyindex"]),
    ],
)  # fmt: skip
def test_our_section_is_added_and_the_rest_kept(existing: bytes, names: list[str]) -> None:
    merged = _pypirc.merge(existing, "pyindex", OPTIONS)
    after, before = parsed(merged), parsed(existing)
    assert {key: after.get("pyindex", key) for key in OPTIONS} == OPTIONS
    assert listed(merged) == names
    for name in before.sections():
        if name != "distutils":
            assert after.items(name) == before.items(name)
    for line in existing.splitlines():
        assert line in merged
    assert _pypirc.merge(merged, "pyindex", OPTIONS) == merged
    back = _pypirc.unmerge(merged, existing, ["pyindex"])
    assert parsed(back).sections() == before.sections() or not before.has_option("distutils", "index-servers")
    assert b"pyindex" not in back


def test_a_list_that_was_made_for_ours_goes_with_it() -> None:
    existing = b"[pypi]\nusername = __token__\n"
    back = _pypirc.unmerge(
        _pypirc.merge(existing, "pyindex", OPTIONS) + b"[new]\nusername = n\n", existing, ["pyindex"]
    )
    assert parsed(back).sections() == ["pypi", "new"]


def test_nothing_is_left_of_a_file_that_was_ours_alone() -> None:
    assert _pypirc.unmerge(_pypirc.merge(b"", "pyindex", OPTIONS), b"", ["pyindex"]).strip() == b""


def test_a_section_of_the_same_name_gives_way_and_comes_back() -> None:
    existing = b"[distutils]\nindex-servers = pyindex\n\n[pyindex]\nrepository = http://old/\npassword = gone\n\n# of b\n[b]\nusername = c\n"
    merged = _pypirc.merge(existing, "pyindex", OPTIONS)
    assert b"gone" not in merged
    assert b"\n\n# of b\n[b]\nusername = c\n" in merged
    assert listed(merged) == ["pyindex"]
    assert (
        _pypirc.unmerge(merged + b"[new]\nusername = n\n", existing, ["pyindex"]) == existing + b"[new]\nusername = n\n"
    )


def test_another_name_replaces_the_section_of_the_earlier_one() -> None:
    first = _pypirc.merge(b"[b]\nusername = c\n", "one", OPTIONS)
    second = _pypirc.merge(first, "two", OPTIONS)
    assert parsed(second).sections() == ["b", "distutils", "two"]
    assert listed(second) == ["two"]


@pytest.mark.parametrize(
    ("existing", "message"),
    [
        (b"password = hunter2\n", r"line 1: no \[section\] stands before the first option"),
        (b"[a]\nx = 1\n[a]\nhunter2 = 2\n", r"line 3: a \[section\] stands twice"),
        (b"[a]\nx = 1\nx = hunter2\n", r"line 3: an option stands twice"),
        (b"[a]\nhunter2\n", r"line 2: this is no section and no option"),
    ],
)
def test_what_is_no_pypirc_is_named_by_line_and_not_quoted(existing: bytes, message: str) -> None:
    with pytest.raises(_pypirc.PypircError, match=message) as caught:
        _pypirc.merge(existing, "pyindex", OPTIONS)
    assert "hunter2" not in str(caught.value)


def test_a_layout_that_cannot_be_edited_safely_is_refused() -> None:
    with pytest.raises(_pypirc.PypircError, match="cannot edit safely"):
        _pypirc.merge(b"[distutils]\nindex-servers = a\n  [pyindex]\n[ pyindex ]\nx = 1\n", " pyindex ", OPTIONS)


def test_redact_hides_every_password() -> None:
    text = "[pypi]\nusername = __token__\npassword = pypi-a\n  continued\nPassword: b\napi_token=c\nrepository = d\n"
    assert _pypirc.redact(text) == (
        "[pypi]\nusername = __token__\npassword = ********\nPassword: ********\napi_token= ********\nrepository = d\n"
    )
