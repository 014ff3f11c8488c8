"""A TCP relay, as a network that can be cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

#: Bytes that are passed on at a time.
CHUNK = 1 << 16


class Relay:
    """Relays connections to a port of 127.0.0.1 while it is not cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._passes = threading.Event()
        self._passes.set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._passes.set()
        self.reset()

    def reset(self) -> None:
        """Reset the open connections."""
        with self._lock:
            broken, self._open = self._open, set()
        for each in broken:
            _close(each)

    def cut(self) -> None:
        """Drop all data, and keep connections open."""
        self._passes.clear()

    def mend(self) -> None:
        """Let it pass again."""
        self._passes.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self._start(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        """Reach the target for a client, and see to both until they are through."""
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        ends = {near, far}
        for end in ends:
            # What comes in small pieces goes on in small pieces, and waits for no answer.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= ends
        try:
            self._serve(near, far)
        finally:
            with self._lock:
                self._open -= ends
            for end in ends:
                _close(end)

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        """Relay both directions until both end; subclasses override it."""
        back = self._start(self._pump, far, near)
        self._pump(near, far)
        back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._pass_on(data, sink)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _pass_on(self, data: bytes, sink: socket.socket) -> None:
        self._passes.wait()
        sink.sendall(data)

    def _start(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True, name="relay")
        thread.start()
        return thread


def _close(end: socket.socket) -> None:
    # A thread that waits for it learns of the shutdown, and not of the close.
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
