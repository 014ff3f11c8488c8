"""Waking a thread that waits for a socket."""

from __future__ import annotations

import socket
import threading


class Waker:
    """A self-pipe: any thread wakes the one that polls it together with other sockets.

    A waking thread first puts its news where the other looks, and the woken thread
    looks after `clear`: so nothing is missed, and many calls of `wake` cost one byte.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._lock = threading.Lock()
        self._is_awake = False
        self._is_closed = False

    def wake(self) -> None:
        """Wake the polling thread; does nothing once closed."""
        with self._lock:
            if not (self._is_awake or self._is_closed):
                self._writer.send(b"\0")
                self._is_awake = True

    def clear(self) -> None:
        """Let the next poll wait again."""
        with self._lock:
            if self._is_awake:
                self._reader.recv(1)
                self._is_awake = False

    def fileno(self) -> int:
        """Readable from `wake` to `clear`, for `select.poll`."""
        return self._reader.fileno()

    def close(self) -> None:
        """Free the sockets; other threads may still call `wake`."""
        with self._lock:
            self._is_closed = True
            self._reader.close()
            self._writer.close()
