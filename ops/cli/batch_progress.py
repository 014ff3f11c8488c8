"""How far a batch is, and waiting until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consumers.database.batches import BatchRepository
from consumers.database.rows import Batch, BatchState
from events.keys import BatchId

#: Seconds between two queries.
_INTERVAL = 0.3


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is, in numbers of recordings.

    Attributes:
        row: None until the batch's event arrives.
        counts: By state.
        stalled: Those of the unfinished ones that need an operator.
        flagged: Those that a policy flags.
    """

    batch: BatchId
    row: Batch | None
    counts: Mapping[str, int]
    unfinished: int
    stalled: int
    flagged: int

    @property
    def state(self) -> BatchState | str:
        """The batch's state; ``stalled`` if it needs an operator."""
        if self.row is None:
            return "waiting"
        if self.row.announced_at is not None:
            return self.row.state
        is_at_rest = self.stalled > 0 and self.stalled == self.unfinished
        if self.row.stalled or (self.row.sealed_at and is_at_rest):
            return "stalled"
        if self.row.state == "transcribing" and self.unfinished == self.counts.get("transcribed"):
            return "moderating"
        return self.row.state

    @property
    def is_over(self) -> bool:
        """Whether the batch will not change any more without an operator."""
        return self.state in {"complete", "failed", "stalled"}

    @property
    def found(self) -> int:
        """Recordings known so far; all of them once the batch is sealed."""
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        """Recordings that are done."""
        return self.found - self.unfinished


def look(database: BatchRepository, batch: BatchId) -> BatchProgress:
    """Query how far a batch is."""
    row = database.batch(batch)
    if row is None:
        return BatchProgress(batch, None, {}, 0, 0, 0)
    counts = database.counts(batch)
    unfinished, stalled = database.unfinished(batch)
    flagged = database.flagged(batch) if row.is_moderated else 0
    return BatchProgress(batch, row, counts, unfinished, stalled, flagged)


def follow_batch(
    database: BatchRepository, batch: BatchId, show: Callable[[BatchProgress], None]
) -> BatchProgress:
    """Query the batch until it is over, and call ``show`` each time."""
    while True:
        progress = look(database, batch)
        show(progress)
        if progress.is_over:
            return progress
        time.sleep(_INTERVAL)
