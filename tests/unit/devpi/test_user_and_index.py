"""Modules devpi_user, devpi_index and devpi_info: check, apply, check again, apply again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.unit.devpi.conftest import Devpi, OnFake

LOGIN: dict[str, Any] = {"username": "devuser", "password": "devuser-password"}


def test_user(devpi: Devpi) -> None:
    arguments: dict[str, Any] = {"name": "new.user@example", "user_password": "first-password", "title": "New"}
    would = devpi("devpi_user", check=True, **arguments)
    assert (would["changed"], would["actions"]) == (True, ["create user new.user@example"])
    assert set(devpi.client().users()) == {"root"}
    done = devpi("devpi_user", **arguments)
    assert (done["changed"], done["diff"]) == (True, would["diff"])
    assert "first-password" not in json.dumps(done)
    assert devpi.client().users()["new.user@example"]["title"] == "New"
    for check in (True, False):
        assert devpi("devpi_user", check=check, **arguments)["changed"] is False

    assert devpi("devpi_user", name="new.user@example", title="")["actions"] == ["modify user new.user@example"]
    assert not devpi("devpi_user", name="new.user@example", title="")["changed"]
    assert not devpi.client().users()["new.user@example"].get("title")

    for check in (True, False):
        assert devpi("devpi_user", check=check, name="new.user@example", state="absent")["changed"] is True
    for check in (True, False):
        assert devpi("devpi_user", check=check, name="new.user@example", state="absent")["changed"] is False


def test_users_change_their_own_password(team: Devpi) -> None:
    arguments: dict[str, Any] = {"name": "devuser", "user_password": "second-password"}
    assert team("devpi_user", **arguments, **LOGIN)["actions"] == ["modify user devuser"]
    assert not team("devpi_user", **arguments, username="devuser", password="second-password")["changed"]
    refused = team("devpi_user", **arguments, title="Chief", username="devuser", password="second-password")
    assert "devpi does not let user 'devuser' do that: PATCH /devuser" in refused["msg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, "devpi forbids the user name 'a/b': '/' is not allowed"),
        ({"name": "a b"}, "devpi forbids the user name 'a b': ' ' is not allowed"),
        ({"name": "root", "state": "absent"}, "the user root cannot be removed"),
        ({"name": "devuser", "state": "absent"}, "index 'devuser/staging' would be removed with its releases, but is"),
    ],
)
def test_users_that_cannot_be(fake_team: OnFake, arguments: dict[str, Any], message: str) -> None:
    assert message in fake_team("devpi_user", **arguments)["msg"]


def test_index(team: Devpi) -> None:
    arguments: dict[str, Any] = {"name": "devuser/more", "bases": ["devuser/dev"], "volatile": False, "title": "More"}
    would = team("devpi_index", check=True, **arguments)
    assert (would["changed"], would["actions"]) == (True, ["create index devuser/more"])
    assert would["diff"][0]["after"]["acl_toxresult_upload"] == ["devuser"]
    done = team("devpi_index", **arguments)
    assert (done["changed"], done["diff"]) == (True, would["diff"])
    assert team.client().index("devuser/more")["volatile"] is False
    for check in (True, False):
        assert team("devpi_index", check=check, **arguments)["changed"] is False

    away: dict[str, Any] = {"name": "devuser/more", "state": "absent"}
    assert "is non-volatile. Make it volatile first" in team("devpi_index", **away)["msg"]
    for check in (True, False):
        assert team("devpi_index", check=check, force=True, **away)["changed"] is True
    for check in (True, False):
        assert team("devpi_index", check=check, **away)["changed"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "nobody/dev"}, "its user 'nobody' does not exist"),
        ({"name": "devusr/dev"}, "its user 'devusr' does not exist. Did you mean 'devuser'?"),
        ({"name": "devuser/new", "bases": ["devuser/stagin"]}, "Did you mean 'devuser/staging'?"),
        ({"name": "devuser/staging", "bases": ["devuser/dev"]}, "its bases lead back to it"),
        ({"name": "devuser/new", "type": "mirror"}, "a mirror needs a mirror_url"),
        ({"name": "devuser/dev", "type": "mirror"}, "the type of an index cannot be changed"),
        ({"name": "devuser/dev", "volatil": True}, "Unsupported parameters for "),
        ({"name": "devuser/dev", "volatil": True}, "Did you mean 'volatile'?"),
        ({"name": "devuser/dev", "options": {"acl_uplod": []}}, "Did you mean 'acl_upload'?"),
        ({"name": "devuser/staging", "state": "absent", "force": True}, "is a base of devuser/dev"),
    ],
)
def test_indexes_that_cannot_be(fake_team: OnFake, arguments: dict[str, Any], message: str) -> None:
    before = copy.deepcopy(fake_team.server.users)
    assert message in fake_team("devpi_index", **arguments)["msg"]
    assert fake_team.client().users() == before


def test_an_option_of_a_plugin_that_only_the_server_knows(fake: OnFake) -> None:
    """With a plugin that we do not know the server decides."""
    fake.client().create_index("root/dev", {})
    known = fake("devpi_index", name="root/dev", options={"colour": "blue"})
    assert "a stage has no option 'colour'" in known["msg"]
    fake.server.plugins["devpi-colours"] = "1.0"
    asked = fake("devpi_index", name="root/dev", options={"colour": "blue"})
    assert "devpi refuses: PATCH /root/dev (indexconfig got unexpected keyword arguments: colour=blue)" in asked["msg"]


def test_what_a_plugin_left_behind_does_not_hinder(fake: OnFake) -> None:
    fake.client().create_index("root/dev", {})
    fake.server.users["root"]["indexes"]["dev"]["left_behind"] = True
    assert fake("devpi_index", name="root/dev", title="Dev")["changed"] is True
    assert fake.client().index("root/dev")["left_behind"] is True


def test_info(team: Devpi) -> None:
    team.client().create_index(
        "root/up", {"type": "mirror", "mirror_url": "http://reader:mirror-password@127.0.0.1:9/simple/"}
    )
    result = team("devpi_info", index="devuser/dev")
    assert result["changed"] is False
    assert result["status"]["role"] == "MASTER"
    assert result["status"]["version"].startswith("6.")
    assert "devpi-jenkins" in result["status"]["plugins"]
    assert set(result["users"]) == {"root", "devuser"}
    assert result["indexes"]["devuser/dev"]["bases"] == ["devuser/staging"]
    assert result["indexes"]["root/up"]["mirror_url"] == "http://********@127.0.0.1:9/simple/"
    assert result["releases"] == {}
    assert "releases" not in team("devpi_info", check=True)
    assert "give project as well" in team("devpi_info", index="root/up")["msg"]
    assert (
        "devpi has no index 'devuser/def'. Did you mean 'devuser/dev'?"
        in team("devpi_info", index="devuser/def")["msg"]
    )


def test_info_without_login(team: Devpi) -> None:
    assert set(team("devpi_info", password=None)["users"]) == {"root", "devuser"}


def test_one_address(fake: OnFake) -> None:
    both = fake("devpi_info", server_url="https://devpi.example.org")
    assert "mutually exclusive: server_url|unix_socket" in both["msg"]
