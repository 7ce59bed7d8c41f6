"""What is said of the URLs of a real devpi-server, which is asked by a port as applications do."""

from __future__ import annotations

import socket
import socketserver
import threading

from ansible_collections.pyindex.fleet.plugins.module_utils._index_urls import Client, Target, ask
from tests.unit.devpi.conftest import OnReal


class Relay(socketserver.ThreadingTCPServer):
    """Lets a server on a Unix socket be reached by a port."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(("127.0.0.1", 0), Pump)


class Pump(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as inner:
            inner.connect(self.server.path)
            back = threading.Thread(target=self._copy, args=(inner, self.request))
            back.start()
            self._copy(self.request, inner)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_urls_of_a_real_devpi(real: OnReal) -> None:
    real.client().create_index("root/local", {})
    client = Client("", 30)
    with Relay(real.server.socket) as relay:
        serving = threading.Thread(target=relay.serve_forever)
        serving.start()

        def said(use: str, index: str, username: str = "", password: str = "") -> tuple[bool, int]:
            url = f"http://127.0.0.1:{relay.server_address[1]}/{index}/" + ("+simple/" if use == "install" else "")
            answer = ask(client, "devpi", Target(url, use, username, password, login_required=use == "upload"))
            return answer.works, answer.status

        try:
            assert said("install", "root/local") == (True, 200)
            assert said("install", "root/missing") == (False, 404)
            assert said("upload", "root/local") == (True, 401)
            assert said("upload", "root/local", "root", real.password) == (True, 400)
            assert said("upload", "root/local", "root", "wrong") == (False, 401)
            assert said("upload", "root/missing", "root", real.password) == (False, 404)
        finally:
            relay.shutdown()
            serving.join()
    assert real.client().projects("root/local") == []
