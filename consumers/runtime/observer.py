"""What a consumer reports of its work while it is at it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from consumers.broker.verdict import Verdict
from consumers.runtime.call_summary import current_summary
from events.keys import AudioId, BatchId


class Observer:
    """Receives one route's figures, from any of its threads.

    This one only adds to the summary of the call under way, for its log lines; a
    subclass keeps figures, and extends `step_took` and `recording_ended`. A method
    must neither raise nor block.
    """

    def turned(self) -> None:
        """The connection's thread is alive, and no work thread has died."""

    def connected(self, *, to_broker: bool) -> None:
        """The broker was reached, or lost."""

    def in_hand(self, deliveries: int) -> None:
        """So many deliveries are taken and not settled."""

    def settled(self, verdict: Verdict, seconds: float) -> None:
        """The broker knows of a verdict; the delivery was in work for ``seconds``."""

    def step_took(self, step: str, seconds: float) -> None:
        """A step of the work ended, done or failed; metrics and log lines call it ``stage``."""
        if summary := current_summary():
            summary.add_step(step, seconds)

    def batch_known(self, batch: BatchId) -> None:
        """The archive in work stands for ``batch``, which its key need not name."""
        if summary := current_summary():
            summary.add_batch(batch)

    def recording_ended(self, audio: AudioId, state: str, seconds: float) -> None:
        """A recording, of so many seconds (0 if rejected), is as far as this route brings it."""
        if summary := current_summary():
            summary.add_recording(audio, state, seconds)

    def model_filled(self, ratio: float) -> None:
        """A batch of the model was full to this share, from 0 to 1."""

    def batch_completed(self, seconds: float) -> None:
        """A batch is complete, ``seconds`` after it was dropped."""

    def store_failed(self) -> None:
        """The store was away, or refused."""


#: Keeps no figures.
SILENT = Observer()


@contextmanager
def step(observer: Observer, name: str) -> Iterator[None]:
    """Time a step of the work: the block."""
    started = time.monotonic()
    try:
        yield
    finally:
        observer.step_took(name, time.monotonic() - started)
