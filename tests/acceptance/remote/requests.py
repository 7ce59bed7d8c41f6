"""Runs on a host of the fleet, read from standard input: sends HTTP requests exactly as they are written.

Python >= 3.9 and its standard library only. Unlike curl it leaves every path as it is and needs no package.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

KEPT_BYTES = 256 * 1024


def main(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Send ``requests`` and return an answer to each: status, reason, headers, body (its beginning), length, sha256,
    seconds; or ``error``. ``parallel`` at a time. ``authority`` (PEM) is trusted besides the system's CAs."""
    context = ssl.create_default_context()
    if job["authority"]:
        context.load_verify_locations(cadata=job["authority"])
    with ThreadPoolExecutor(job["parallel"]) as pool:
        return list(pool.map(lambda request: _timed(request, context), job["requests"]))


def _timed(request: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    start = time.monotonic()
    try:
        answer = _send(request, context)
    except (OSError, http.client.HTTPException) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    answer["seconds"] = time.monotonic() - start
    return answer


def _send(request: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    source = (request["source"], 0) if request["source"] else None
    raw = socket.create_connection((request["address"], request["port"]), request["timeout"], source)
    with context.wrap_socket(raw, server_hostname=request["name"]) if request["tls"] else raw as connection:
        client = http.client.HTTPConnection(request["name"])
        client.sock = connection
        body = base64.b64decode(request["body"]) if request["body"] is not None else b""
        client.putrequest(request["method"], request["target"], skip_host=True, skip_accept_encoding=True)
        client.putheader("Host", request["host"])
        for name, value in request["headers"]:
            client.putheader(name, value)
        if request["login"]:
            client.putheader("Authorization", "Basic " + base64.b64encode(":".join(request["login"]).encode()).decode())
        if request["body"] is not None or request["announced"]:
            client.putheader("Content-Length", str(request["announced"] or len(body)))
        client.putheader("Connection", "close")
        try:
            client.endheaders()
            if body:
                client.send(body)
        except (BrokenPipeError, ConnectionResetError):
            # Refused before all was sent: the answer may be there nevertheless
            pass
        if request["hang_up"]:
            return {"error": "hung up"}
        if request["hold_seconds"]:
            time.sleep(request["hold_seconds"])
        return _read(client.getresponse())


def _read(response: http.client.HTTPResponse) -> dict[str, Any]:
    digest, length, kept = hashlib.sha256(), 0, b""
    while True:
        chunk = response.read(2**18)
        if not chunk:
            break
        digest.update(chunk)
        length += len(chunk)
        kept += chunk[: max(0, KEPT_BYTES - len(kept))]
    return {
        "status": response.status,
        "reason": response.reason,
        "headers": response.getheaders(),
        "body": base64.b64encode(kept).decode(),
        "length": length,
        "sha256": digest.hexdigest(),
    }
