"""What the benchmark's client sends and reads."""

from __future__ import annotations

import email
import http.server
import threading
from collections.abc import Iterator
from email.message import Message

import pytest

from tests.bench.peers.host.clients import Client, ClientError, basic, form, links, login_of


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = f"{self.client_address[0]} {self.headers['Authorization']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Type", self.headers["Accept"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_details: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


def test_requests_come_from_the_given_address_with_the_login(server: str) -> None:
    with Client(server, basic("reader", "secret"), source="127.3.2.1") as client:
        answer = client.get(f"{server}simple/?a=b", accept="text/html")
    assert (answer.status, answer.media_type) == (200, "text/html")
    assert answer.content == b"127.3.2.1 Basic cmVhZGVyOnNlY3JldA== /simple/?a=b"


def test_no_answer_is_an_error_that_says_to_what() -> None:
    with (
        Client("http://127.0.0.1:1/") as client,
        pytest.raises(ClientError, match=r"GET http://127\.0\.0\.1:1/simple/"),
    ):
        client.request("GET", "http://127.0.0.1:1/simple/")


def test_uploads_are_forms_with_the_file() -> None:
    body, media_type = form({":action": "file_upload"}, "a-1-py3-none-any.whl", b"\x00\r\n--content")
    message: Message = email.message_from_bytes(f"Content-Type: {media_type}\r\n\r\n".encode() + body)
    action, content = (part for part in message.walk() if not part.is_multipart())
    assert action.get_param("name", header="Content-Disposition") == ":action"
    assert action.get_payload() == "file_upload"
    assert content.get_filename() == "a-1-py3-none-any.whl"
    assert content.get_payload(decode=True) == b"\x00\r\n--content"


def test_links_are_absolute() -> None:
    page = b'<a href="../../packages/a%201.whl#sha256=00">a 1.whl</a><a>none</a><a\nhref="/b.whl">b</a>'
    assert links(page, "https://index.test/root/simple/a/") == {
        "a%201.whl": "https://index.test/root/packages/a%201.whl#sha256=00",
        "b.whl": "https://index.test/b.whl",
    }


def test_login_can_be_read_back() -> None:
    assert login_of(basic("reader", "with:colon")) == ("reader", "with:colon")
    assert login_of({}) == ("", "")
