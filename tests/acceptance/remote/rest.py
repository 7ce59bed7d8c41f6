"""Runs on a devpi host, read from standard input: speaks to the server by its Unix socket.

Python >= 3.9 and its standard library only.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from typing import Any


class Connection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Server:
    """A devpi server, asked as somebody."""

    def __init__(self, path: str, login: list[str]) -> None:
        self.path = path
        self.claim = base64.b64encode(":".join(login).encode()).decode()

    def ask(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and what the answer's ``result`` or ``message`` is, else its text."""
        connection = Connection(self.path)
        headers = {"Accept": "application/json", "Authorization": f"Basic {self.claim}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        try:
            data = json.loads(text)
        except ValueError:
            return answer.status, text[:2000]
        if not isinstance(data, dict):
            return answer.status, data
        return answer.status, data.get("result", data.get("message", data))


def main(job: dict[str, Any]) -> Any:
    """Send ``requests`` (method, target, body) as ``login`` by ``socket``; return the status and result of each.

    With ``tidy``: remove projects and users whose names begin with ``prefix``, if they are of ``run`` or older than
    ``days``; return the names of those that are still there.
    """
    server = Server(job["socket"], job["login"])
    if job.get("tidy"):
        return _tidy(server, job)
    return [server.ask(*request) for request in job["requests"]]


def _tidy(server: Server, job: dict[str, Any]) -> list[str]:
    left = []
    for user, data in server.ask("GET", "/")[1].items():
        for name, index in data.get("indexes", {}).items():
            if index["type"] == "stage":
                left += _tidy_index(server, f"{user}/{name}", job)
        if user.startswith(job["prefix"]) and (job["run"] in user or _old(str(data.get("created", "")), job["days"])):
            for name in data.get("indexes", {}):
                # One that is not volatile cannot be removed
                server.ask("PATCH", f"/{user}/{name}", ["volatile=True"])
            if server.ask("DELETE", f"/{user}")[0] >= 300:
                left.append(user)
    return left


def _tidy_index(server: Server, index: str, job: dict[str, Any]) -> list[str]:
    left = []
    for project in server.ask("GET", f"/{index}")[1].get("projects", []):
        if not project.startswith(job["prefix"]):
            continue
        if job["run"] not in project and not _old(_uploaded(server, index, project), job["days"]):
            continue
        # `force`: from an index that is not volatile too
        server.ask("DELETE", f"/{index}/{project}?force=yes")
        if project in server.ask("GET", f"/{index}")[1].get("projects", []):
            left.append(f"{index}/{project}")
    return left


def _uploaded(server: Server, index: str, project: str) -> str:
    """When the last file of a project was uploaded (ISO 8601), '' if it has none."""
    moments = [""]
    versions = server.ask("GET", f"/{index}/{project}?ignore_bases=")[1]
    for version in versions.values() if isinstance(versions, dict) else []:
        for link in version.get("+links", []):
            for entry in link.get("log", []):
                year, month, day, *_clock = entry["when"]
                moments.append(f"{year:04}-{month:02}-{day:02}")
    return max(moments)


def _old(moment: str, days: int) -> bool:
    """Whether an ISO 8601 date is more than ``days`` ago; one that is not there is not."""
    then = time.strftime("%Y-%m-%d", time.gmtime(time.time() - (days + 1) * 86400))
    return bool(moment) and moment[:10] < then
