"""One sweep: archives, processed objects, completion and review."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from consumers.database.sweep import Ages
from ops.recovery.sweep.archives import sweep_archives
from ops.recovery.sweep.processed import sweep_processed
from ops.recovery.sweep.report import Discrepancy, SweepReport
from ops.recovery.sweep.run import SweepRun, SweepTools

#: The name of the lock that a running sweep holds.
_LOCK = "sweep"


class Sweeper:
    """Compares the bucket with the rows, and repairs what differs that is old enough."""

    def __init__(self, tools: SweepTools, ages: Ages) -> None:
        self._tools = tools
        self._ages = ages

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
        with self._tools.database.locks() as locks:
            if not is_dry and not locks.acquire(_LOCK):
                return None
            run = SweepRun(
                tools=self._tools,
                cutoff=self._tools.store.now() - self._ages.older_than,
                began=self._tools.rows.began(),
                report=report,
                is_over=is_over,
                progress=progress,
            )
            for part in (sweep_archives, sweep_processed, _sweep_ends, _sweep_reviews):
                if not is_over():
                    part(run)
            report.ended_early = is_over()
            report.depths = self._tools.resender.depths()
            if not (is_dry or report.ended_early):
                self._put_on_record(run.began, report)
        return report

    def _put_on_record(self, began: datetime, report: SweepReport) -> None:
        """Record a whole sweep for `health`."""
        tallies = {str(kind): tally for kind, tally in report.tallies.items()}
        self._tools.rows.put_sweep(
            began,
            found={kind: tally.found for kind, tally in tallies.items()},
            repaired={kind: tally.done for kind, tally in tallies.items() if tally.done},
        )


def _sweep_ends(run: SweepRun) -> None:
    """Complete batches that are done, and announce those that are completed."""
    for batch, is_completed in run.tools.rows.ends():
        if run.is_over():
            return
        kind = Discrepancy.BATCH_UNANNOUNCED if is_completed else Discrepancy.BATCH_UNCOMPLETED
        run.repair(kind, str(batch), partial(run.tools.completion.complete_if_done, batch))


def _sweep_reviews(run: SweepRun) -> None:
    """Send the events of complete batches without review items."""
    for batch, stalled, is_retold in run.tools.rows.not_itemised():
        if run.is_over():
            return
        if stalled is not None or is_retold:
            run.report.add(Discrepancy.WAITING if stalled is None else Discrepancy.DEAD, str(batch))
        else:
            run.repair(
                Discrepancy.BATCH_UNITEMISED,
                str(batch),
                partial(run.tools.resender.completion, batch),
            )
