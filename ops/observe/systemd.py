"""Reporting to systemd: sd_notify(3) and the watchdog.

The package sdnotify would do less: it blocks while systemd's queue is full, and either
ignores every error or raises it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from ops.observe.metrics.liveness import ProcessHealth

#: Seconds between two status lines, and between two requests for more time to start.
_INTERVAL = 5.0

#: Seconds that systemd is asked to wait longer for a consumer without a broker.
_MORE = 60


class Notifier:
    """Sends messages to systemd's socket, and never fails.

    Args:
        address: ``NOTIFY_SOCKET``: a path, or ``@NAME`` for an abstract socket; None
            if systemd does not listen.
        log: A structlog logger.
    """

    def __init__(self, address: str | None, log: Any) -> None:
        self._address = address
        self._log = log
        self._has_failed = False

    def send(self, *assignments: str) -> None:
        """Send ``NAME=VALUE`` assignments as one message; only the first error is logged."""
        if self._address is None:
            return
        name = self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                # A consumer must not wait while systemd's queue is full.
                client.settimeout(0)
                client.connect("\0" + name[1:] if name.startswith("@") else name)
                client.send("\n".join(assignments).encode())
        except BlockingIOError:
            return
        except OSError as exc:
            if not self._has_failed:
                self._log.warning("cannot notify systemd", socket=name, error=str(exc))
            self._has_failed = True


class Supervision:
    """Reports the state of the process to systemd.

    The process is ready once each loop has connected to the broker. The watchdog is fed
    while no loop hangs or has died, however long work takes and even without a broker.
    A status line for ``systemctl status`` says what the loops are doing.

    Args:
        notifier: Sends to systemd.
        process: The state of the process.
        watchdog: The watchdog's timeout in seconds; None without a watchdog.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        notifier: Notifier,
        process: ProcessHealth,
        *,
        watchdog: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._process = process
        # Often enough that a late or lost message does no harm.
        self._feeding = None if watchdog is None else _Every(watchdog / 4, clock)
        self._asking = _Every(_INTERVAL, clock)
        self._reporting = _Every(_INTERVAL, clock)
        self._is_ready = False
        self._is_stopping = False
        self._status = ""

    def attend(self) -> None:
        """Send what is due. To be called often, from one thread."""
        is_alive = not self._process.troubles
        if self._process.is_stopping and not self._is_stopping:
            self._is_stopping = True
            self._report("STOPPING=1")
        elif not self._is_ready and not self._process.unready:
            self._is_ready = True
            self._report("READY=1")
        if is_alive and self._feeding is not None and self._feeding.is_due():
            self._notifier.send("WATCHDOG=1")
        if is_alive and not (self._is_ready or self._is_stopping) and self._asking.is_due():
            self._notifier.send(f"EXTEND_TIMEOUT_USEC={_MORE * 1_000_000}")
        if self._process.summary != self._status and self._reporting.is_due():
            self._report()

    def _report(self, *assignments: str) -> None:
        self._status = self._process.summary
        self._notifier.send(*assignments, f"STATUS={self._status}")


class _Every:
    """A timer that is due at once, and then at intervals."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = clock()

    def is_due(self) -> bool:
        """Whether the timer is due; if so, the next interval begins."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
