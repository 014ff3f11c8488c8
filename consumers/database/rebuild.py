"""Making a batch's rows anew: for `rebuild` from the bucket, for `reprocess` to begin again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from psycopg.types.json import Jsonb

from consumers.database.pool import Connection
from consumers.database.repository import Repository
from consumers.database.rows import Recording
from consumers.documents.manifest import Archive
from events.keys import BatchId

#: Rows per statement.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What the bucket says of a batch.

    Attributes:
        batch: Its id.
        archive: What was dropped; None where that is not to be found any more.
        sealed_at: When its manifest was stored.
        rejected: Members that the manifest rejects.
        ignored: Members that it ignores.
        failure: Why the archive could not be read.
        completed_at: What its ``.complete.json`` says.
        announced_at: When that was stored.
        counts: What it says.
        is_moderated: Whether its recordings are checked against policies; None where
            nothing says so.
    """

    batch: BatchId
    archive: Archive | None = None
    sealed_at: datetime | None = None
    rejected: int | None = None
    ignored: int | None = None
    failure: str | None = None
    completed_at: datetime | None = None
    announced_at: datetime | None = None
    counts: Mapping[str, int] | None = None
    is_moderated: bool | None = None


class RebuildRepository(Repository):
    """The tables, as `rebuild` and `reprocess` write them."""

    def recreate(self, stored: StoredBatch, recordings: Iterable[Recording]) -> int:
        """Replace all rows of a batch by these, in one transaction.

        Args:
            stored: What the batch's row is to say.
            recordings: Its recordings, converted or rejected, read as they are written.

        Returns:
            How many recordings it has.
        """
        batch = {"batch_id": str(stored.batch)}
        with self._transaction() as connection:
            connection.execute(self._sql["ensure_batch"], batch)
            # In the order of the consumers: a recording's row before its batch's.
            connection.execute(self._sql["drop_recordings"], batch)
            number = self._add(connection, stored.batch, recordings)
            connection.execute(self._sql["recreate_batch"], _parameters(stored))
        return number

    def add(self, batch: BatchId, recordings: Iterable[Recording]) -> int:
        """Add rows to a batch; those that are there stay. Returns how many were given."""
        with self._transaction() as connection:
            return self._add(connection, batch, recordings)

    def announce(
        self,
        batch: BatchId,
        *,
        completed_at: datetime,
        announced_at: datetime,
        counts: Mapping[str, int],
    ) -> None:
        """Put on record what a batch's ``.complete.json`` says, if nothing is of it."""
        self._execute(
            "recreate_announcement",
            {
                "batch_id": str(batch),
                "completed_at": completed_at,
                "announced_at": announced_at,
                "counts": Jsonb(dict(counts)),
            },
        )

    def finish_announced(self, batch: BatchId) -> None:
        """Put on record that nothing is left to do of an announced batch's recordings."""
        self._execute("finish_announced", {"batch_id": str(batch)})

    def is_moderating(self) -> bool:
        """Tell whether batches that are registered now wait for verdicts."""
        answer: bool = self._rows("is_moderating", {})[0]["is_moderating"]
        return answer

    def itemised(self, batch: BatchId, at: datetime) -> None:
        """Put on record when the batch's review items were stored."""
        self._execute("itemised", {"batch_id": str(batch), "itemised_at": at})

    def forget(self, batch: BatchId) -> None:
        """Delete all rows of a batch."""
        self._execute("forget_batch", {"batch_id": str(batch)})

    def begin_again(self, batch: BatchId, recordings: Sequence[Recording]) -> None:
        """Move recordings back to ``converted``, and their batch to where it waits for them.

        Args:
            batch: Whose.
            recordings: The rows that are to stand instead of theirs.
        """
        parameters = {
            "batch_id": str(batch),
            "ordinals": [recording.audio.ordinal for recording in recordings],
        }
        with self._transaction() as connection:
            connection.execute(self._sql["drop_some_recordings"], parameters)
            self._add(connection, batch, recordings)
            connection.execute(self._sql["uncomplete_batch"], parameters)

    def moderate_again(self, batch: BatchId, ordinals: Sequence[int]) -> None:
        """Move recordings back to ``transcribed``, and their batch to where it waits for them.

        Where there are no policies any more, that is as far as they go.
        """
        parameters = {"batch_id": str(batch), "ordinals": ordinals}
        with self._transaction() as connection:
            connection.execute(self._sql["moderate_some_again"], parameters)
            connection.execute(self._sql["unmoderate_some"], parameters)
            connection.execute(self._sql["uncomplete_batch"], parameters)

    def unseal(self, batch: BatchId) -> None:
        """Move a batch back to where its archive is to be read."""
        self._execute("unseal_batch", {"batch_id": str(batch)})

    def drop(self, batch: BatchId, ordinals: Sequence[int] | None = None) -> None:
        """Delete the rows of some recordings of a batch, or of all."""
        name = "drop_recordings" if ordinals is None else "drop_some_recordings"
        self._execute(name, {"batch_id": str(batch), "ordinals": ordinals})

    def unfinished(self, batch: BatchId, *, per_request: int = _TOGETHER) -> Iterator[list[int]]:
        """Give the ordinals of the recordings that are not done, some at a time."""
        return self._ordinals("unfinished_recordings", batch, per_request)

    def transcribed(self, batch: BatchId, *, per_request: int = _TOGETHER) -> Iterator[list[int]]:
        """Give the ordinals of the recordings that have words, some at a time."""
        return self._ordinals("transcribed_recordings", batch, per_request)

    def _ordinals(self, name: str, batch: BatchId, per_request: int) -> Iterator[list[int]]:
        after = -1
        while rows := self._rows(
            name, {"batch_id": str(batch), "after": after, "limit": per_request}
        ):
            yield [row["ordinal"] for row in rows]
            after = rows[-1]["ordinal"]

    def _add(self, connection: Connection, batch: BatchId, recordings: Iterable[Recording]) -> int:
        rest = iter(recordings)
        number = 0
        while together := list(islice(rest, _TOGETHER)):
            connection.execute(
                self._sql["add_recordings"],
                {"batch_id": str(batch), "rows": Jsonb([_row(each) for each in together])},
            )
            number += len(together)
        return number


def _row(recording: Recording) -> dict[str, object]:
    return {
        "ordinal": recording.audio.ordinal,
        "state": recording.state,
        "path": recording.path,
        "reason": recording.reason,
        "duration": recording.duration,
        "codec": recording.codec,
        "sample_rate": recording.sample_rate,
        "channels": recording.channels,
        "loudness_dbfs": recording.loudness_dbfs,
        "source_sha256": recording.source_sha256,
        "opus_key": recording.opus_key,
    }


def _parameters(stored: StoredBatch) -> dict[str, object]:
    archive = stored.archive
    return {
        "batch_id": str(stored.batch),
        "archive_key": archive.key if archive else None,
        "etag": archive.etag if archive else None,
        "size": archive.size if archive else None,
        "original_name": archive.original_name if archive else None,
        "dropped_at": archive.dropped_at if archive else None,
        "sealed_at": stored.sealed_at,
        "rejected": stored.rejected,
        "ignored": stored.ignored,
        "failure": stored.failure,
        "completed_at": stored.completed_at,
        "announced_at": stored.announced_at,
        "counts": None if stored.counts is None else Jsonb(dict(stored.counts)),
        "is_moderated": stored.is_moderated,
    }
