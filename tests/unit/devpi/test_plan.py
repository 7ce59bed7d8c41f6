"""Module devpi_plan: check, apply, check again, apply again; what is reported; what cannot be."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from tests.unit.devpi.conftest import Devpi, OnFake, OnReal

SECRET = "s3cret'\"%;"
PLAN: dict[str, Any] = {
    "users": [
        {"name": "devuser", "password": SECRET, "email": "devuser@example.org"},
        {"name": "reader", "password": "reader-password"},
    ],
    # Against their order: dev stands on staging, staging on the mirror
    "indexes": [
        {
            "name": "devuser/dev",
            "bases": ["devuser/staging"],
            "acl_upload": ["devuser", ":authenticated:"],
            "options": {"uploadtrigger_jenkins": "https://hook:jenkins-token@jenkins.example.org/job/{pkgname}/"},
        },
        {"name": "devuser/staging", "bases": ["root/pypi"], "volatile": False, "title": "Releases"},
        {"name": "root/pypi", "type": "mirror", "mirror_url": "http://127.0.0.1:9/simple/", "mirror_cache_expiry": 60},
    ],
}


def indexes(devpi: Devpi) -> dict[str, dict[str, Any]]:
    users = devpi.client().users()
    return {f"{user}/{index}": options for user, data in users.items() for index, options in data["indexes"].items()}


def test_check_apply_check_apply(devpi: Devpi) -> None:
    would = devpi("devpi_plan", check=True, **PLAN)
    assert would["changed"] is True
    assert would["actions"] == [
        "create user devuser",
        "create user reader",
        "create index root/pypi",
        "create index devuser/staging",
        "create index devuser/dev",
    ]
    assert indexes(devpi) == {}
    assert set(devpi.client().users()) == {"root"}

    done = devpi("devpi_plan", **PLAN)
    assert (done["changed"], done["actions"], done["diff"]) == (True, would["actions"], would["diff"])
    assert devpi.client().users()["devuser"]["email"] == "devuser@example.org"
    assert devpi.client().password_is("devuser", SECRET)
    found = indexes(devpi)
    assert found["root/pypi"]["mirror_cache_expiry"] == 60
    assert found["devuser/staging"]["volatile"] is False
    assert found["devuser/dev"]["bases"] == ["devuser/staging"]
    assert found["devuser/dev"]["uploadtrigger_jenkins"].startswith("https://hook:jenkins-token@")

    for check in (True, False):
        again = devpi("devpi_plan", check=check, **PLAN)
        assert (again["changed"], again["actions"], again["diff"]) == (False, [], [])
        assert again["undeclared"] == {"users": [], "indexes": []}
    for result in (would, done):
        assert all(secret not in json.dumps(result) for secret in ("s3cret", "reader-password", "jenkins-token"))


def test_only_what_differs_is_changed(devpi: Devpi) -> None:
    devpi("devpi_plan", **PLAN)
    # Other spellings of the same, and what is no longer declared stays as it is
    other: dict[str, Any] = {
        "users": [{"name": "devuser", "password": SECRET}, {"name": "reader"}],
        "indexes": [
            {"name": "devuser/dev", "acl_upload": [":AUTHENTICATED:", "devuser"]},
            {"name": "devuser/staging", "options": {"volatile": "no"}},
            {"name": "root/pypi", "type": "mirror", "options": {"mirror_cache_expiry": "60"}},
        ],
    }
    assert devpi("devpi_plan", **other)["changed"] is False

    other["indexes"][0]["title"] = "Development"
    result = devpi("devpi_plan", **other)
    assert result["actions"] == ["modify index devuser/dev"]
    assert result["diff"][0]["after"] == {"title": "Development"}
    # devpi resets options of plugins that a change does not name
    assert indexes(devpi)["devuser/dev"]["uploadtrigger_jenkins"].startswith("https://hook:")


def test_order_of_bases_counts(devpi: Devpi) -> None:
    names = ["root/a", "root/b"]
    plan = [{"name": name} for name in names]
    devpi("devpi_plan", indexes=[*plan, {"name": "root/top", "bases": names}])
    assert not devpi("devpi_plan", indexes=[*plan, {"name": "root/top", "bases": names}])["changed"]
    assert devpi("devpi_plan", indexes=[*plan, {"name": "root/top", "bases": names[::-1]}])["changed"]
    assert indexes(devpi)["root/top"]["bases"] == names[::-1]


def test_bases_are_turned_around(devpi: Devpi) -> None:
    devpi("devpi_plan", indexes=[{"name": "root/a"}, {"name": "root/b", "bases": ["root/a"]}])
    result = devpi("devpi_plan", indexes=[{"name": "root/a", "bases": ["root/b"]}, {"name": "root/b", "bases": []}])
    assert result["actions"] == ["modify index root/b", "modify index root/a"]


def test_passwords(devpi: Devpi) -> None:
    devpi("devpi_plan", users=[{"name": "devuser", "password": "first-password"}])
    second = [{"name": "devuser", "password": "second-password"}]
    assert not devpi("devpi_plan", users=second, update_password="on_create")["changed"]
    would = devpi("devpi_plan", check=True, users=second)
    assert would["actions"] == ["modify user devuser"]
    assert devpi.client().password_is("devuser", "first-password")
    done = devpi("devpi_plan", users=second)
    assert done["diff"][0]["before"] == {"password": "(another)"}
    assert devpi.client().password_is("devuser", "second-password")
    assert not devpi("devpi_plan", users=second)["changed"]


def test_root_can_be_declared(devpi: Devpi) -> None:
    users = [{"name": "root", "title": "Administrator", "password": devpi.password}]
    assert devpi("devpi_plan", users=users)["actions"] == ["modify user root"]
    assert not devpi("devpi_plan", users=users)["changed"]
    devpi("devpi_plan", users=[{"name": "root", "title": ""}])
    assert not devpi.client().users()["root"].get("title")


def test_a_user_without_password_is_pointed_out(fake: OnFake) -> None:
    result = fake("devpi_plan", users=[{"name": "from-ldap"}])
    assert "'from-ldap' is made without a password" in json.dumps(result["warnings"])
    assert fake.server.passwords["from-ldap"] is None


def test_test_results_are_closed_without_a_word(devpi: Devpi) -> None:
    user = [{"name": "devuser", "password": "password"}, {"name": "ci", "password": "password"}]
    devpi("devpi_plan", users=user, indexes=[{"name": "devuser/dev"}])
    assert indexes(devpi)["devuser/dev"]["acl_toxresult_upload"] == ["devuser"]
    devpi("devpi_plan", users=user, indexes=[{"name": "devuser/dev", "acl_upload": ["devuser", "ci"]}])
    assert indexes(devpi)["devuser/dev"]["acl_toxresult_upload"] == ["devuser", "ci"]
    # With a word it is what is said, in any spelling
    opened = [{"name": "devuser/dev", "acl_toxresult_upload": [":anonymous:"]}]
    devpi("devpi_plan", users=user, indexes=opened)
    assert indexes(devpi)["devuser/dev"]["acl_toxresult_upload"] == [":ANONYMOUS:"]
    assert not devpi("devpi_plan", users=user, indexes=opened)["changed"]
    # What somebody has made by hand, open to anybody, is closed as soon as it is declared
    devpi.client().create_index("devuser/byhand", {})
    assert indexes(devpi)["devuser/byhand"]["acl_toxresult_upload"] == [":ANONYMOUS:"]
    devpi("devpi_plan", users=user, indexes=[{"name": "devuser/byhand"}])
    assert indexes(devpi)["devuser/byhand"]["acl_toxresult_upload"] == ["devuser"]


# -- what is not declared


def former(devpi: Devpi) -> None:
    client = devpi.client()
    client.create_index("root/pypi", {"type": "mirror", "mirror_url": "http://127.0.0.1:9/", "volatile": False})
    client.create_user("former", {"password": "password"})
    client.create_index("former/base", {})
    client.create_index("former/dev", {"bases": ["former/base"]})
    client.create_index("root/old", {"bases": ["former/dev"]})


def test_undeclared_is_reported_and_removed_with_prune_only(devpi: Devpi) -> None:
    former(devpi)
    before = indexes(devpi)
    result = devpi("devpi_plan", **{**PLAN, "indexes": []})
    assert result["undeclared"] == {"users": ["former"], "indexes": ["former/base", "former/dev", "root/old"]}
    assert indexes(devpi) == before

    would = devpi("devpi_plan", check=True, prune=True, **{**PLAN, "indexes": []})
    assert indexes(devpi) == before
    done = devpi("devpi_plan", prune=True, **{**PLAN, "indexes": []})
    assert done["actions"] == would["actions"]
    assert done["actions"] == [
        "remove index root/old",
        "remove index former/dev",
        "remove index former/base",
        "remove user former",
    ]
    assert done["undeclared"] == {"users": [], "indexes": []}
    assert set(indexes(devpi)) == {"root/pypi"}
    assert not devpi("devpi_plan", prune=True, **{**PLAN, "indexes": []})["changed"]


def test_root_pypi_goes_when_it_is_told(devpi: Devpi) -> None:
    former(devpi)
    gone = [{"name": "root/pypi", "type": "mirror", "state": "absent"}]
    assert devpi("devpi_plan", check=True, indexes=gone)["actions"] == ["remove index root/pypi"]
    devpi("devpi_plan", indexes=gone)
    assert "root/pypi" not in indexes(devpi)
    assert not devpi("devpi_plan", indexes=gone)["changed"]


def test_a_user_goes_with_her_indexes(devpi: Devpi) -> None:
    former(devpi)
    devpi.client().delete_index("root/old")
    result = devpi("devpi_plan", users=[{"name": "former", "state": "absent"}])
    assert result["actions"] == ["remove index former/dev", "remove index former/base", "remove user former"]
    assert "former" not in devpi.client().users()


# -- what cannot be


def with_index(**index: Any) -> dict[str, Any]:
    """Return a plan with a right user and index, and *index*."""
    return {
        "users": [{"name": "new", "password": "password"}],
        "indexes": [{"name": "new/right"}, {"name": "root/wrong", **index}],
    }


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (with_index(bases=["root/wrong"]), "'root/wrong': it is its own base"),
        (with_index(bases=["new/rigth"]), "its base 'new/rigth' does not exist. Did you mean 'new/right'?"),
        (with_index(name="new/right"), "index 'new/right' is declared 2 times"),
        (with_index(name="nobody/dev"), "its user 'nobody' is not declared."),
        (with_index(name="nev/dev"), "its user 'nev' is not declared. Did you mean 'new'?"),
        (with_index(name="wrong"), "devpi forbids the index name 'wrong': it is not of the form user/index"),
        (with_index(name="root/a/b"), "devpi forbids the index name 'root/a/b': '/' is not allowed"),
        (with_index(type="mirror"), "'root/wrong': a mirror needs a mirror_url"),
        (with_index(type="mirror", mirror_url="upstream"), "mirror_url does not begin with http:// or https://"),
        (with_index(options={"volatil": False}), "a stage has no option 'volatil'. Did you mean 'volatile'?"),
        (with_index(options={"uploadtriger_jenkins": "x"}), "Did you mean 'uploadtrigger_jenkins'?"),
        (with_index(volatil=False), "indexes.volatil. Supported parameters include: "),
        (with_index(volatil=False), "Did you mean 'volatile'?"),
        (with_index(mirror_url="http://127.0.0.1/"), "a stage has no option 'mirror_url'."),
        (with_index(options={"mirror_whitelist_inheritance": "both"}), "'both' is neither intersection nor union"),
        (with_index(options={"volatile": "perhaps"}), "volatile: 'perhaps' is no bool"),
        (with_index(volatile=True, options={"volatile": True}), "volatile is given twice, once below options"),
        (with_index(options={"type": "mirror"}), "'type' cannot stand below options"),
        ({**with_index(), "users": [{"name": "new/er"}]}, "devpi forbids the user name 'new/er': '/' is not allowed"),
        ({**with_index(), "users": [{"name": "new", "password": ""}]}, "the password of user 'new' is empty"),
        ({**with_index(), "users": [{"name": ".."}]}, "devpi forbids the user name '..'"),
        ({**with_index(), "users": [{"name": "new"}, {"name": "new"}]}, "user 'new' is declared 2 times"),
        ({**with_index(), "users": [{"name": "new"}, {"name": "root", "state": "absent"}]}, "root cannot be removed"),
    ],
)
def test_a_plan_with_a_mistake_changes_nothing(fake: OnFake, plan: dict[str, Any], message: str) -> None:
    for check in (True, False):
        result = fake("devpi_plan", check=check, **plan)
        assert result["failed"] is True
        assert message in result["msg"]
    assert set(fake.client().users()) == {"root"}
    assert indexes(fake) == {}


def test_a_plan_with_mistakes_changes_nothing_on_a_real_server(real: OnReal) -> None:
    plan = with_index(bases=["new/rigth"], options={"uploadtriger_jenkins": "x"})
    result = real("devpi_plan", **plan)
    assert "its base 'new/rigth' does not exist. Did you mean 'new/right'?" in result["msg"]
    # The server says which plugins it has, and so which options it knows
    assert "no option 'uploadtriger_jenkins'. Did you mean 'uploadtrigger_jenkins'?" in result["msg"]
    assert set(real.client().users()) == {"root"}


def test_all_mistakes_are_named_at_once(fake: OnFake) -> None:
    circle = [
        {"name": "root/a", "bases": ["root/b"]},
        {"name": "root/b", "bases": ["root/c"]},
        {"name": "root/c", "bases": ["root/a"]},
        {"name": "root/m", "type": "mirror"},
    ]
    message = fake("devpi_plan", indexes=circle)["msg"]
    assert message.startswith("Nothing was changed, as this cannot be:\n- ")
    assert "index 'root/a': its bases lead back to it: root/a -> root/b -> root/c -> root/a" in message
    assert "index 'root/m': a mirror needs a mirror_url" in message
    assert not [request for request in fake.server.requests if not request.startswith(("GET", "POST /+login"))]


def test_a_circle_over_what_is_not_declared(devpi: Devpi) -> None:
    devpi.client().create_index("root/a", {})
    devpi.client().create_index("root/b", {"bases": ["root/a"]})
    message = devpi("devpi_plan", indexes=[{"name": "root/a", "bases": ["root/b"]}])["msg"]
    assert "root/a -> root/b -> root/a" in message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prune": True}, "'devuser/staging' would be removed with its releases, but is non-volatile"),
        ({"users": [{"name": "devuser", "state": "absent"}]}, "but is non-volatile. Make it volatile first"),
        (
            {"indexes": [{"name": "devuser/dev", "state": "absent"}, {"name": "devuser/staging", "state": "absent"}]},
            "'devuser/staging' would be removed with its releases",
        ),
        ({"indexes": [{"name": "devuser/staging", "state": "absent"}]}, "but is a base of devuser/dev"),
        (
            {"prune": True, "indexes": [{"name": "root/new", "bases": ["devuser/dev"]}]},
            "its base 'devuser/dev' is not declared and would be removed",
        ),
        (
            {"users": [{"name": "devuser"}], "indexes": [{"name": "devuser/dev", "type": "mirror"}]},
            "it is a stage, and the type of an index cannot be changed: remove it first",
        ),
    ],
)
def test_what_is_there_is_not_lost(fake_team: OnFake, more: dict[str, Any], message: str) -> None:
    before = copy.deepcopy(fake_team.server.users)
    result = fake_team("devpi_plan", **more)
    assert message in result["msg"]
    assert fake_team.client().users() == before


def test_a_wrong_password_says_which_variable(devpi: Devpi) -> None:
    result = devpi("devpi_plan", password="wrong", **PLAN)
    assert "refuses the login of user 'root'" in result["msg"]
    assert "devpi_root_password" in result["msg"]
    assert set(devpi.client().users()) == {"root"}


def test_a_user_who_is_not_root_may_not(team: Devpi) -> None:
    login: dict[str, Any] = {"username": "devuser", "password": "devuser-password"}
    result = team("devpi_plan", users=[{"name": "devuser"}, {"name": "new", "password": "password"}], **login)
    assert "devpi does not let user 'devuser' do that: PUT /new" in result["msg"]


def test_a_failure_on_the_way_says_what_has_been_done(fake: OnFake) -> None:
    fake.server.failing = "PUT /devuser/staging"
    result = fake("devpi_plan", **PLAN)
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["actions"] == ["create user devuser", "create user reader", "create index root/pypi"]
    assert "failed with status 500" in result["msg"]
    # The next run does the rest
    fake.server.failing = ""
    assert fake("devpi_plan", **PLAN)["actions"] == ["create index devuser/staging", "create index devuser/dev"]


def test_a_server_that_is_not_there(real: OnReal) -> None:
    away = {**PLAN, "unix_socket": "/proc/none/devpi.sock"}
    assert "there is no such socket. Is it running? on the index host look at" in real("devpi_plan", **away)["msg"]
    # Check mode on a host that is still empty goes on, ...
    checked = real("devpi_plan", check=True, **away)
    assert checked["changed"] is True
    assert "what would change is not known" in json.dumps(checked["warnings"])
    # ... but not with a plan that cannot be
    assert "declared 2 times" in real("devpi_plan", check=True, **{**away, "users": PLAN["users"] * 2})["msg"]


def test_an_index_type_of_a_plugin(devpi: Devpi) -> None:
    plan: list[dict[str, Any]] = [
        {"name": "root/all"},
        {
            "name": "root/some",
            "type": "constrained",
            "bases": ["root/all"],
            "options": {"constraints": ["*", "demo<2"]},
        },
    ]
    assert devpi("devpi_plan", indexes=plan)["changed"]
    assert not devpi("devpi_plan", indexes=plan)["changed"]
    plan[1] = {**plan[1], "constraints": None, "options": {"constraints": "*\ndemo<2"}}
    assert not devpi("devpi_plan", indexes=plan)["changed"]


@pytest.mark.parametrize("seed", range(25))
def test_any_plan_is_applied_in_an_order_that_works(fake: OnFake, seed: int) -> None:
    """The server in memory refuses a base that is not there yet."""
    chance = random.Random(seed)
    names = [f"root/index{number}" for number in range(12)]
    chance.shuffle(names)

    def drawn() -> list[dict[str, Any]]:
        # Of those before it only, so that there is no circle
        plan = [
            {"name": name, "bases": chance.sample(names[:place], k=min(place, chance.randrange(4)))}
            for place, name in enumerate(names)
        ]
        chance.shuffle(plan)
        return plan

    for _again in range(3):
        plan = chance.sample(drawn(), k=12)
        fake("devpi_plan", indexes=plan)
        assert {name: options["bases"] for name, options in indexes(fake).items()} == {
            index["name"]: index["bases"] for index in plan
        }
        assert not fake("devpi_plan", indexes=plan)["changed"]
        chance.shuffle(names)
    fake("devpi_plan", prune=True)
    assert indexes(fake) == {}


@pytest.mark.parametrize("seed", range(25))
def test_any_options_hold_after_one_run_and_leave_the_others(fake: OnFake, seed: int) -> None:
    chance = random.Random(seed)
    choices: dict[str, list[Any]] = {
        "volatile": [True, False],
        "title": ["", "one", "another"],
        "acl_upload": [[], ["root"], ["root", ":anonymous:"], [":ANONYMOUS:", "root"], [":Authenticated:"]],
        "acl_toxresult_upload": [[], [":authenticated:"], ["ci", "root"], ["root", "ci"]],
        "mirror_whitelist": [[], ["*"], ["A.B", "c"], ["c", "a-b"]],
        "mirror_whitelist_inheritance": ["union", "intersection"],
        "bases": [[], ["root/base"]],
        "options": [{}, {"uploadtrigger_jenkins": "https://u:p@x/"}, {"uploadtrigger_jenkins": ""}],
    }
    fake("devpi_index", name="root/base")
    for _again in range(8):
        before = indexes(fake).get("root/dev", {})
        names = chance.sample(sorted(choices), k=chance.randrange(len(choices) + 1))
        arguments = {name: chance.choice(choices[name]) for name in names}
        would = fake("devpi_index", check=True, name="root/dev", **arguments)
        assert indexes(fake).get("root/dev", {}) == before
        done = fake("devpi_index", name="root/dev", **arguments)
        assert (done["changed"], done["diff"]) == (would["changed"], would["diff"])
        assert not fake("devpi_index", name="root/dev", **arguments)["changed"]
        after = indexes(fake)["root/dev"]
        touched = {*arguments, *arguments.get("options", {}), "acl_toxresult_upload"}
        kept = {name: value for name, value in before.items() if name not in touched}
        assert {name: after.get(name) for name in kept} == kept


def test_a_login_alone_that_changes_is_shown_as_such(fake: OnFake) -> None:
    mirror = {"name": "root/up", "type": "mirror"}
    fake("devpi_plan", indexes=[{**mirror, "mirror_url": "http://u:first-secret@127.0.0.1:9/"}])
    result = fake("devpi_plan", indexes=[{**mirror, "mirror_url": "http://u:second-secret@127.0.0.1:9/"}])
    assert result["diff"][0]["before"] == {"mirror_url": "http://********@127.0.0.1:9/"}
    assert result["diff"][0]["after"] == {"mirror_url": "http://********@127.0.0.1:9/ (with another login)"}
    assert "-secret" not in json.dumps(result)
