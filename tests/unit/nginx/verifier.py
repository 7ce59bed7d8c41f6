"""A verifier that stands for the real one: counts what it is asked, and answers what a test wants, when it wants."""

from __future__ import annotations

import base64
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

STATUS = {204: "No Content", 401: "Unauthorized", 403: "Forbidden", 500: "Internal Server Error"}


@dataclass(frozen=True)
class Question:
    """What nginx asked: about which file, and whose login."""

    file: str
    other_file: str
    login: str


@dataclass
class Verifier:
    """Answers 204 to `logins`, 401 to all others, after `seconds`; or whatever `answer` returns, raw."""

    logins: set[str] = field(default_factory=set)
    seconds: float = 0
    answer: Callable[[Question], bytes] | None = None
    questions: list[Question] = field(default_factory=list)

    def respond(self, question: Question) -> bytes:
        self.questions.append(question)
        time.sleep(self.seconds)
        if self.answer:
            return self.answer(question)
        status = 204 if question.login in self.logins else 401
        return f"HTTP/1.1 {status} {STATUS[status]}\r\nConnection: close\r\n\r\n".encode()


@contextmanager
def verifying(path: Path, verifier: Verifier) -> Iterator[Verifier]:
    """`verifier` on a Unix socket, until the end of the with statement. One at a time, as the real one."""
    turn = threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines = iter(self.rfile.readline, b"\r\n")
            next(lines, b"")
            pairs = (line.decode("latin-1").strip().partition(":") for line in lines if line)
            fields = {name.lower(): value.strip() for name, _colon, value in pairs}
            encoded = fields.get("authorization", "").partition(" ")[2]
            login = base64.b64decode(encoded).decode("latin-1")
            question = Question(fields.get("x-pyindex-file", ""), fields.get("x-pyindex-other-file", ""), login)
            with turn:
                self.wfile.write(verifier.respond(question))

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 1024

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that has gone is none of the test's business."""

    path.unlink(missing_ok=True)
    with Server(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield verifier
        finally:
            server.shutdown()
            path.unlink(missing_ok=True)
