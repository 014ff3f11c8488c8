"""A consumer: deliveries in, verdicts out."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from consumers.broker.inbox import Inbox
from consumers.broker.verdict import Ack
from consumers.errors import ConfigurationError, TransientError
from consumers.runtime.handler import Handler
from consumers.runtime.observer import SILENT, Observer
from consumers.runtime.retry_policy import RETRY_DELAYS
from consumers.runtime.worker import Worker
from consumers.runtime.worker_pool import WorkerPool
from events.routes import Route


class OpenInbox(Protocol):
    """Connects to the broker."""

    def __call__(self, *, prefetch: int) -> Inbox:
        """Open an inbox that holds at most ``prefetch`` deliveries at a time."""


#: Seconds to wait for deliveries and settlements before looking at `Stop` again.
_POLL = 0.2

#: The same while only work in hand is to be finished.
_POLL_AT_END = 0.05

#: Seconds between the first two attempts to connect, doubled each time, and the maximum.
_BACKOFF = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class Stop:
    """How a consumer is asked to end: to finish what is in hand, or to give that back ``now``."""

    asked: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)


class Loop:
    """Feeds one route's handler until it is asked to stop.

    Args:
        route: Whose deliveries.
        handler: Does the work; it has to report to the same observer.
        open_inbox: Connects to the broker.
        log: A structlog logger.
        workers: How many threads call the handler.
        drain_seconds: How long work in hand may take to finish once asked to stop.
        delays: Seconds to wait after each failed attempt.
        observer: Receives the figures.
    """

    def __init__(
        self,
        *,
        route: Route,
        handler: Handler,
        open_inbox: OpenInbox,
        log: Any,
        workers: int = 1,
        drain_seconds: float = 30.0,
        delays: tuple[float, ...] = RETRY_DELAYS,
        observer: Observer = SILENT,
    ) -> None:
        self._open_inbox = open_inbox
        self._log = log.bind(route=route.name)
        self._drain_seconds = drain_seconds
        self._observer = observer
        worker = Worker(handler=handler, log=self._log, delays=delays)
        self._workers = WorkerPool(worker, workers, route.name)

    def run(self, stop: Stop) -> None:
        """Consume until asked to stop; reconnect as often as it takes.

        Raises:
            BaseException: What ended a work thread: a fault of this program's,
                after which only a new process can be trusted.
        """
        with self._workers:
            pause = _BACKOFF[0]
            while not stop.asked.is_set():
                self._await_workers(stop)
                connected = time.monotonic()
                try:
                    self._consume(stop)
                except TransientError as exc:
                    if time.monotonic() - connected > _BACKOFF[1]:
                        pause = _BACKOFF[0]
                    self._log.warning("broker lost", error=str(exc), retry_in=pause)
                    # Deliveries not begun come again on the next connection.
                    self._workers.withdraw()
                    self._wait(stop, pause)
                    pause = min(pause * 2, _BACKOFF[1])

    def _await_workers(self, stop: Stop) -> None:
        """Wait for work whose delivery was lost: new deliveries would only wait behind it."""
        if self._workers.is_busy:
            self._log.info("finishing what is in work before more is taken")
        while self._workers.is_busy and not stop.asked.wait(_POLL):
            self._turn()

    def _wait(self, stop: Stop, seconds: float) -> None:
        """Wait before the broker is asked again."""
        deadline = time.monotonic() + seconds
        self._turn()
        while (left := deadline - time.monotonic()) > 0 and not stop.asked.wait(min(left, _POLL)):
            self._turn()

    def _turn(self) -> None:
        self._workers.check()
        self._observer.turned()

    def _consume(self, stop: Stop) -> None:
        self._turn()
        inbox = self._open_inbox(prefetch=self._workers.capacity)
        self._log.info("consuming", prefetch=self._workers.capacity)
        self._observer.connected(to_broker=True)
        try:
            while not stop.asked.is_set():
                self._workers.submit(inbox.drain(_POLL, self._workers.waker))
                self._settle_finished(inbox)
            self._wind_down(inbox, stop)
        except ConfigurationError:
            # No delivery is to blame, and the next process may fail in the same way.
            with suppress(TransientError):
                inbox.cancel()
                self._give_back(inbox)
            raise
        finally:
            self._observer.connected(to_broker=False)
            self._observer.in_hand(0)
            try:
                inbox.close()
            except TransientError as exc:
                self._log.info("broker lost while closing", error=str(exc))

    def _settle_finished(self, inbox: Inbox) -> None:
        self._turn()
        # A delivery of a connection that broke comes again on the new one.
        finished = [each for each in self._workers.finished() if each.delivery in inbox.in_hand]
        done = [each for each in finished if isinstance(each.verdict, Ack)]
        inbox.acknowledge([each.delivery for each in done])
        for each in done:
            self._observer.settled(each.verdict, each.seconds)
        for each in finished:
            if not isinstance(each.verdict, Ack):
                inbox.settle(each.delivery, each.verdict, datetime.now(UTC))
                self._observer.settled(each.verdict, each.seconds)
        self._observer.in_hand(len(inbox.in_hand))

    def _wind_down(self, inbox: Inbox, stop: Stop) -> None:
        """Finish work that is begun, give back the rest, in bounded time."""
        inbox.cancel()
        for delivery in self._workers.withdraw():
            inbox.give_back(delivery)
        deadline = time.monotonic() + self._drain_seconds
        while inbox.in_hand and time.monotonic() < deadline and not stop.now.is_set():
            for delivery in inbox.drain(_POLL_AT_END, self._workers.waker):
                inbox.give_back(delivery)
            self._settle_finished(inbox)
        self._give_back(inbox)

    def _give_back(self, inbox: Inbox) -> None:
        for delivery in tuple(inbox.in_hand):
            inbox.give_back(delivery)
