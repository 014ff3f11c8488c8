"""One sweep: archives, processed objects, completion and review."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from consumers.database.batches import BatchRepository
from consumers.database.sweep import Ages, SweepRepository
from consumers.stages.completion import Completion
from consumers.store import Store
from ops.recovery.rebuild.rebuilder import Rebuilder
from ops.recovery.resend import Resender
from ops.recovery.sweep.archives import sweep_archives
from ops.recovery.sweep.processed import sweep_processed
from ops.recovery.sweep.report import Discrepancy, SweepReport
from ops.recovery.sweep.run import SweepRun

#: The name of the lock that a running sweep holds.
_LOCK = "sweep"


@dataclass(frozen=True, kw_only=True)
class Sweeper:
    """Compares the bucket with the rows, and repairs what differs.

    Attributes:
        store: The bucket.
        database: The tables, as the consumers use them.
        rows: The tables, for comparison with the bucket.
        resender: Sends events again.
        completion: Completes batches.
        rebuilder: Makes a batch's rows from the bucket.
        ages: How old something has to be before it counts.
    """

    store: Store
    database: BatchRepository
    rows: SweepRepository
    resender: Resender
    completion: Completion
    rebuilder: Rebuilder
    ages: Ages

    def sweep(
        self,
        *,
        is_dry: bool = False,
        is_over: Callable[[], bool] = lambda: False,
        progress: Callable[[SweepReport], None] = lambda _: None,
    ) -> SweepReport | None:
        """Run one sweep.

        Args:
            is_dry: Whether to repair nothing.
            is_over: Called before each page; if true, the sweep stops.
            progress: Called with the report after each page.

        Returns:
            The report; None while another sweep is running.

        Raises:
            TransientError: The store, database or broker is unreachable. The repairs
                made so far stand, and the next sweep does the rest.
        """
        report = SweepReport(is_dry=is_dry)
        with self.database.locks() as locks:
            if not is_dry and not locks.acquire(_LOCK):
                return None
            run = SweepRun(
                store=self.store,
                database=self.database,
                rows=self.rows,
                resender=self.resender,
                completion=self.completion,
                rebuilder=self.rebuilder,
                cutoff=self.store.now() - self.ages.older_than,
                began=self.rows.began(),
                report=report,
                is_over=is_over,
                progress=progress,
            )
            for part in (sweep_archives, sweep_processed, _sweep_ends, _sweep_reviews):
                if not is_over():
                    part(run)
            report.ended_early = is_over()
            report.depths = self.resender.depths()
            self._put_on_record(run)
        return report

    def _put_on_record(self, run: SweepRun) -> None:
        """Record a whole sweep for `health`; a dry run or a stopped one is not recorded."""
        report = run.report
        if report.is_dry or report.ended_early:
            return
        self.rows.put_sweep(
            run.began,
            found={str(kind): tally.found for kind, tally in report.tallies.items()},
            repaired={
                str(kind): tally.done for kind, tally in report.tallies.items() if tally.done
            },
        )


def _sweep_ends(run: SweepRun) -> None:
    """Complete batches that are done, and announce those that are completed."""
    for batch, is_completed in run.rows.ends():
        if run.is_over():
            return
        kind = Discrepancy.BATCH_UNANNOUNCED if is_completed else Discrepancy.BATCH_UNCOMPLETED
        run.repair(kind, str(batch), partial(run.completion.complete_if_done, batch))


def _sweep_reviews(run: SweepRun) -> None:
    """Send the events of complete batches without review items."""
    for batch, stalled, is_retold in run.rows.not_itemised():
        if run.is_over():
            return
        if stalled is not None or is_retold:
            run.report.add(Discrepancy.WAITING if stalled is None else Discrepancy.DEAD, str(batch))
        else:
            run.repair(
                Discrepancy.BATCH_UNITEMISED,
                str(batch),
                partial(run.resender.completion, batch),
            )
