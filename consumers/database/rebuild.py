"""Replacing a batch's rows: `rebuild` from the bucket, `reprocess` to begin again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from psycopg.types.json import Jsonb

from consumers.database.pool import Connection
from consumers.database.repository import Repository
from consumers.database.rows import Recording, archive_columns, note_values
from consumers.documents.manifest import Archive
from consumers.documents.note import Note
from consumers.portions import portions
from events.keys import BatchId

#: Rows per statement.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch according to the bucket: its archive, its manifest and its ``.complete.json``.

    Each fact is None where it is unknown, or the object does not exist. ``sealed_at`` is when
    the manifest was stored, ``announced_at`` when the ``.complete.json`` was.
    """

    batch: BatchId
    archive: Archive | None = None
    sealed_at: datetime | None = None
    rejected: int | None = None
    ignored: int | None = None
    failure: str | None = None
    notes: tuple[Note, ...] = ()
    is_kept: bool = False
    completed_at: datetime | None = None
    announced_at: datetime | None = None
    counts: Mapping[str, int] | None = None
    is_moderated: bool | None = None

    def to_row(self) -> dict[str, object]:
        """Values by column."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            **archive_columns(self.archive),
            "batch_id": str(self.batch),
            "notes": Jsonb(note_values(self.notes)),
            "counts": None if self.counts is None else Jsonb(dict(self.counts)),
        }


class RebuildRepository(Repository):
    """Whole batches, as `rebuild` and `reprocess` write them."""

    def recreate(self, stored: StoredBatch, recordings: Iterable[Recording]) -> int:
        """Replace all rows of a batch, in one transaction, and count its recordings."""
        batch = {"batch_id": str(stored.batch)}
        with self._transaction() as connection:
            connection.execute(self._sql["ensure_batch"], batch)
            # As consumers lock them: a recording's row before its batch's.
            connection.execute(self._sql["drop_recordings"], batch)
            number = self._add(connection, stored.batch, recordings)
            connection.execute(self._sql["recreate_batch"], stored.to_row())
        return number

    def add(self, batch: BatchId, recordings: Iterable[Recording]) -> int:
        """Add recordings that are missing; returns the number of those given."""
        with self._transaction() as connection:
            return self._add(connection, batch, recordings)

    def announce(self, stored: StoredBatch) -> None:
        """Record a batch's ``.complete.json``, unless its completion is recorded."""
        self._execute("recreate_announcement", **stored.to_row())

    def finish_announced(self, batch: BatchId) -> None:
        """Record that an announced batch's recordings are done."""
        self._execute("finish_announced", batch_id=str(batch))

    def is_moderating(self) -> bool:
        """Whether batches that are registered now wait for verdicts."""
        return bool(self._rows("is_moderating")[0]["is_moderating"])

    def itemised(self, batch: BatchId, at: datetime) -> None:
        """Record when the batch's review items were stored."""
        self._execute("itemised", batch_id=str(batch), itemised_at=at)

    def forget(self, batch: BatchId) -> None:
        """Delete all rows of a batch."""
        self._execute("forget_batch", batch_id=str(batch))

    def begin_again(self, batch: BatchId, recordings: Sequence[Recording]) -> None:
        """Replace recordings by these rows, and let their batch wait for them."""
        ordinals = [recording.audio.ordinal for recording in recordings]
        parameters = {"batch_id": str(batch), "ordinals": ordinals}
        with self._transaction() as connection:
            connection.execute(self._sql["drop_some_recordings"], parameters)
            self._add(connection, batch, recordings)
            connection.execute(self._sql["uncomplete_batch"], parameters)

    def moderate_again(self, batch: BatchId, ordinals: Sequence[int]) -> None:
        """Move recordings back to ``transcribed``, and let their batch wait for them.

        Without policies, they are done there.
        """
        statements = ("moderate_some_again", "unmoderate_some", "uncomplete_batch")
        self._execute_all(*statements, batch_id=str(batch), ordinals=ordinals)

    def unseal(self, batch: BatchId) -> None:
        """Let a batch wait for its archive to be read again."""
        self._execute("unseal_batch", batch_id=str(batch))

    def drop(self, batch: BatchId, ordinals: Sequence[int] | None = None) -> None:
        """Delete the rows of some recordings of a batch, or of all."""
        name = "drop_recordings" if ordinals is None else "drop_some_recordings"
        self._execute(name, batch_id=str(batch), ordinals=ordinals)

    def unfinished(self, batch: BatchId, *, per_request: int = _TOGETHER) -> Iterator[list[int]]:
        """The ordinals of the recordings that are not done, page by page."""
        return self._ordinals("unfinished_recordings", batch, per_request)

    def transcribed(self, batch: BatchId, *, per_request: int = _TOGETHER) -> Iterator[list[int]]:
        """The ordinals of the recordings with a transcript, page by page."""
        return self._ordinals("transcribed_recordings", batch, per_request)

    def _ordinals(self, name: str, batch: BatchId, per_request: int) -> Iterator[list[int]]:
        for rows in self._pages(
            name, by="ordinal", after=-1, batch_id=str(batch), limit=per_request
        ):
            yield [row["ordinal"] for row in rows]

    def _add(self, connection: Connection, batch: BatchId, recordings: Iterable[Recording]) -> int:
        number = 0
        for together in portions(recordings, _TOGETHER):
            rows = Jsonb([each.to_row() for each in together])
            connection.execute(self._sql["add_recordings"], {"batch_id": str(batch), "rows": rows})
            number += len(together)
        return number
