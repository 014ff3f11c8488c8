"""Completion of a batch: once, by the worker that finishes its last recording."""

from __future__ import annotations

from typing import Any

from consumers.database.batches import BatchRepository
from consumers.database.roles import READ, TablePrivileges
from consumers.database.rows import Batch
from consumers.documents.completion import BatchCompletion
from consumers.runtime.observer import SILENT, Observer
from consumers.stages.stored_archive import COMPLETE, final_state, retire
from consumers.store import Store
from events.keys import BatchId

#: The privileges of a stage that brings recordings further, and completes batches.
COMPLETION_TABLES: TablePrivileges = {
    "batches": {
        "SELECT": (),
        # `INSERT ... ON CONFLICT (column)` reads the column.
        "INSERT": ("batch_id", "is_moderated"),
        "UPDATE": (
            "completed_at",
            "announced_at",
            "counts",
            "stalled",
            "retold_at",
            "is_kept",
        ),
    },
    "recordings": {"SELECT": (), "INSERT": (), "UPDATE": ()},
    # A new batch's row says whether the batch waits for verdicts.
    "stages": READ,
}


class Completion:
    """Asks Postgres whether a batch is complete, and announces it in the bucket."""

    def __init__(
        self, store: Store, database: BatchRepository, log: Any, observer: Observer = SILENT
    ) -> None:
        self._store = store
        self._database = database
        self._log = log
        self._observer = observer

    def complete_if_done(self, batch: BatchId) -> None:
        """Complete the batch if all of its recordings are finished.

        Call it after the commit of every row that could be the last one; more calls do no
        harm. The first caller that finds nothing unfinished stores ``.complete.json`` and
        tags the archive; if it dies before that, the next caller does.
        """
        if not self._database.complete(batch):
            return
        counts = self._database.counts(batch)
        flagged = self._database.flagged(batch)
        with_losses = self._database.with_losses(batch)
        row = self._database.batch(batch)
        if row is None or row.completed_at is None:
            return
        completion = BatchCompletion(
            batch_id=str(batch),
            state="failed" if row.failure else "complete",
            failure=row.failure,
            completed_at=row.completed_at,
            counts=counts,
            moderated=row.is_moderated,
            flagged=flagged,
            with_losses=with_losses,
            notes=self._database.note_counts(batch),
        )
        self._store.write(
            batch.complete_key,
            completion.to_json(),
            content_type="application/json",
        )
        is_kept = self._retire(row, counts.get("rejected", 0), with_losses)
        self._database.announced(batch, counts, is_kept=is_kept)
        seconds = _seconds(row)
        if seconds is not None:
            self._observer.batch_completed(seconds)
        self._log.info(
            "batch complete",
            batch=str(batch),
            seconds=seconds,
            flagged=flagged,
            archive_kept=is_kept,
            **counts,
        )

    def retire_again(self, row: Batch) -> None:
        """Tag the archive of a batch that was announced before archives were tagged."""
        rejected = self._database.counts(row.batch).get("rejected", 0)
        is_kept = self._retire(row, rejected, self._database.with_losses(row.batch))
        self._database.kept(row.batch, is_kept=is_kept)

    def _retire(self, row: Batch, rejected: int, with_losses: int) -> bool:
        """Tag the archive; returns whether it is there and does not expire by itself."""
        state = final_state(
            failed=row.failure is not None,
            rejected=rejected,
            with_losses=with_losses,
            notes=row.notes,
        )
        if row.archive_key is None or row.etag is None:
            return False
        is_there = retire(self._store, row.archive_key, row.etag, row.batch, state)
        return is_there and state != COMPLETE


def _seconds(row: Batch) -> float | None:
    """Return the seconds from the drop of a batch to its completion; None if unknown."""
    if row.dropped_at is None or row.completed_at is None:
        return None
    # One is the store's time, the other the database's.
    return round(max(0.0, (row.completed_at - row.dropped_at).total_seconds()), 1)
