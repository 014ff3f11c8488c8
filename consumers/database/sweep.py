"""The sweep's queries: pages of a listing are compared with the rows of their range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from consumers.database.pool import Pool
from consumers.database.repository import Repository
from events.keys import AudioId, BatchId

#: Greater than every id and every archive's key, in any collation.
LAST_ID = "z"
LAST_ARCHIVE = "archives0"

#: Rows per query, where it is not about a page of the listing.
_PAGE = 1000

#: Sweeps that stay on record: three days of one every ten minutes.
_KEPT = 500

#: A recording's place in the order of listing and table: batch id, ordinal.
Position = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Ages:
    """Minimum ages.

    Attributes:
        older_than: Of anything that a sweep acts on: younger work may be in progress.
        again_after: Of a resent event, before it is sent once more.
    """

    older_than: timedelta
    again_after: timedelta


DEFAULT_AGES = Ages(older_than=timedelta(minutes=15), again_after=timedelta(hours=6))


@dataclass(frozen=True, slots=True)
class ArchiveFinding:
    """A discrepancy of an archive, or of a batch that needs one.

    Attributes:
        batch_id: None where the archive has no row.
        is_listed: Whether the archive is in the bucket.
        is_sealed: Whether it was read to its end; then only its tag needs a check.
        stalled: Why it is stuck.
        is_retold: Whether its event was resent recently.
        etag: In its row.
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
    """A discrepancy between a recording's row and its objects.

    Attributes:
        has_row: Whether it has a row, according to which it is finished, transcribed or stalled.
        is_older: Whether the row is older than the sweep, and so than the listing.
        is_transcribed: Whether it is transcribed, and its batch moderated.
        stalled: Why it is stuck.
        is_retold: Whether its event was resent recently.
        is_sealed: Whether its batch is sealed; None where the batch has no row.
    """

    audio: AudioId
    has_row: bool
    is_older: bool
    is_finished: bool
    is_transcribed: bool
    stalled: str | None
    is_retold: bool
    is_sealed: bool | None


@dataclass(frozen=True, slots=True)
class BatchFinding:
    """A discrepancy between a batch's row and its objects.

    Attributes:
        has_row: Whether it has a row; then this has the archive's key and ETag.
        is_older: Whether the row's state is older than the sweep.
        is_sealed: Whether the archive was read to its end according to the row.
    """

    batch: BatchId
    has_row: bool
    is_older: bool
    is_sealed: bool
    archive_key: str | None
    etag: str | None


class SweepRepository(Repository):
    """Comparisons of the tables with the bucket, and repairs."""

    def __init__(self, pool: Pool, ages: Ages = DEFAULT_AGES) -> None:
        super().__init__(pool)
        self._ages = {"older_than": ages.older_than, "again_after": ages.again_after}

    def began(self) -> datetime:
        """The database's time, which its rows have."""
        time: datetime = self._rows("sweep_began")[0]["began"]
        return time

    def archives(
        self, keys: Sequence[str], etags: Sequence[str], *, after: str, upto: str
    ) -> list[ArchiveFinding]:
        """Compare one page's archives with the batches between two keys.

        These are the last of the page before, and of this one.
        """
        page = {"keys": keys, "etags": etags, "after": after, "upto": upto}
        return self._values(ArchiveFinding, "sweep_archives", **self._ages, **page)

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
        """Compare a page's recordings that have objects with the rows between two positions.

        These are the last of the page before, and of this one. ``opus``, ``transcripts`` and
        ``verdicts`` say whether each has such an object, and ``began`` when the sweep began,
        by the database's time.
        """
        return self._values(
            RecordingFinding,
            "sweep_recordings",
            **self._ages,
            batches=[batch for batch, _ in positions],
            ordinals=[ordinal for _, ordinal in positions],
            opus=opus,
            transcripts=transcripts,
            verdicts=verdicts,
            after_batch=after[0],
            after_ordinal=after[1],
            upto_batch=upto[0],
            upto_ordinal=upto[1],
            began=began,
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
        """Compare a page's batches that have objects with the rows between two ids.

        ``manifests`` and ``completes`` say whether each has a manifest and a ``.complete.json``.
        """
        page = {"batches": batches, "manifests": manifests, "completes": completes}
        return self._values(
            BatchFinding, "sweep_batches", **page, after=after, upto=upto, began=began
        )

    def ends(self) -> Iterator[tuple[BatchId, bool]]:
        """The batches that are done but not announced, and whether they are completed."""
        for row in self._paged("sweep_ends"):
            yield BatchId(row["batch_id"]), row["is_completed"]

    def unknown_archives(self) -> Iterator[tuple[BatchId, str | None]]:
        """The batches whose archive is unknown, and why they are stuck."""
        for row in self._paged("sweep_unknown_archives"):
            yield BatchId(row["batch_id"]), row["stalled"]

    def not_itemised(self) -> Iterator[tuple[BatchId, str | None, bool]]:
        """The complete batches without review items, why, and whether they were retold recently."""
        for row in self._paged("sweep_not_itemised"):
            yield BatchId(row["batch_id"]), row["stalled"], row["is_retold"]

    def mark_batches(self, batches: Sequence[BatchId]) -> None:
        """Record that the batches' events are resent now."""
        self._execute("mark_batches_retold", batches=[str(batch) for batch in batches])

    def mark_recordings(self, audios: Sequence[AudioId]) -> None:
        """Record that the recordings' events are resent now."""
        self._execute_all(
            "ensure_batches",
            "mark_recordings_retold",
            batches=[str(audio.batch) for audio in audios],
            ordinals=[audio.ordinal for audio in audios],
        )

    def move_archive(self, batch: BatchId, key: str) -> None:
        """Record the new key of an archive that is not unpacked."""
        self._execute("move_archive", batch_id=str(batch), archive_key=key)

    def forget_kept(
        self, keys: Sequence[str], etags: Sequence[str], *, after: str, upto: str
    ) -> None:
        """Record which kept archives are gone: those of the range that are not listed."""
        self._execute("forget_kept", keys=keys, etags=etags, after=after, upto=upto)

    def mark_retired(self, batch: BatchId) -> None:
        """Record that the batch's archive is tagged."""
        self._execute("mark_retired", batch_id=str(batch))

    def unannounce(self, batch: BatchId) -> None:
        """Record that the batch's ``.complete.json`` is missing."""
        self._execute("unannounce_batch", batch_id=str(batch))

    def put_sweep(
        self, began: datetime, *, found: Mapping[str, int], repaired: Mapping[str, int]
    ) -> None:
        """Record a finished sweep's discrepancies, by kind, and delete the oldest records."""
        self._execute_all(
            "put_sweep",
            "forget_sweeps",
            started_at=began,
            found=Jsonb(dict(found)),
            repaired=Jsonb(dict(repaired)),
            kept=_KEPT,
        )

    def _paged(self, name: str) -> Iterator[dict[str, Any]]:
        for rows in self._pages(name, by="batch_id", after="", limit=_PAGE, **self._ages):
            yield from rows
