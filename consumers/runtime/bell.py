"""Waking a thread that waits for a socket."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self


class Bell:
    """Rung by any thread; who waits for it has to look again at what it is rung for.

    What is rung for is put where it is found first, and looked for after `hush`: so
    nothing is missed, and many rings cost no more than one.
    """

    def __init__(self) -> None:
        self._ear, self._hand = socket.socketpair()
        self._lock = threading.Lock()
        self._is_ringing = False
        self._is_closed = False

    def ring(self) -> None:
        """Wake who waits; does nothing once it is closed."""
        with self._lock:
            if not (self._is_ringing or self._is_closed):
                self._hand.send(b"\0")
                self._is_ringing = True

    def hush(self) -> None:
        """Let it be rung again."""
        with self._lock:
            if self._is_ringing:
                self._ear.recv(1)
                self._is_ringing = False

    def fileno(self) -> int:
        """Give what can be read from while it rings, for `select.poll`."""
        return self._ear.fileno()

    def close(self) -> None:
        """Take it away, though others may still ring."""
        with self._lock:
            self._is_closed = True
            self._ear.close()
            self._hand.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
