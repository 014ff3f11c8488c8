"""Telling systemd how this process is: sd_notify(3), and its watchdog."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from ops.observe.metrics.liveness import ProcessHealth

#: Seconds between status lines, and between requests for more time.
_INTERVAL = 5.0

#: Seconds that systemd is asked to wait for a consumer whose broker is away.
_MORE = 60


class Notifier:
    """Sends to the socket on which systemd listens. Nothing goes wrong where it does not.

    Args:
        address: ``NOTIFY_SOCKET``: a path, or ``@NAME`` for an abstract socket; None
            where nobody listens.
        log: A structlog logger.
    """

    def __init__(self, address: str | None, log: Any) -> None:
        self._address = address
        self._log = log
        self._has_failed = False

    def send(self, *assignments: str) -> None:
        """Send ``NAME=VALUE`` assignments as one message; what is in the way is logged once."""
        if self._address is None:
            return
        name = self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                # This process must not wait for systemd's queue.
                client.settimeout(0)
                client.connect("\0" + name[1:] if name.startswith("@") else name)
                client.send("\n".join(assignments).encode())
        except BlockingIOError:
            return
        except OSError as exc:
            if not self._has_failed:
                self._log.warning("systemd can't be told", socket=name, error=str(exc))
            self._has_failed = True


class Supervision:
    """Tells systemd what is to be told, when it is.

    It says that the process is ready once each loop has reached the broker; feeds
    the watchdog as long as no loop hangs or has died, however long work takes and wherever
    the broker is; and says what it is at in a line for ``systemctl status``.

    Args:
        notifier: Leads to systemd.
        vitals: The loops'.
        watchdog: Seconds within which the watchdog is to be fed; None where there is none.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        notifier: Notifier,
        vitals: ProcessHealth,
        *,
        watchdog: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._vitals = vitals
        # Often enough that one that comes late or is lost does not matter.
        self._feeding = None if watchdog is None else _Every(watchdog / 4, clock)
        self._asking = _Every(_INTERVAL, clock)
        self._telling = _Every(_INTERVAL, clock)
        self._is_ready = False
        self._is_stopping = False
        self._status = ""

    def attend(self) -> None:
        """Tell what is to be told now. To be called often, from one thread."""
        is_alive = not self._vitals.troubles
        if self._vitals.is_stopping and not self._is_stopping:
            self._is_stopping = True
            self._tell_now("STOPPING=1")
        elif not self._is_ready and not self._vitals.unready:
            self._is_ready = True
            self._tell_now("READY=1")
        if is_alive and self._feeding is not None and self._feeding.is_due():
            self._notifier.send("WATCHDOG=1")
        if is_alive and not (self._is_ready or self._is_stopping) and self._asking.is_due():
            self._notifier.send(f"EXTEND_TIMEOUT_USEC={_MORE * 1_000_000}")
        if self._vitals.words != self._status and self._telling.is_due():
            self._tell_now()

    def _tell_now(self, *assignments: str) -> None:
        self._status = self._vitals.words
        self._notifier.send(*assignments, f"STATUS={self._status}")


class _Every:
    """Comes due now, and then again and again after so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = clock()

    def is_due(self) -> bool:
        """Tell, and begin anew where it is."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
