"""A consumer: deliveries in, verdicts out.

The thread that owns the broker's connection does no work, and the threads that
work do no broker I/O: long work would starve the connection, and kombu's
connections belong to one thread. Finished deliveries are handed back to the
connection's thread, which ends each by one broker action.

Nothing escapes from a callback or a work thread: kombu takes a handler's
TimeoutError for an idle tick and its OSError for a lost connection.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from consumers.broker.delivery import Delivery
from consumers.broker.inbox import Inbox
from consumers.broker.verdict import Ack
from consumers.broker.waker import Waker
from consumers.errors import ConfigurationError, TransientError
from consumers.runtime.arrivals import Arrivals
from consumers.runtime.call_summary import Accountant
from consumers.runtime.handler import Handler
from consumers.runtime.observer import SILENT
from consumers.runtime.retry_policy import RETRY_DELAYS
from consumers.runtime.worker import Judged, Worker
from events.routes import Route

T = TypeVar("T")


class OpenInbox(Protocol):
    """Connects to the broker."""

    def __call__(self, *, prefetch: int, receive: Callable[[Delivery], None]) -> Inbox:
        """Open an inbox whose deliveries go to ``receive``, at most ``prefetch`` at a time."""
        ...


#: Seconds that the connection's thread waits for deliveries and verdicts before it looks
#: whether it is to end.
_POLL = 0.2

#: Seconds to wait for more deliveries to fill a group.
_LINGER = 0.2

#: Seconds between attempts to connect: doubled each time, up to the last.
_BACKOFF = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class Stop:
    """How a consumer is asked to end.

    Attributes:
        asked: Take nothing new; finish what is in hand.
        now: Give back what is in hand, too.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)


class Loop:
    """Feeds one route's handler until it is asked to stop.

    Args:
        route: Whose deliveries.
        handler: Does the work.
        open_inbox: Connects to the broker.
        log: A structlog logger.
        workers: How many threads call the handler.
        drain_seconds: How long work in hand may take to finish once asked to stop.
        delays: Seconds to wait after each failed attempt.
        accountant: Is told how it goes, and keeps account of what the handler does.
            The handler has to tell the same.
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
        accountant: Accountant | None = None,
    ) -> None:
        self._route = route
        self._handler = handler
        self._open_inbox = open_inbox
        self._log = log.bind(route=route.name)
        self._workers = workers
        self._drain_seconds = drain_seconds
        self._observer = accountant or Accountant(SILENT)
        self._worker = Worker(
            handler=handler, log=self._log, delays=delays, accountant=self._observer
        )
        self._arrivals = Arrivals()
        self._finished: queue.SimpleQueue[Sequence[Judged]] = queue.SimpleQueue()
        self._waker: Waker
        self._broken: BaseException | None = None
        self._at_work: set[int] = set()

    def run(self, stop: Stop) -> None:
        """Consume until ``stop`` is asked for; reconnect as often as it takes.

        Raises:
            BaseException: What ended a work thread: a fault of this program's,
                after which only a new process can be trusted.
        """
        with Waker() as self._waker:
            self._run(stop)

    def _run(self, stop: Stop) -> None:
        threads = [
            # Daemons: a handler that hangs must not keep the process alive.
            threading.Thread(target=self._work, name=f"{self._route.name}-{n}", daemon=True)
            for n in range(self._workers)
        ]
        for thread in threads:
            thread.start()
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
                # What is not begun comes again on the next connection.
                self._arrivals.clear()
                self._wait(stop, pause)
                pause = min(pause * 2, _BACKOFF[1])
        self._arrivals.close()

    def _await_workers(self, stop: Stop) -> None:
        """Let work end whose delivery was lost: what is taken beside it would wait behind it."""
        if self._at_work:
            self._log.info("finishing what is in work before more is taken")
        while self._at_work and not stop.asked.wait(_POLL):
            self._turn()

    def _wait(self, stop: Stop, seconds: float) -> None:
        """Wait before the broker is asked again."""
        deadline = time.monotonic() + seconds
        self._turn()
        while (left := deadline - time.monotonic()) > 0 and not stop.asked.wait(min(left, _POLL)):
            self._turn()

    def _turn(self) -> None:
        self._check_workers()
        self._observer.turned()

    def _consume(self, stop: Stop) -> None:
        prefetch = self._workers * self._handler.group
        self._turn()
        received: list[Delivery] = []
        inbox = self._open_inbox(prefetch=prefetch, receive=received.append)
        self._log.info("consuming", prefetch=prefetch)
        self._observer.connected(to_broker=True)
        try:
            while not stop.asked.is_set():
                self._settle_finished(inbox)
                inbox.keep()
                inbox.drain(_POLL, self._waker)
                self._arrivals.put(received)
                received.clear()
                self._waker.clear()
            self._wind_down(inbox, received, stop)
        except ConfigurationError:
            # No delivery is to blame, and the next process may fail just so.
            with suppress(TransientError):
                inbox.cancel()
                self._give_back(inbox)
            raise
        finally:
            self._observer.connected(to_broker=False)
            self._observer.in_hand(0)
            self._close(inbox)

    def _close(self, inbox: Inbox) -> None:
        try:
            inbox.close()
        except TransientError as exc:
            self._log.info("broker lost while closing", error=str(exc))

    def _settle_finished(self, inbox: Inbox) -> None:
        self._turn()
        # A delivery of a connection that broke comes again on the new one.
        finished = [
            each
            for group in _waiting(self._finished)
            for each in group
            if each.delivery in inbox.in_hand
        ]
        done = [each for each in finished if isinstance(each.verdict, Ack)]
        inbox.acknowledge([each.delivery for each in done])
        self._tell(done)
        for judged in finished:
            if not isinstance(judged.verdict, Ack):
                inbox.settle(judged.delivery, judged.verdict, datetime.now(UTC))
                self._tell([judged])
        self._observer.in_hand(len(inbox.in_hand))

    def _tell(self, settled: Sequence[Judged]) -> None:
        for judged in settled:
            self._observer.settled(judged.verdict, judged.seconds)

    def _check_workers(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _wind_down(self, inbox: Inbox, received: list[Delivery], stop: Stop) -> None:
        """Finish what is begun, give back what is not, in bounded time."""
        inbox.cancel()
        received += self._arrivals.clear()
        deadline = time.monotonic() + self._drain_seconds
        while True:
            # Some may have been on their way.
            while received:
                inbox.give_back(received.pop())
            if not inbox.in_hand or time.monotonic() > deadline or stop.now.wait(0.05):
                break
            self._settle_finished(inbox)
            inbox.keep()
        self._give_back(inbox)

    def _give_back(self, inbox: Inbox) -> None:
        for delivery in tuple(inbox.in_hand):
            inbox.give_back(delivery)

    def _work(self) -> None:
        try:
            while group := self._arrivals.take(self._handler.group, _LINGER):
                self._at_work.add(threading.get_ident())
                self._finished.put(self._worker.judged(group))
                self._waker.wake()
                self._at_work.discard(threading.get_ident())
        except BaseException as exc:
            # The connection's thread raises it, rather than wait for verdicts for ever.
            self._broken = exc
            self._waker.wake()


def _waiting(things: queue.SimpleQueue[T]) -> Iterator[T]:
    """Take what waits in a queue now."""
    with suppress(queue.Empty):
        while True:
            yield things.get_nowait()
