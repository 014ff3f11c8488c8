"""What a consumer tells of its work while it is at it, and to whom.

Consumers know no more than this of those who watch them. What is told is told
once it is so, by whoever did it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from consumers.broker.verdict import Verdict
from events.keys import AudioId, BatchId


class Observer(Protocol):
    """Is told of one route's work, by any of its threads.

    It must neither raise nor keep anybody waiting.
    """

    def turned(self) -> None:
        """Hear that the thread that owns the connection turns, and that no work thread has died."""
        ...

    def connected(self, *, to_broker: bool) -> None:
        """Hear that the broker was reached, or lost."""
        ...

    def in_hand(self, deliveries: int) -> None:
        """Hear how many deliveries were taken and are not settled."""
        ...

    def settled(self, verdict: Verdict, seconds: float) -> None:
        """Hear how a delivery ended, once the broker knows, and how long it was in work."""
        ...

    def stage_took(self, stage: str, seconds: float) -> None:
        """Hear how long a stage of the work took, done or failed."""
        ...

    def batch_known(self, batch: BatchId) -> None:
        """Hear which batch an archive stands for, which its name need not say."""
        ...

    def recording_ended(self, audio: AudioId, state: str, seconds: float) -> None:
        """Hear that a recording is as far as this route brings it.

        Args:
            audio: Which.
            state: ``converted``, ``transcribed``, ``moderated``, ``silent`` or ``rejected``.
            seconds: Of its sound; 0 for one that was rejected.
        """
        ...

    def model_filled(self, ratio: float) -> None:
        """Hear how full a model's batch was, from 0 to 1."""
        ...

    def batch_completed(self, seconds: float) -> None:
        """Hear that a batch is complete, and how long after it was dropped."""
        ...

    def store_failed(self) -> None:
        """Hear that the store was away, or refused."""
        ...


class Silent:
    """Tells nobody."""

    def turned(self) -> None:
        """See `Observer`."""

    def connected(self, *, to_broker: bool) -> None:
        """See `Observer`."""

    def in_hand(self, deliveries: int) -> None:
        """See `Observer`."""

    def settled(self, verdict: Verdict, seconds: float) -> None:
        """See `Observer`."""

    def stage_took(self, stage: str, seconds: float) -> None:
        """See `Observer`."""

    def batch_known(self, batch: BatchId) -> None:
        """See `Observer`."""

    def recording_ended(self, audio: AudioId, state: str, seconds: float) -> None:
        """See `Observer`."""

    def model_filled(self, ratio: float) -> None:
        """See `Observer`."""

    def batch_completed(self, seconds: float) -> None:
        """See `Observer`."""

    def store_failed(self) -> None:
        """See `Observer`."""


#: For whoever has nobody to tell.
SILENT: Observer = Silent()


@contextmanager
def stage(observer: Observer, name: str) -> Iterator[None]:
    """Time a stage of the work: the block."""
    started = time.monotonic()
    try:
        yield
    finally:
        observer.stage_took(name, time.monotonic() - started)
