"""Serving metrics and health over HTTP, from threads that no work waits for."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from consumers.errors import ConfigurationError
from ops.observe.metrics.liveness import ProcessHealth
from ops.wiring.settings import Address

#: Seconds without data after which a client's thread ends.
_PATIENCE = 10

#: Seconds between two checks whether to stop.
_POLL = 0.1


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Without it, a restarted consumer would find its port in use.
    allow_reuse_address = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Bind without a DNS lookup of this host's name, which can be slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a client's connection."""


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def address_string(self) -> str:
        """Return the client's address, without a DNS lookup of its name."""
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: scrapes are frequent."""


def make_app(registry: CollectorRegistry, process: ProcessHealth) -> WSGIApplication:
    """Make the WSGI application: ``/metrics``, ``/healthz`` and ``/readyz``, for GET only.

    The latter two list troubles with status 503, or answer 200 if there are none.
    """
    metrics: WSGIApplication = make_wsgi_app(registry)
    statuses = {"/healthz": lambda: process.troubles, "/readyz": lambda: process.unready}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path != "/metrics" and path not in statuses:
            return _say(start_response, "404 Not Found", [" ".join(("/metrics", *statuses))])
        if environ["REQUEST_METHOD"] != "GET":
            return _say(start_response, "405 Method Not Allowed", ["GET only"], ("Allow", "GET"))
        if path == "/metrics":
            return metrics(environ, start_response)
        troubles = statuses[path]()
        status = "503 Service Unavailable" if troubles else "200 OK"
        return _say(start_response, status, troubles)

    return app


def _say(
    start_response: StartResponse, status: str, lines: Sequence[str], *headers: tuple[str, str]
) -> Iterable[bytes]:
    content = "".join(f"{line}\n" for line in lines or ["ok"]).encode()
    sizes = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))]
    start_response(status, [*sizes, *headers])
    return [content]


@contextmanager
def serving(
    address: Address, registry: CollectorRegistry, process: ProcessHealth
) -> Iterator[Address]:
    """Serve while the block runs; gives the address, with the real port for port 0.

    Raises:
        ConfigurationError: The address is in use or invalid.
    """
    kind = _SixServer if ":" in address.host else _Server
    try:
        server = kind((address.host, address.port), _Handler)
    except OSError as exc:
        raise ConfigurationError(
            f"METRICS_ADDRESS={str(address)!r} cannot be listened on: {exc.strerror or exc}"
        ) from exc
    server.set_app(make_app(registry, process))
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL,), name="metrics", daemon=True
    )
    thread.start()
    try:
        yield Address(address.host, server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
