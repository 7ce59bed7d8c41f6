"""Runs devpi-server on the socket that systemd listens on: a restart refuses no connection.

Tells systemd when requests are answered, and finishes those that it has when systemd stops it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import waitress
from devpi_server.main import CommandRunner, _main
from waitress.server import create_server

from pyindex_devpi import disk, documentation, generations, logins, mirrors, pages, passwords, releases

# The first socket that systemd passes (sd_listen_fds(3))
LISTEN_FD = 3
# waitress must not open sockets of its own
OWN_SOCKETS = ("host", "port", "listen", "unix_socket", "unix_socket_perms")


class Service:
    """devpi-server's web server, in place of ``waitress.serve``."""

    def __init__(self, stop_seconds: float) -> None:
        """Wait up to *stop_seconds* for requests to finish when the service stops."""
        self._stop_seconds = stop_seconds
        self._dispatcher: waitress.task.ThreadedTaskDispatcher | None = None

    def serve(self, app: disk.Application, **settings: object) -> None:
        """Serve the WSGI application *app* with the *settings* of waitress, until the process ends."""
        for name in OWN_SOCKETS:
            settings.pop(name, None)
        server = create_server(disk.guarded(app), sockets=[socket.socket(fileno=LISTEN_FD)], **settings)
        self._dispatcher = server.task_dispatcher
        notify("READY=1")
        server.run()

    def stop(self, *_: object) -> None:
        """Finish the requests that are being answered, then end devpi-server: a handler of SIGTERM."""
        notify("STOPPING=1")
        if self._dispatcher is not None:
            self._dispatcher.shutdown(cancel_pending=True, timeout=self._stop_seconds)
        raise KeyboardInterrupt


def notify(state: str) -> None:
    """Tell systemd the *state* of the service (sd_notify(3)); nothing where no systemd asks."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


if __name__ == "__main__":
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        sys.exit("systemd has passed no socket: start this as the service")
    service = Service(float(os.environ.get("PYINDEX_STOP_SECONDS", "30")))
    waitress.serve = service.serve
    signal.signal(signal.SIGTERM, service.stop)
    with CommandRunner() as runner:
        for plugin in (disk, documentation, generations, logins, mirrors, pages, passwords, releases):
            runner.pluginmanager.register(plugin)
        runner.return_code = _main(runner.pluginmanager, ["devpi-server", *sys.argv[1:]])
    # After a regular end it is no number
    sys.exit(runner.return_code if isinstance(runner.return_code, int) else 0)
