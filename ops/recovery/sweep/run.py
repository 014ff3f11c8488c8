"""What the parts of one sweep share: servers, report, and how they repair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from consumers.database.batches import BatchRepository
from consumers.database.sweep import SweepRepository
from consumers.documents.manifest import Archive
from consumers.errors import BusyError, PermanentError
from consumers.stages.completion import Completion
from consumers.store import Store
from events.keys import BatchId
from ops.recovery.rebuild.rebuilder import Rebuilder
from ops.recovery.resend import Resender
from ops.recovery.sweep.report import Discrepancy, SweepReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTools:
    """What a sweep works with.

    Attributes:
        store: The bucket.
        database: The tables, as the consumers use them.
        rows: The tables, for comparison with the bucket.
        resender: Sends events again.
        completion: Completes batches.
        rebuilder: Makes a batch's rows from the bucket.
    """

    store: Store
    database: BatchRepository
    rows: SweepRepository
    resender: Resender
    completion: Completion
    rebuilder: Rebuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One sweep.

    Attributes:
        tools: What it works with.
        cutoff: Objects stored after this may still be in work (the store's time).
        began: When the sweep began (the database's time).
        report: What the sweep has found so far.
        is_over: Whether the sweep was asked to stop.
        progress: Called with the report after each page.
        rebuilt: Batches that a dry run would have rebuilt; the rest of it skips them.
    """

    tools: SweepTools
    cutoff: datetime
    began: datetime
    report: SweepReport
    is_over: Callable[[], bool]
    progress: Callable[[SweepReport], None]
    rebuilt: set[BatchId] = field(default_factory=set)

    def rebuild(self, batch: BatchId, archive: Archive | None = None) -> None:
        """Recreate the rows of a batch from the bucket."""
        if self.report.is_dry:
            self.rebuilt.add(batch)
        self.repair(
            Discrepancy.BATCH_UNRECORDED,
            str(batch),
            lambda: self.tools.rebuilder.rebuild(batch, archive),
        )

    def repair(self, kind: Discrepancy, name: str, deed: Callable[[], object]) -> None:
        """Count a discrepancy, and repair it unless this is a dry run.

        A repair that fails permanently is counted as failed, and the sweep continues.
        """
        if self.report.is_dry:
            self.report.add(kind, name)
            return
        with self.attempt(name):
            deed()
            self.report.add(kind, name, is_done=True)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Count a permanent failure within the block, and go on after it."""
        try:
            yield
        except BusyError:
            # A consumer has the batch in hand.
            self.report.add(Discrepancy.WAITING, name)
        except PermanentError as exc:
            self.report.add(Discrepancy.FAILED, f"{name}: {exc}")
