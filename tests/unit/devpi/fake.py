"""A devpi server in memory, as far as the modules use one. The same tests run against it and against a real one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from email.parser import BytesParser
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.pyindex.fleet.plugins.module_utils import _devpi_index as ix
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import normalize_project
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_transport import Request, Response

# What devpi-jenkins adds to each index
PLUGIN_DEFAULTS = {"uploadtrigger_jenkins": None}


class Answer(Exception):  # noqa: N818 - it ends the work on a request, whatever it says
    """The answer to a request."""

    def __init__(self, status: int, message: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.status, self.message, self.result = status, message, result


class FakeDevpi:
    """Answers requests; ``requests`` are those that it got, ``failing`` a part of a path that ends in status 500."""

    address = "fake"

    def __init__(self, password: str) -> None:
        self.passwords: dict[str, str | None] = {"root": password}
        self.users: dict[str, dict[str, Any]] = {"root": {"username": "root", "indexes": {}}}
        # By index, project, version: files as devpi lists them
        self.releases: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
        self.requests: list[str] = []
        self.failing = ""
        self.plugins = {"devpi-server": "6.20.3", "devpi-jenkins": "3.0.1", "devpi-constrained": "2.1.0"}

    def send(self, request: Request) -> Response:
        url = urlsplit(request.path)
        path = unquote(url.path)
        self.requests.append(f"{request.method} {path}")
        body = b"".join(request.body) if request.body else b""
        try:
            if self.failing and self.failing in f"{request.method} {path}":
                raise Answer(500, "Internal Server Error")
            self.answer(request, path, url.query, body)
        except Answer as answer:
            content = {"message": answer.message, "result": answer.result}
            headers = {"content-type": "application/json"}
            return Response(answer.status, answer.message or "OK", headers, json.dumps(content).encode())
        raise AssertionError(request)

    def user_of(self, request: Request) -> str:
        name, _colon, secret = base64.b64decode(request.headers.get("X-Devpi-Auth", "Og==")).decode().partition(":")
        return name if secret and secret in (f"token of {name}", self.passwords.get(name)) else ""

    def answer(self, request: Request, path: str, query: str, body: bytes) -> None:
        user = self.user_of(request)
        parts = [part for part in path.split("/") if part]
        if path == "/+login":
            asked = json.loads(body)
            if self.passwords.get(asked["user"]) != asked["password"] or asked["password"] is None:
                raise Answer(401, "user could not be authenticated")
            raise Answer(200, result={"password": f"token of {asked['user']}"})
        if path == "/+api":
            raise Answer(200, result={"authstatus": ["ok" if user else "noauth", user, []]})
        if path == "/+status":
            raise Answer(200, result={"role": "MASTER", "serial": 1, "uuid": "fake", "versioninfo": self.plugins})
        if not parts:
            raise Answer(200, result=self.users)
        if "+f" in parts:
            self.file(request.method, user, parts, query)
        if len(parts) == 1:
            self.user(request.method, user, parts[0], body)
        name = "/".join(parts[:2])
        if len(parts) == 2:
            self.index(request, user, name, body)
        self.release(request.method, user, name, parts[2:], query)

    # -- users

    def user(self, method: str, user: str, name: str, body: bytes) -> None:
        fields = json.loads(body or b"{}")
        if user != "root" and not (user == name and method == "PATCH" and set(fields) == {"password"}):
            raise Answer(403, "Access was denied to this resource.")
        if method == "PUT":
            if name in self.users:
                raise Answer(409, "user already exists")
            self.users[name] = {"username": name, "indexes": {}}
            self.passwords[name] = None
        if method in ("PUT", "PATCH"):
            if "password" in fields:
                self.passwords[name] = fields.pop("password")
            self.users[name].update(fields)
            for key in [key for key, value in self.users[name].items() if value == ""]:
                del self.users[name][key]
            raise Answer(200)
        if not all(index["volatile"] for index in self.users[name]["indexes"].values()):
            raise Answer(403, "user has non-volatile index")
        del self.users[name]
        raise Answer(200)

    # -- indexes

    def index(self, request: Request, user: str, name: str, body: bytes) -> None:
        owner, _slash, short = name.partition("/")
        if owner not in self.users:
            raise Answer(404, "no user")
        indexes = self.users[owner]["indexes"]
        if request.method in ("PUT", "PATCH", "DELETE"):
            self.root_only(user)
        if request.method == "PUT":
            self.create(owner, short, json.loads(body))
        if short not in indexes:
            raise Answer(404, f"The stage {name} could not be found.")
        current = indexes[short]
        if request.method == "PATCH":
            indexes[short] = self.checked(current, json.loads(body))
        elif request.method == "DELETE":
            if not current["volatile"]:
                raise Answer(403, f"index {name} non-volatile, cannot delete")
            del indexes[short]
            self.releases.pop(name, None)
        elif request.method == "POST":
            self.post(request, user, name, body)
        raise Answer(200, result={**current, "projects": sorted(self.releases.get(name, {}))})

    def create(self, owner: str, short: str, asked: dict[str, Any]) -> None:
        if short in self.users[owner]["indexes"]:
            raise Answer(409, "index exists")
        kind = asked.pop("type", "stage")
        defaults: dict[str, Any] = {"volatile": True}
        if kind != "mirror":
            defaults.update(bases=[], acl_upload=[owner], acl_toxresult_upload=[":ANONYMOUS:"], mirror_whitelist=[])
        self.users[owner]["indexes"][short] = self.checked({"type": kind, **defaults}, asked)
        raise Answer(200)

    def post(self, request: Request, user: str, name: str, body: bytes) -> None:
        assert request.body
        if request.body.content_type.startswith("multipart/"):
            self.upload(user, name, self.options(name), request.body.content_type, body)
        else:
            self.push(user, name, json.loads(body))

    def root_only(self, user: str) -> None:
        if user != "root":
            raise Answer(403, "Access was denied to this resource.")

    def checked(self, current: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        kind = current["type"]
        if asked.pop("type", kind) != kind:
            raise Answer(400, "the 'type' of an index can't be changed")
        known = {**ix.OPTIONS[kind], "uploadtrigger_jenkins": ix.TEXT}
        unknown = [f"{key}={value}" for key, value in asked.items() if key not in known]
        if unknown:
            raise Answer(400, f"indexconfig got unexpected keyword arguments: {', '.join(unknown)}")
        missing = [base for base in asked.get("bases", []) if not self.has(base)]
        if missing:
            raise Answer(400, f"base index {missing[0]!r} does not exist")
        # As devpi does: options of plugins that are not named fall back to their defaults
        given = {key: value if value is None else ix.normalize(known[key], value) for key, value in asked.items()}
        return {**current, **PLUGIN_DEFAULTS, **given}

    def has(self, name: str) -> bool:
        owner, _slash, short = name.partition("/")
        return short in self.users.get(owner, {}).get("indexes", {})

    def options(self, name: str) -> dict[str, Any]:
        owner, _slash, short = name.partition("/")
        found: dict[str, Any] = self.users[owner]["indexes"][short]
        return found

    # -- releases

    def upload(self, user: str, name: str, options: dict[str, Any], content_type: str, body: bytes) -> None:
        form: dict[str, bytes] = {}
        message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
        filename = ""
        parts: Any = message.get_payload()
        for part in parts:
            key = str(part.get_param("name", header="content-disposition"))
            filename = part.get_filename() or filename
            form[key] = part.get_payload(decode=True)
        if user not in options["acl_upload"]:
            raise Answer(403, "no permission to submit")
        # What the parser takes for the last line break of a part is the file's own where it is binary
        start = body.index(b"\r\n\r\n", body.index(b'name="content"')) + 4
        content = body[start : body.rindex(b"\r\n--")]
        project, version = normalize_project(form["name"].decode()), form["version"].decode()
        rel = "releasefile" if form[":action"] == b"file_upload" else "doczip"
        if rel == "doczip":
            filename = f"{project}-{version}.doc.zip"
        self.store(name, project, version, rel, filename, hashlib.sha256(content).hexdigest())
        raise Answer(200)

    def store(self, name: str, project: str, version: str, rel: str, filename: str, sha256: str) -> None:
        links = self.releases.setdefault(name, {}).setdefault(project, {}).setdefault(version, [])
        for link in [link for link in links if link["href"].endswith("/" + filename)]:
            if not self.options(name)["volatile"]:
                if link["hashes"]["sha256"] == sha256:
                    raise Answer(200, "Upload of identical file to non volatile index.")
                raise Answer(409, f"{filename} already exists in non-volatile index")
            links.remove(link)
        href = f"https://outside.example.org/{name}/+f/{sha256[:3]}/{sha256[3:16]}/{filename}"
        links.append({"rel": rel, "href": href, "hashes": {"sha256": sha256}})

    def push(self, user: str, name: str, asked: dict[str, Any]) -> None:
        target = asked["targetindex"]
        if user not in self.options(target)["acl_upload"]:
            raise Answer(401, f"user {user!r} cannot upload to {target!r}")
        there = self.releases.get(target, {}).get(asked["name"], {}).get(asked["version"], [])
        for link in self.releases[name][asked["name"]][asked["version"]]:
            filename = link["href"].rpartition("/")[2]
            if not self.options(target)["volatile"] and any(one["href"].endswith(filename) for one in there):
                raise Answer(409, f"{filename} already exists in non-volatile index")
            self.store(target, asked["name"], asked["version"], link["rel"], filename, link["hashes"]["sha256"])
        raise Answer(200)

    def release(self, method: str, user: str, name: str, rest: list[str], query: str) -> None:
        if not self.has(name):
            raise Answer(404, f"The stage {name} could not be found.")
        found = self.releases.get(name, {})
        if rest[0] not in found:
            raise Answer(404, f"no project {rest[0]!r}")
        if method == "DELETE":
            self.removable(name, user, query)
            del found[rest[0]][rest[1]]
            raise Answer(200)
        raise Answer(200, result={version: {"+links": links} for version, links in found[rest[0]].items()})

    def file(self, method: str, user: str, parts: list[str], query: str) -> None:
        assert method == "DELETE"
        name = "/".join(parts[:2])
        self.removable(name, user, query)
        for versions in self.releases[name].values():
            for version, links in list(versions.items()):
                links[:] = [link for link in links if not link["href"].endswith("/".join(parts))]
                if not links:
                    del versions[version]
        raise Answer(200)

    def removable(self, name: str, user: str, query: str) -> None:
        if user not in {"root", *self.options(name)["acl_upload"]}:
            raise Answer(403, "Access was denied to this resource.")
        if not self.options(name)["volatile"] and not re.search(r"\bforce\b", query):
            raise Answer(403, "cannot delete version on non-volatile index")
