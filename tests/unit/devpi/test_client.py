"""What answers that are not devpi's, or not good news, are said to mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.pyindex.fleet.plugins.module_utils import _devpi_errors as errors
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import Request, Response
from tests.unit.devpi.fake import FakeDevpi

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}


class Canned:
    """Gives the answers it was given, in turn, and keeps the requests."""

    address = "https://devpi.example.org"

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answers.pop(0)


def answer(status: int, headers: dict[str, str] | None = None, body: Any = b"", reason: str = "Reason") -> Response:
    return Response(status, reason, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (
            answer(200, HTML, b"<html>"),
            errors.NotDevpiError,
            "status 200 and text/html; charset=utf-8 in place of JSON",
        ),
        (answer(404, HTML, b"<html>"), errors.NotDevpiError, "a proxy, a login page or another server stands there"),
        (answer(200, JSON, b'{"result": '), errors.NotDevpiError, "broken JSON: does a proxy cut answers short?"),
        (answer(200, JSON, b"[]"), errors.NotDevpiError, "JSON that is not devpi's"),
        (answer(200, JSON, {"type": "x"}), errors.NotDevpiError, "JSON that is not devpi's"),
        (
            answer(302, {"location": "https://u:p@login.example.org/+login"}),
            errors.NotDevpiError,
            "redirects to https://********@login.example.org/+login (a login page, or another name)",
        ),
        (answer(401, HTML, reason="Unauthorized"), errors.PermissionDeniedError, "an anonymous user do that: GET /"),
        (answer(403, JSON, {"message": "no"}), errors.PermissionDeniedError, "does not let an anonymous user do that"),
        (answer(404, JSON, {"message": "gone"}), errors.NotFoundError, "devpi has no such thing: GET / (gone)"),
        (answer(409, JSON, {"message": "there"}), errors.ConflictError, "devpi refuses: GET / (there)"),
        (answer(400, JSON, {"message": "odd"}), errors.RefusedError, "devpi refuses: GET / (odd)"),
        (answer(413, HTML), errors.TooLargeError, "Raise the limit (role devpi: devpi_max_upload_mb)"),
        (
            answer(429, HTML),
            errors.LoginRefusedError,
            "refuses further logins for a while: too many of them have failed",
        ),
        (answer(500, HTML), errors.ServerFaultError, "A full disk is a usual cause; on the index host look at"),
        (answer(502, HTML, reason="Bad Gateway"), errors.ServerNotReadyError, "in front of it says 502 Bad Gateway"),
        (answer(503, HTML), errors.ServerNotReadyError, "systemctl status devpi.service; journalctl -u devpi.service"),
    ],
)
def test_answers(given: Response, kind: type[errors.DevpiError], message: str) -> None:
    with pytest.raises(kind) as caught:
        Client(Canned(given)).users()
    assert message in str(caught.value)


def test_where_devpi_hides_its_reasons() -> None:
    """In the title when it refuses an upload, in the message otherwise."""
    title = {"message": "\n\n\n", "code": "400 x", "title": "filename 'x' does not contain version '1.0'"}
    with pytest.raises(errors.RefusedError, match=r"filename 'x' does not contain version '1\.0'"):
        Client(Canned(answer(400, JSON, title))).users()
    generic = {"message": "Access was denied to this resource.\n\n\n", "title": "Forbidden"}
    with pytest.raises(errors.PermissionDeniedError, match="Access was denied to this resource"):
        Client(Canned(answer(403, JSON, generic))).users()


def test_login_is_done_once_and_asks_for_json() -> None:
    token = answer(200, JSON, {"result": {"password": "token"}})
    canned = Canned(token, *[answer(200, JSON, {"result": {}})] * 3)
    client = Client(canned, "root", "password")
    for _again in range(3):
        client.users()
    assert [request.path for request in canned.requests] == ["/+login", "/", "/", "/"]
    assert all(request.headers["Accept"] == "application/json" for request in canned.requests)
    # The password goes in the body of the login only, never in an address
    assert "password" not in "".join(request.path for request in canned.requests)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (answer(401, JSON, {"message": "no"}), errors.LoginRefusedError, "the variable devpi_root_password"),
        (answer(200, HTML, b"<form>"), errors.NotDevpiError, "in place of JSON"),
        (answer(401, HTML, b"<form>"), errors.PermissionDeniedError, "log in as root"),
        (answer(200, JSON, {"result": {}}), errors.NotDevpiError, "without a token: is it a devpi server?"),
    ],
)
def test_logins(given: Response, kind: type[errors.DevpiError], message: str) -> None:
    with pytest.raises(kind) as caught:
        Client(Canned(given), "root", "s3cret").users()
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_login_of_others() -> None:
    with pytest.raises(errors.LoginRefusedError) as caught:
        Client(Canned(answer(401, JSON, {})), "devuser", "wrong").users()
    assert "user 'devuser': wrong password, or no such user. Check the parameters username and password" in str(
        caught.value
    )


def test_hashes_and_paths_of_files() -> None:
    links = [
        {"rel": "releasefile", "href": "https://x/sub/a/b/+f/abc/def/p-1.0%2Bl.tar.gz", "hashes": {"sha256": "new"}},
        {"rel": "releasefile", "href": "http://x/a/b/+f/abc/def/q-1.0.tar.gz", "hash_spec": "sha256=old"},
        {"rel": "releasefile", "href": "http://x/a/b/+e/abc/def/r-1.0.tar.gz", "hash_spec": "md5=older"},
    ]
    found = Client(Canned(answer(200, JSON, {"result": {"1.0": {"+links": links}, "2.0": {}}}))).releases("a/b", "p")
    assert [(link.basename, link.sha256, link.path) for link in found["1.0"]] == [
        ("p-1.0+l.tar.gz", "new", "/a/b/+f/abc/def/p-1.0+l.tar.gz"),
        ("q-1.0.tar.gz", "old", "/a/b/+f/abc/def/q-1.0.tar.gz"),
        ("r-1.0.tar.gz", "", "/a/b/+e/abc/def/r-1.0.tar.gz"),
    ]
    assert found["2.0"] == []


def test_a_trigger_that_fails_is_a_warning(tmp_path: Any) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    path.touch()
    reason = "OK, but a trigger plugin failed: https://hook:token@jenkins.example.org/ said 500"
    with path.open("rb") as file:
        warning = Client(Canned(answer(200, reason=reason))).upload("a/b", "file_upload", [], file, path.name)
    assert warning == "OK, but a trigger plugin failed: https://********@jenkins.example.org/ said 500"


def test_many_passwords_are_tried_at_once_and_given_back_in_order() -> None:
    fake = FakeDevpi("password")
    fake.passwords.update({f"user{number}": str(number) for number in range(20)})
    logins = [(f"user{number}", str(number if number % 2 else -1)) for number in range(20)]
    assert Client(fake).passwords_are(logins) == [bool(number % 2) for number in range(20)]


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [("volatil", ["volatile", "bases"], " Did you mean 'volatile'?"), ("x", ["volatile"], "")],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    assert errors.nearest(name, known) == hint
