"""The threads that work on deliveries, and the hand-over to them and back."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from consumers.broker.delivery import Delivery
from consumers.broker.waker import Waker
from consumers.runtime.worker import Settlement, Worker

#: Seconds to wait for more deliveries to fill a group.
_LINGER = 0.2


class WorkerPool:
    """Threads that turn deliveries into settlements. Its methods belong to one other thread.

    Args:
        worker: Does the work, in groups.
        size: How many threads.
        name: What their names begin with.

    Attributes:
        waker: Wakes the owner for `check` and `finished`, from `__enter__` on.
    """

    def __init__(self, worker: Worker, size: int, name: str) -> None:
        self._worker = worker
        self._waiting = Arrivals()
        self._finished: queue.SimpleQueue[Sequence[Settlement]] = queue.SimpleQueue()
        self._at_work: set[int] = set()
        self._fault: BaseException | None = None
        self._threads = [
            # Daemons: a handler that hangs must not keep the process alive.
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True)
            for n in range(size)
        ]
        self.waker: Waker

    def __enter__(self) -> Self:
        self.waker = Waker()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.close()
        self.waker.close()

    @property
    def capacity(self) -> int:
        """The most deliveries that are in work at a time."""
        return len(self._threads) * self._worker.group

    @property
    def is_busy(self) -> bool:
        """Whether any thread is at work."""
        return bool(self._at_work)

    def submit(self, deliveries: Sequence[Delivery]) -> None:
        """Have deliveries worked on."""
        self._waiting.put(deliveries)

    def withdraw(self) -> list[Delivery]:
        """Take back the deliveries on which no thread has begun."""
        return self._waiting.clear()

    def finished(self) -> list[Settlement]:
        """Collect the settlements since the last call."""
        self.waker.clear()
        settlements: list[Settlement] = []
        with suppress(queue.Empty):
            while True:
                settlements += self._finished.get_nowait()
        return settlements

    def check(self) -> None:
        """Make sure that all threads live.

        Raises:
            BaseException: What ended one: a fault of this program's, after which only
                a new process can be trusted.
        """
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        try:
            while group := self._waiting.take(self._worker.group, _LINGER):
                self._at_work.add(threading.get_ident())
                self._finished.put(self._worker.work(group))
                self.waker.wake()
                self._at_work.discard(threading.get_ident())
        except BaseException as exc:
            # The owner raises it, rather than wait for settlements for ever.
            self._fault = exc
            self.waker.wake()


class Arrivals:
    """Deliveries that wait for a thread: one thread puts them, others take them in groups.

    Ours instead of `queue.Queue`, which wakes a thread for each of them: that takes
    longer than to read a delivery.
    """

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Add deliveries that arrived together."""
        if deliveries:
            with self._changed:
                self._waiting.extend(deliveries)
                self._changed.notify_all()

    def take(self, most: int, linger: float) -> list[Delivery]:
        """Wait for at least one delivery, and then ``linger`` seconds for a group of ``most``.

        Returns none once closed.
        """
        with self._changed:
            while not self._is_closed:
                self._changed.wait_for(lambda: self._has(1))
                self._changed.wait_for(lambda: self._has(most), linger)
                # Another thread may have taken all meanwhile.
                if self._waiting and not self._is_closed:
                    return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        return []

    def clear(self) -> list[Delivery]:
        """Take all that wait now."""
        with self._changed:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken

    def close(self) -> None:
        """End the threads that take."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has(self, count: int) -> bool:
        return len(self._waiting) >= count or self._is_closed
