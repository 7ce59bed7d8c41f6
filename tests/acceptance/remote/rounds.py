"""Runs on a host of the fleet, read from standard input: uploads and reads at once, while others read.

Python >= 3.9 and its standard library only. Connections are kept, as installers keep them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import socket
import ssl
import threading
import time
import zipfile
from typing import Any

BOUNDARY = "pyindex-acceptance-rounds"
JSON = "application/vnd.pypi.simple.v1+json"


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Do ``rounds``: upload a new release to one of ``projects`` (their names) and ask for its page, for the project
    list, and for the file and its metadata, by another connection. ``readers`` threads ask for pages all the while.
    Returns what was ``stale``, what else was wrong (``problems``), how many pages the threads got (``reads``) and how
    many ``seconds`` it took."""
    stop = threading.Event()
    reads: list[int] = [0] * job["readers"]
    problems: list[str] = []
    stale: list[str] = []
    load = [
        threading.Thread(target=_read_on, args=(job, stop, reads, number, problems)) for number in range(job["readers"])
    ]
    for thread in load:
        thread.start()
    start = time.monotonic()
    try:
        writer, readers = Index(job), [Index(job) for _unused in range(4)]
        for number in range(job["rounds"]):
            project = job["projects"][number % len(job["projects"])]
            _round(writer, readers[number % len(readers)], project, number, problems, stale)
    finally:
        stop.set()
        for thread in load:
            thread.join()
    return {"stale": stale, "problems": problems, "reads": sum(reads), "seconds": time.monotonic() - start}


def _round(writer: Index, reader: Index, project: str, number: int, problems: list[str], stale: list[str]) -> None:
    version = f"1.{number}"
    name, content = wheel(project, version)
    status, _headers, text = writer.upload(project, version, name, content)
    if status != 200:
        problems.append(f"{name}: upload {status} {text[:200]!r}")
        return
    # All forms in turn
    headers = {"Accept": JSON if number % 2 else "text/html"}
    if number % 4 > 1:
        headers["Accept-Encoding"] = "gzip"
    status, answered, page = reader.get(f"/simple/{project}/", headers)
    if answered.get("Content-Encoding") == "gzip":
        page = gzip.decompress(page)
    if status != 200 or name.encode() not in page:
        stale.append(f"{name}: page {status}")
    status, _headers, projects = reader.get("/simple/", {"Accept": "text/html"})
    if status != 200 or f'"{project}/"'.encode() not in projects:
        stale.append(f"{project}: list {status}")
    for path, wanted in ((name, content), (f"{name}.metadata", metadata(project, version))):
        status, _headers, found = reader.get(f"/packages/{path}", {})
        if status != 200 or found != wanted:
            stale.append(f"{path}: {status}")


def _read_on(job: dict[str, Any], stop: threading.Event, reads: list[int], number: int, problems: list[str]) -> None:
    index = Index(job)
    while not stop.is_set():
        project = job["projects"][reads[number] % len(job["projects"])]
        status, _headers, _body = index.get(f"/simple/{project}/", {"Accept": JSON})
        # Not there before the first upload
        if status not in (200, 404):
            problems.append(f"{project}: page {status}")
        reads[number] += 1


class Index:
    """A connection to the index that is kept, and made anew when the index ends it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.context = ssl.create_default_context()
        if job["authority"]:
            self.context.load_verify_locations(cadata=job["authority"])
        self.headers = {"Host": job["host"]}
        if job["login"]:
            login = base64.b64encode(":".join(job["login"]).encode()).decode()
            self.headers["Authorization"] = f"Basic {login}"
        self.connection: http.client.HTTPConnection | None = None

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        return self._request("GET", path, None, headers)

    def upload(self, project: str, version: str, name: str, content: bytes) -> tuple[int, Any, bytes]:
        fields = {":action": "file_upload", "protocol_version": "1", "name": project, "version": version}
        fields["sha256_digest"] = hashlib.sha256(content).hexdigest()
        parts = [
            f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()
        ]
        head = f'Content-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content)
        body = (
            b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self._request("POST", "/", body, headers)

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        fields = {**self.headers, **headers}
        try:
            return self._send(method, path, body, fields)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if method != "GET":
                raise
            self.connection = None
            return self._send(method, path, body, fields)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        if self.connection is None:
            raw = socket.create_connection((self.job["address"], self.job["port"]), 60)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = http.client.HTTPConnection(self.job["name"])
            self.connection.sock = self.context.wrap_socket(raw, server_hostname=self.job["name"])
        self.connection.request(method, self.job["path"] + path, body=body, headers=headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.will_close:
            self.connection = None
        return answer.status, answer.headers, content


def metadata(project: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode()


def wheel(project: str, version: str) -> tuple[str, bytes]:
    """File name and content of a small wheel."""
    module = project.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"VALUE = {version!r}\n".encode(),
        f"{info}/METADATA": metadata(project, version),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: acceptance\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    )
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(path, data)
    return f"{module}-{version}-py3-none-any.whl", memory.getvalue()
