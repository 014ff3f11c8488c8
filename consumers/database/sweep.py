"""What a sweep asks the tables: pages of a listing against the rows of their range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from consumers.database.pool import Pool
from consumers.database.repository import Repository
from events.keys import AudioId, BatchId

#: Greater than every id and every key of an archive, however text is collated.
LAST_ID = "z"
LAST_ARCHIVE = "archives0"

#: Rows per question, where they are not those of a page.
_PAGE = 1000

#: Sweeps that stay on record: some days of one each ten minutes.
_KEPT = 500

#: Where a recording stands in the order of listing and table: batch id, ordinal.
Position = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Ages:
    """From when on something counts.

    Attributes:
        older_than: What is younger may be on its way.
        again_after: What was sent again is not sent once more before.
    """

    older_than: timedelta
    again_after: timedelta


DEFAULT_AGES = Ages(older_than=timedelta(minutes=15), again_after=timedelta(hours=6))


@dataclass(frozen=True, slots=True)
class ArchiveFinding:
    """An archive, or a batch that needs one, which is not in order.

    Attributes:
        key: The archive's key.
        batch_id: None where no row is of this archive.
        is_listed: Whether the archive is in the bucket.
        is_sealed: Whether it was read to its end; then only its tag is to be looked at.
        stalled: Why it does not go on by itself.
        is_retold: Whether its event was sent again a short while ago.
        etag: By which the row knows it.
    """

    key: str
    batch_id: str | None
    is_listed: bool
    is_sealed: bool
    stalled: str | None
    is_retold: bool
    etag: str | None


@dataclass(frozen=True, slots=True)
class RecordingFinding:
    """A recording whose row and objects do not go together.

    Attributes:
        batch_id: Of its batch.
        ordinal: Its own.
        has_row: Whether it has a row.
        is_older: Whether the row is older than the sweep, and so than the listing.
        is_finished: Whether the row says that nothing is left to do.
        is_transcribed: Whether it says that it is transcribed, of a batch that is moderated.
        stalled: Why it does not go on by itself.
        is_retold: Whether its event was sent again a short while ago.
        is_sealed: Whether its batch is sealed; None where that has no row.
    """

    batch_id: str
    ordinal: int
    has_row: bool
    is_older: bool
    is_finished: bool
    is_transcribed: bool
    stalled: str | None
    is_retold: bool
    is_sealed: bool | None

    @property
    def audio(self) -> AudioId:
        """Whose it is."""
        return AudioId(BatchId(self.batch_id), self.ordinal)


@dataclass(frozen=True, slots=True)
class BatchFinding:
    """A batch whose row and objects do not go together.

    Attributes:
        batch_id: Its id.
        has_row: Whether it has a row.
        is_older: Whether what the row says is older than the sweep.
        is_sealed: Whether the row says that the archive was read to its end.
        archive_key: Where the archive was.
        etag: What it was.
    """

    batch_id: str
    has_row: bool
    is_older: bool
    is_sealed: bool
    archive_key: str | None
    etag: str | None


class SweepRepository(Repository):
    """The tables, as a sweep sees them."""

    def __init__(self, pool: Pool, ages: Ages) -> None:
        super().__init__(pool)
        self._ages = {"older_than": ages.older_than, "again_after": ages.again_after}

    def began(self) -> datetime:
        """Tell the database's time, which its rows are in."""
        time: datetime = self._rows("sweep_began", {})[0]["began"]
        return time

    def archives(
        self, keys: Sequence[str], etags: Sequence[str], *, after: str, upto: str
    ) -> list[ArchiveFinding]:
        """Compare one page of archives with the batches.

        Args:
            keys: The archives' keys.
            etags: Theirs, in the same order.
            after: The last key of the page before.
            upto: The last key of this one.
        """
        return self._values(
            ArchiveFinding,
            "sweep_archives",
            {**self._ages, "keys": keys, "etags": etags, "after": after, "upto": upto},
        )

    def recordings(
        self,
        *,
        positions: Sequence[Position],
        opus: Sequence[bool],
        transcripts: Sequence[bool],
        verdicts: Sequence[bool],
        after: Position,
        upto: Position,
        began: datetime,
    ) -> list[RecordingFinding]:
        """Compare one page of recordings with the rows between two positions.

        Args:
            positions: Of the recordings of which objects are stored.
            opus: Whether each one's Opus object is.
            transcripts: Whether each one's transcript is.
            verdicts: Whether each one's verdict is.
            after: Where the page before ended.
            upto: Where this one ends.
            began: When the sweep began, by the database's time.
        """
        return self._values(
            RecordingFinding,
            "sweep_recordings",
            {
                **self._ages,
                "batches": [batch for batch, _ in positions],
                "ordinals": [ordinal for _, ordinal in positions],
                "opus": opus,
                "transcripts": transcripts,
                "verdicts": verdicts,
                "after_batch": after[0],
                "after_ordinal": after[1],
                "upto_batch": upto[0],
                "upto_ordinal": upto[1],
                "began": began,
            },
        )

    def batches(
        self,
        *,
        batches: Sequence[str],
        manifests: Sequence[bool],
        completes: Sequence[bool],
        after: str,
        upto: str,
        began: datetime,
    ) -> list[BatchFinding]:
        """Compare the batches of one page with the rows between two ids.

        Args:
            batches: Of which objects are stored.
            manifests: Whether each one's manifest is.
            completes: Whether each one's ``.complete.json`` is.
            after: The last id of the page before.
            upto: The last id of this one.
            began: When the sweep began, by the database's time.
        """
        return self._values(
            BatchFinding,
            "sweep_batches",
            {
                "batches": batches,
                "manifests": manifests,
                "completes": completes,
                "after": after,
                "upto": upto,
                "began": began,
            },
        )

    def ends(self) -> Iterator[tuple[BatchId, bool]]:
        """Give the batches of which all is done but not said, and whether they are completed."""
        for row in self._paged("sweep_ends"):
            yield BatchId(row["batch_id"]), row["is_completed"]

    def unknown_archives(self) -> Iterator[tuple[BatchId, str | None]]:
        """Give the batches of which no archive is known, and why they do not go on."""
        for row in self._paged("sweep_unknown_archives"):
            yield BatchId(row["batch_id"]), row["stalled"]

    def not_itemised(self) -> Iterator[tuple[BatchId, str | None, bool]]:
        """Give the complete batches whose review items are not made.

        Yields:
            Its id, why it does not go on, and whether its event was sent again a short
            while ago.
        """
        for row in self._paged("sweep_not_itemised"):
            yield BatchId(row["batch_id"]), row["stalled"], row["is_retold"]

    def mark_batches(self, batches: Sequence[BatchId]) -> None:
        """Put on record that the batches' events were sent again now."""
        self._execute("mark_batches_retold", {"batches": [str(batch) for batch in batches]})

    def mark_recordings(self, audios: Sequence[AudioId]) -> None:
        """Put on record that the recordings' events were sent again now."""
        parameters = {
            "batches": [str(audio.batch) for audio in audios],
            "ordinals": [audio.ordinal for audio in audios],
        }
        with self._transaction() as connection:
            connection.execute(self._sql["ensure_batches"], parameters)
            connection.execute(self._sql["mark_recordings_retold"], parameters)

    def move_archive(self, batch: BatchId, key: str) -> None:
        """Put on record that the archive of a batch that is not unpacked lies elsewhere now."""
        self._execute("move_archive", {"batch_id": str(batch), "archive_key": key})

    def mark_retired(self, batch: BatchId) -> None:
        """Put on record that the batch's archive is tagged."""
        self._execute("mark_retired", {"batch_id": str(batch)})

    def unannounce(self, batch: BatchId) -> None:
        """Put on record that the batch's ``.complete.json`` is not there."""
        self._execute("unannounce_batch", {"batch_id": str(batch)})

    def put_sweep(
        self, began: datetime, *, found: Mapping[str, int], repaired: Mapping[str, int]
    ) -> None:
        """Put a sweep that went through on record, and forget those of long ago.

        Args:
            began: When it began, by the database's time.
            found: How many of each kind.
            repaired: Of how many the sweep did what is to be done about them.
        """
        with self._transaction() as connection:
            connection.execute(
                self._sql["put_sweep"],
                {
                    "started_at": began,
                    "found": Jsonb(dict(found)),
                    "repaired": Jsonb(dict(repaired)),
                },
            )
            connection.execute(self._sql["forget_sweeps"], {"kept": _KEPT})

    def _paged(self, name: str) -> Iterator[dict[str, Any]]:
        after = ""
        while rows := self._rows(name, {**self._ages, "after": after, "limit": _PAGE}):
            yield from rows
            after = rows[-1]["batch_id"]
