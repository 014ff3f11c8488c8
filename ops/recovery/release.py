"""Letting archives expire of which something is missing from the result."""

from __future__ import annotations

from dataclasses import dataclass

from consumers.database.batches import BatchRepository
from consumers.database.rows import Batch
from consumers.errors import BusyError, PermanentError
from consumers.stages.stored_archive import COMPLETE, archive_state, retire
from consumers.store import Store
from events.keys import BatchId


@dataclass(frozen=True, slots=True)
class Release:
    """What became of one archive.

    Attributes:
        batch: Its batch.
        archive_key: Its key; None where it is unknown.
        is_released: Whether it was kept until now.
        what: What was done, or why nothing was to be done, for people.
    """

    batch: BatchId
    archive_key: str | None
    is_released: bool
    what: str


class Releaser:
    """Releases archives; every call can be repeated."""

    def __init__(self, store: Store, database: BatchRepository) -> None:
        self._store = store
        self._database = database

    def release(self, batch: BatchId) -> Release:
        """Let a batch's archive expire like that of a batch of which nothing is missing.

        Raises:
            PermanentError: There is no such batch, or it is not complete.
            BusyError: It is being unpacked, rebuilt or reprocessed.
        """
        with self._database.locks() as locks:
            if not locks.acquire(f"unpack {batch}"):
                raise BusyError(
                    f"batch {batch} is being unpacked, rebuilt or reprocessed: try again later"
                )
            return self._release(self._complete(batch))

    def _complete(self, batch: BatchId) -> Batch:
        row = self._database.batch(batch)
        if row is None:
            raise PermanentError(
                f"there is no batch {batch} in the database; if the bucket has it, "
                f"'dropscribe rebuild {batch}' recreates its rows"
            )
        if row.announced_at is None:
            raise PermanentError(
                f"batch {batch} is not complete, so its archive is needed: 'dropscribe status "
                f"{batch}' says how far it is"
            )
        return row

    def _release(self, row: Batch) -> Release:
        key, etag = row.archive_key, row.etag
        state = archive_state(self._store, key, etag) if key and etag else None
        if state == COMPLETE:
            done = Release(row.batch, key, is_released=False, what="not kept: nothing to do")
        elif key and etag and retire(self._store, key, etag, row.batch, COMPLETE):
            done = Release(row.batch, key, is_released=True, what="released: it may expire now")
        else:
            done = Release(row.batch, key, is_released=False, what="gone: nothing to do")
        self._database.kept(row.batch, is_kept=False)
        return done
