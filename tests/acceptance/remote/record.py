"""Runs on a host of the fleet, read from standard input: an HTTP server that answers every request with the same status
and says afterwards what it was asked."""

from __future__ import annotations

import base64
import http.server
import time
from typing import Any


def main(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Listen on ``port`` until ``requests`` have come or ``seconds`` are over, answer each with ``status``; return their
    method, path, headers and body."""
    seen: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            text = base64.b64encode(body).decode()
            seen.append({"method": self.command, "path": self.path, "headers": headers, "body": text})
            self.send_response(job["status"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: standard output is the answer."""

    end = time.monotonic() + job["seconds"]
    with http.server.HTTPServer(("", job["port"]), Handler) as server:
        server.timeout = 0.2
        while len(seen) < job["requests"] and time.monotonic() < end:
            server.handle_request()
    return seen
