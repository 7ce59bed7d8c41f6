"""Module devpi_release: upload, promote, remove; broken files among good ones."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.devpi.conftest import Devpi, OnFake, OnReal
from tests.unit.pypiserver.made import sdist, wheel, wheel_members, zip_of

LOGIN: dict[str, Any] = {"username": "devuser", "password": "devuser-password"}
WHEEL, SDIST, DOCS = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", "demo-1.0.doc.zip"


def fill(shelf: Path) -> None:
    (shelf / WHEEL).write_bytes(wheel())
    (shelf / SDIST).write_bytes(sdist())
    (shelf / DOCS).write_bytes(zip_of({"index.html": b"<h1>demo</h1>"}))
    (shelf / "README").write_text("not a distribution\n")


def files(devpi: Devpi, index: str, project: str = "demo") -> dict[str, str]:
    """Return the names and the SHA-256 of the files of a project."""
    links = devpi.client().releases(index, project).values()
    return {link.basename: link.sha256 for version in links for link in version}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_upload(team: Devpi, shelf: Path) -> None:
    fill(shelf)
    arguments: dict[str, Any] = {"index": "devuser/dev", "directory": str(shelf), **LOGIN}
    would = team("devpi_release", check=True, **arguments)
    assert (would["changed"], would["uploaded"]) == (True, [WHEEL, SDIST, DOCS])
    assert would["other_files"] == [str(shelf / "README")]
    assert files(team, "devuser/dev") == {}

    done = team("devpi_release", **arguments)
    assert (done["changed"], done["uploaded"], done["diff"]) == (True, would["uploaded"], would["diff"])
    assert files(team, "devuser/dev") == {name: sha256(shelf / name) for name in (WHEEL, SDIST, DOCS)}
    for check in (True, False):
        again = team("devpi_release", check=check, **arguments)
        assert (again["changed"], again["uploaded"]) == (False, [])
        assert again["present"] == [WHEEL, SDIST, DOCS]
    assert "devuser-password" not in json.dumps(done)

    info = team("devpi_info", index="devuser/dev", project="Demo")
    assert {file["name"]: file["rel"] for file in info["releases"]["demo"]["1.0"]} == {
        WHEEL: "releasefile",
        SDIST: "releasefile",
        DOCS: "doczip",
    }


def test_metadata_of_an_upload(real: OnReal, shelf: Path) -> None:
    """What installers and the web pages read: who may install it, what it needs, how it is described."""
    metadata = (
        "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: A demo\nRequires-Python: >=3.11\n"
        "Requires-Dist: other>=2\nRequires-Dist: more\nClassifier: A :: B\nClassifier: C :: D\n"
        "Author-email: Jörg <j@example.org>\n\nSchöne Beschreibung\n"
    )
    (shelf / WHEEL).write_bytes(zip_of({**wheel_members(), "demo-1.0.dist-info/METADATA": metadata.encode()}))
    real.client().create_index("root/dev", {})
    assert real("devpi_release", index="root/dev", directory=str(shelf))["changed"]
    found = real.client()._result("GET", "/root/dev/demo/1.0")
    assert found["requires_python"] == ">=3.11"
    assert found["requires_dist"] == ["other>=2", "more"]
    assert found["classifiers"] == ["A :: B", "C :: D"]
    assert found["summary"] == "A demo"
    assert found["author_email"] == "Jörg <j@example.org>"
    assert found["description"] == "Schöne Beschreibung\n"


def test_broken_files_do_not_hold_up_good_ones(team: Devpi, shelf: Path) -> None:
    fill(shelf)
    more = shelf / "more"
    more.mkdir()
    good = wheel("other", "2.0")
    (more / "other-2.0-py3-none-any.whl").write_bytes(good)
    (shelf / "cut-1.0-py3-none-any.whl").write_bytes(good[:200])
    (shelf / "cut-1.0.tar.gz").write_bytes(sdist("cut")[:-12])
    (shelf / "empty-1.0.zip").write_bytes(b"")
    (shelf / "renamed-1.0-py3-none-any.whl").write_bytes(good)
    (shelf / "noversion.tar.gz").write_bytes(sdist())
    (shelf / "bad name-1.0.tar.gz").write_bytes(sdist())
    (shelf / "gone-1.0.tar.gz").symlink_to(shelf / "nowhere")
    os.mkfifo(shelf / "pipe-1.0.tar.gz")
    (shelf / "linked-1.0.tar.gz").symlink_to(more / "linked")
    (more / "linked").write_bytes(sdist("linked"))
    arguments: dict[str, Any] = {"index": "devuser/dev", "directory": str(shelf), **LOGIN}
    reasons = {
        "cut-1.0-py3-none-any.whl": "it is damaged or truncated",
        "cut-1.0.tar.gz": "it is damaged or truncated",
        "empty-1.0.zip": "it is damaged or truncated: File is not a zip file",
        "renamed-1.0-py3-none-any.whl": "its metadata say project 'other', its name says 'renamed'",
        "noversion.tar.gz": "its name has no version in it",
        "bad name-1.0.tar.gz": "its name has other characters than",
        "gone-1.0.tar.gz": "it is a link to nowhere",
        "pipe-1.0.tar.gz": "it is not a regular file",
    }
    for check in (True, False, False):
        result = team("devpi_release", check=check, **arguments)
        assert result["failed"] is True
        assert {Path(path).name for path in result["failed_files"]} == set(reasons)
        for name, reason in reasons.items():
            assert reason in result["failed_files"][str(shelf / name)]
            assert f"- {shelf / name}: {reason}" in result["msg"]
        assert ("8 of the files cannot be uploaded, all others are on the index:" in result["msg"]) is not check
    assert result["changed"] is False
    assert set(files(team, "devuser/dev")) == {WHEEL, SDIST, DOCS}
    assert set(files(team, "devuser/dev", "other")) == {"other-2.0-py3-none-any.whl"}
    assert set(files(team, "devuser/dev", "linked")) == {"linked-1.0.tar.gz"}


def test_other_content(team: Devpi, shelf: Path) -> None:
    fill(shelf)
    for index in ("devuser/dev", "devuser/staging"):
        team("devpi_release", index=index, directory=str(shelf), **LOGIN)
    before = sha256(shelf / WHEEL)
    (shelf / WHEEL).write_bytes(wheel(more={"demo/new.py": b"new\n"}))
    done = team("devpi_release", index="devuser/dev", directory=str(shelf), **LOGIN)
    assert (done["uploaded"], done["diff"]["before"]) == ([WHEEL], {WHEEL: before})
    assert files(team, "devuser/dev")[WHEEL] == sha256(shelf / WHEEL)

    for check in (True, False):
        refused = team("devpi_release", check=check, index="devuser/staging", directory=str(shelf), **LOGIN)
        assert "devuser/staging is non-volatile and has other content under that name" in refused["msg"]
    assert files(team, "devuser/staging")[WHEEL] == before


def test_the_server_has_the_last_word_on_a_file(fake: OnFake, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else uploads the same name between the look and the upload."""
    fill(shelf)
    fake.client().create_index("root/staging", {"volatile": False})
    upload = fake.server.upload

    def after_another(*arguments: Any) -> None:
        monkeypatch.setattr(fake.server, "upload", upload)
        fake.server.store("root/staging", "demo", "1.0", "releasefile", WHEEL, "0" * 64)
        upload(*arguments)

    monkeypatch.setattr(fake.server, "upload", after_another)
    result = fake("devpi_release", index="root/staging", directory=str(shelf))
    assert "demo-1.0-py3-none-any.whl already exists in non-volatile index" in result["msg"]
    assert result["uploaded"] == [SDIST, DOCS]


def test_an_interrupted_upload_is_finished_by_the_next(
    fake: OnFake, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shelf)
    fake.client().create_index("root/dev", {})
    upload = fake.server.upload

    def once(*arguments: Any) -> None:
        fake.server.failing = "POST /root/dev"
        upload(*arguments)

    monkeypatch.setattr(fake.server, "upload", once)
    broken = fake("devpi_release", index="root/dev", directory=str(shelf))
    assert (broken["failed"], broken["changed"], broken["uploaded"]) == (True, True, [WHEEL])
    assert "failed with status 500" in broken["msg"]
    fake.server.failing = ""
    monkeypatch.setattr(fake.server, "upload", upload)
    assert fake("devpi_release", index="root/dev", directory=str(shelf))["uploaded"] == [SDIST, DOCS]


def test_a_killed_server_keeps_nothing_half_written(real: OnReal, shelf: Path) -> None:
    fill(shelf)
    (shelf / "big-1.0-py3-none-any.whl").write_bytes(
        zip_of({**wheel_members("big"), "big/data": os.urandom(1 << 22)}, compression=0)
    )
    real.client().create_index("root/dev", {})
    real.server.halt()
    try:
        result = real("devpi_release", index="root/dev", directory=str(shelf))
        assert "the connection is refused. Is it running?" in result["msg"]
    finally:
        real.server.start()
    assert len(real("devpi_release", index="root/dev", directory=str(shelf))["uploaded"]) == 4


def test_users_without_the_right_are_refused(real_team: OnReal, shelf: Path) -> None:
    fill(shelf)
    result = real_team("devpi_release", index="devuser/dev", directory=str(shelf))
    assert "devpi does not let user 'root' do that: upload demo-1.0-py3-none-any.whl to devuser/dev" in result["msg"]
    assert "(no permission to submit). Uploading on devuser/dev is open to: devuser (acl_upload)" in result["msg"]
    real_team.client().create_user("other", {"password": "other-password"})
    real_team("devpi_release", index="devuser/dev", directory=str(shelf), **LOGIN)
    login = {"username": "other", "password": "other-password"}
    result = real_team("devpi_release", **{**PROMOTED, "index": "devuser/staging", **login})
    assert "Promoting a release on devuser/staging is open to: devuser" in result["msg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": "devuser/dve"}, "devpi has no index 'devuser/dve'. Did you mean 'devuser/dev'?"),
        ({"index": "root/up"}, "root/up is a mirror: nothing can be uploaded to it"),
        (
            {"index": "devuser/dev", "username": "root", "password": None},
            "(no permission to submit). Uploading on devuser/dev is open to: devuser (acl_upload)",
        ),
        ({"index": "devuser/dev", "directory": "/proc/none"}, "The folder /proc/none cannot be listed: No such file"),
        ({"index": "devuser/dev", "files": ["/proc/none/demo-1.0.tar.gz"]}, "it is not there (any more)"),
    ],
)
def test_uploads_that_cannot_be(fake_team: OnFake, shelf: Path, arguments: dict[str, Any], message: str) -> None:
    fill(shelf)
    fake_team.client().create_index("root/up", {"type": "mirror", "mirror_url": "http://127.0.0.1:9/"})
    given: dict[str, Any] = {"directory": str(shelf), **LOGIN, **arguments}
    if given["password"] is None:
        given["password"] = fake_team.password
    assert message in fake_team("devpi_release", **given)["msg"]


def test_nothing_to_upload(fake: OnFake, shelf: Path) -> None:
    fake.client().create_index("root/dev", {})
    (shelf / "README").touch()
    assert "There is nothing to upload" in fake("devpi_release", index="root/dev", directory=str(shelf))["msg"]
    assert (
        "state is present: give one of files, directory, documentation"
        in fake("devpi_release", index="root/dev")["msg"]
    )
    # An earlier task of the run may be going to make it
    checked = fake("devpi_release", check=True, index="root/dev", directory=str(shelf / "later"))
    assert checked["changed"] is True
    assert "Not there (yet)" in json.dumps(checked["warnings"])


def test_two_files_of_one_name(fake: OnFake, shelf: Path) -> None:
    fake.client().create_index("root/dev", {})
    for folder, content in (("a", wheel()), ("b", wheel()), ("c", wheel(more={"demo/x": b""}))):
        (shelf / folder).mkdir()
        (shelf / folder / WHEEL).write_bytes(content)
    result = fake("devpi_release", index="root/dev", directory=str(shelf))
    assert list(result["failed_files"]) == [str(shelf / "c" / WHEEL)]
    assert "another file of that name and with other content comes before it" in result["msg"]
    assert fake.server.releases["root/dev"]["demo"]["1.0"][0]["hashes"]["sha256"] == sha256(shelf / "a" / WHEEL)
    flat = fake("devpi_release", index="root/dev", directory=str(shelf), recursive=False)
    assert "There is nothing to upload" in flat["msg"]


def test_documentation(team: Devpi, shelf: Path) -> None:
    (shelf / "docs.zip").write_bytes(zip_of({"index.html": b""}))
    (shelf / DOCS).write_bytes(zip_of({"html/index.html": b""}))
    wrong = {"index": "devuser/dev", "documentation": [str(shelf / "docs.zip"), str(shelf / DOCS)], **LOGIN}
    message = team("devpi_release", **wrong)["msg"]
    assert "documentation has to be named PROJECT-VERSION.doc.zip" in message
    assert "there is no index.html at its top" in message


# -- promotion

PROMOTED: dict[str, Any] = {"state": "promoted", "project": "Demo", "version": "1.0", "from_index": "devuser/dev"}


def test_promotion(team: Devpi, shelf: Path) -> None:
    fill(shelf)
    team("devpi_release", index="devuser/dev", directory=str(shelf), **LOGIN)
    arguments: dict[str, Any] = {**PROMOTED, "index": "devuser/staging", **LOGIN}
    would = team("devpi_release", check=True, **arguments)
    assert (would["changed"], would["promoted"]) == (True, sorted([WHEEL, SDIST, DOCS]))
    assert files(team, "devuser/staging") == {}
    done = team("devpi_release", **arguments)
    assert (done["changed"], done["promoted"], done["diff"]) == (True, would["promoted"], would["diff"])
    assert files(team, "devuser/staging") == files(team, "devuser/dev")
    for check in (True, False):
        again = team("devpi_release", check=check, **arguments)
        assert (again["changed"], again["promoted"]) == (False, [])


def test_promotion_is_refused_when_the_target_has_other_content(team: Devpi, shelf: Path) -> None:
    fill(shelf)
    team("devpi_release", index="devuser/dev", directory=str(shelf), **LOGIN)
    team("devpi_release", index="devuser/staging", files=[str(shelf / SDIST)], **LOGIN)
    arguments: dict[str, Any] = {**PROMOTED, "index": "devuser/staging", **LOGIN}
    part = team("devpi_release", **arguments)
    assert "has a part of demo 1.0 already, without demo-1.0-py3-none-any.whl, demo-1.0.doc.zip" in part["msg"]

    (shelf / SDIST).write_bytes(sdist(more={"demo-1.0/new": b""}))
    team("devpi_release", index="devuser/dev", directory=str(shelf), **LOGIN)
    before = files(team, "devuser/staging")
    for check in (True, False):
        refused = team("devpi_release", check=check, **arguments)
        assert refused["failed"] is True
        assert (
            "devuser/staging is non-volatile and has other content for demo 1.0: demo-1.0.tar.gz. What is released there "
            "is final: give what devuser/dev has a new version, and promote that"
        ) in refused["msg"]
    assert files(team, "devuser/staging") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "2.0"}, "devuser/dev has no release demo 2.0. It has 1.0"),
        ({"project": "other"}, "devuser/dev has no release other 1.0. It does not have the project at all"),
        ({"from_index": "devuser/staging"}, "devuser/staging is both"),
        ({"from_index": "devuser/development"}, "devpi has no index 'devuser/development'"),
        (
            {"username": "other", "password": "other-password"},
            "Promoting a release on devuser/staging is open to: devuser",
        ),
        ({"from_index": None}, "state is promoted: give from_index"),
    ],
)
def test_promotions_that_cannot_be(fake_team: OnFake, shelf: Path, arguments: dict[str, Any], message: str) -> None:
    (shelf / SDIST).write_bytes(sdist())
    fake_team.client().create_user("other", {"password": "other-password"})
    fake_team("devpi_release", index="devuser/dev", directory=str(shelf), **LOGIN)
    assert (
        message in fake_team("devpi_release", **{**PROMOTED, "index": "devuser/staging", **LOGIN, **arguments})["msg"]
    )


# -- removal


def test_removal(team: Devpi, shelf: Path) -> None:
    fill(shelf)
    for index in ("devuser/dev", "devuser/staging"):
        team("devpi_release", index=index, directory=str(shelf), **LOGIN)
    gone: dict[str, Any] = {"state": "absent", "project": "demo", "version": "1.0", **LOGIN}
    one: dict[str, Any] = {**gone, "index": "devuser/dev", "file": SDIST}
    for check in (True, False):
        assert team("devpi_release", check=check, **one)["removed"] == [SDIST]
    for check in (True, False):
        assert team("devpi_release", check=check, **one)["changed"] is False
    assert set(files(team, "devuser/dev")) == {WHEEL, DOCS}

    # The same version, in another spelling
    whole: dict[str, Any] = {**gone, "index": "devuser/dev", "version": "1.0.0"}
    for check in (True, False):
        assert team("devpi_release", check=check, **whole)["removed"] == sorted([WHEEL, DOCS])
    for check in (True, False):
        assert team("devpi_release", check=check, **whole)["changed"] is False
    assert files(team, "devuser/dev") == {}

    for check in (True, False):
        kept = team("devpi_release", check=check, **gone, index="devuser/staging")
        assert "devuser/staging is non-volatile: devpi does not remove demo 1.0 from it" in kept["msg"]
    assert team("devpi_release", **gone, index="devuser/staging", force=True)["changed"] is True
    assert files(team, "devuser/staging") == {}
