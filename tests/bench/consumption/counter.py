"""Counting of messages in a handler."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a consumer did.

    Attributes:
        count: How many messages its handler was given.
        distinct: How many different keys were in them.
        seconds: From the first to the last.
    """

    count: int
    distinct: int
    seconds: float


class DeliveryCounter:
    """Counts messages in the handler's thread."""

    def __init__(self, expected: int, full: Callable[[], object] = lambda: None) -> None:
        self._expected = expected
        self._full = full
        self._keys: set[str] = set()
        self._count = 0
        self._begin = self._end = 0.0

    def add(self, key: str) -> None:
        """Count a message by the key of its object."""
        if not self._count:
            self._begin = time.perf_counter()
        self._count += 1
        self._keys.add(key)
        if self.is_full:
            self._end = time.perf_counter()
            self._full()

    @property
    def is_full(self) -> bool:
        """Whether all were there."""
        return self._count >= self._expected

    @property
    def taken(self) -> Consumed:
        """Sum up."""
        return Consumed(self._count, len(self._keys), self._end - self._begin)
