"""Looking at how far a batch is, until nothing more happens to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consumers.database.database import Database
from consumers.database.rows import FINISHED, Batch, BatchState
from events.keys import BatchId

#: Seconds between looks.
_INTERVAL = 0.3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is.

    Attributes:
        batch: Its id.
        row: Its row; None while its event has not arrived.
        counts: Its recordings by state.
        stalled: How many of them do not go on by themselves.
    """

    batch: BatchId
    row: Batch | None
    counts: Mapping[str, int]
    stalled: int

    @property
    def state(self) -> BatchState | str:
        """The batch's state; ``stalled`` where it will not go on by itself."""
        if self.row is None:
            return "waiting"
        unfinished = self.found - self.finished
        if self.row.stalled or (self.row.sealed_at and self.stalled and self.stalled == unfinished):
            return "stalled"
        return self.row.state

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in {"complete", "failed", "stalled"}

    @property
    def found(self) -> int:
        """Recordings known so far; all of them once the batch is sealed."""
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        """Recordings of which nothing is left to do."""
        return sum(number for state, number in self.counts.items() if state in FINISHED)


def look(database: Database, batch: BatchId) -> Progress:
    """Ask how far a batch is."""
    row = database.batch(batch)
    if row is None:
        return Progress(batch, None, {}, 0)
    return Progress(batch, row, database.counts(batch), database.stalled_recordings(batch))


def watch(database: Database, batch: BatchId, show: Callable[[Progress], None]) -> Progress:
    """Look until nothing more happens to the batch; ``show`` is called with each look."""
    while True:
        progress = look(database, batch)
        show(progress)
        if progress.is_over:
            return progress
        time.sleep(_INTERVAL)
