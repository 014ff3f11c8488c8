"""Deliveries that wait for a work thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from consumers.broker.delivery import Delivery


class Arrivals:
    """A queue that is filled by one thread and emptied by others, in groups.

    What arrived together is put together: to wake a thread for each delivery takes longer
    than to read it.
    """

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Add deliveries."""
        if deliveries:
            with self._changed:
                self._waiting.extend(deliveries)
                self._changed.notify_all()

    def take(self, most: int, linger: float) -> list[Delivery]:
        """Wait for deliveries.

        Args:
            most: How many are wanted.
            linger: Seconds to wait for so many, once there is one.

        Returns:
            Them; none once it is closed.
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
        """Take all that waits now."""
        with self._changed:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken

    def close(self) -> None:
        """Let the threads end that take."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has(self, count: int) -> bool:
        return len(self._waiting) >= count or self._is_closed
