"""Batches, recordings, transcripts and verdicts, as consumers and users need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import msgspec
from psycopg.types.json import Jsonb

from consumers.database.pool import Connection, TextTooLongError, translated
from consumers.database.repository import Repository
from consumers.database.rows import (
    Batch,
    Conversion,
    Original,
    Recording,
    SearchHit,
    Sidecar,
    archive_columns,
    note_values,
    storable,
)
from consumers.documents.manifest import Archive
from consumers.documents.note import LOSSES, Note
from consumers.documents.transcript import Transcript
from consumers.documents.verdict import PolicyFinding, PolicyVerdict
from consumers.errors import PermanentError, TransientError
from events.keys import ArchiveKey, AudioId, BatchId

#: Characters of a text that are indexed for search: more than any recording has.
_INDEXED = 100_000_000

#: Characters that always fit in the 1 MiB that Postgres allows for a tsvector.
_INDEXED_AT_LEAST = 200_000


class ArchiveOverwrittenError(PermanentError):
    """A batch id stands for other content already."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(
            f"{archive.key} was overwritten with other content: batch {archive.batch} stands for "
            "what was stored first. Drop the new content as a batch of its own."
        )


class Locks:
    """Advisory locks of one connection, which end with it.

    They keep two workers from doing the same work. Correctness never depends on them: a
    broken connection releases them while the work continues.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def acquire(self, name: str) -> bool:
        """Take the lock ``name``; False where another connection holds it."""
        with translated():
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS taken", [name]
            ).fetchone()
        return row is not None and bool(row["taken"])


class BatchRepository(Repository):
    """Batches and all that belongs to them."""

    @contextmanager
    def locks(self) -> Iterator[Locks]:
        """Lend a connection of the pool; its locks are released at the end of the block."""
        with translated():
            connection = self._pool.getconn()
        try:
            yield Locks(connection)
        finally:
            self._unlock(connection)

    def _unlock(self, connection: Connection) -> None:
        # A broken connection has released its locks, and the pool discards it.
        with suppress(TransientError), translated():
            connection.execute("SELECT pg_advisory_unlock_all()")
        self._pool.putconn(connection)

    def register(self, archive: Archive) -> None:
        """Insert the batch's row, unless the same archive is registered already.

        Raises:
            ArchiveOverwrittenError: The batch id stands for other content already.
        """
        parameters = {"batch_id": str(archive.batch), **archive_columns(archive)}
        with self._transaction() as connection:
            connection.execute(self._sql["register_batch"], parameters)
            row = connection.execute(self._sql["batch_etag"], parameters).fetchone()
        if row is None or row["etag"] != archive.etag:
            raise ArchiveOverwrittenError(archive)

    def unsealed(self, archive: Archive) -> BatchId | None:
        """Find the batch for which this content, under this key, is still being read."""
        rows = self._rows("unsealed_batch", archive_key=archive.key, etag=archive.etag)
        return BatchId(rows[0]["batch_id"]) if rows else None

    def put_recording(self, recording: Recording) -> None:
        """Write a recording's row; a finished one stays as it is."""
        with self._one_trip() as connection:
            self._put_recording(connection, recording)

    def put_sidecar(self, sidecar: Sidecar) -> None:
        """Write the row of a text that may lie beside recordings."""
        self._execute_all(
            "ensure_batch",
            "put_sidecar",
            **_id_parameters(sidecar.audio),
            path=sidecar.path,
            text=storable(sidecar.text),
        )

    def put_transcript(self, recording: Recording, transcript: Transcript) -> None:
        """Write a recording's row and its transcript's."""
        try:
            self._put_transcript(recording, transcript, _INDEXED)
        except TextTooLongError:
            self._put_transcript(recording, transcript, _INDEXED_AT_LEAST)

    def _put_transcript(self, recording: Recording, transcript: Transcript, indexed: int) -> None:
        with self._one_trip() as connection:
            self._put_recording(connection, recording)
            connection.execute(
                self._sql["put_transcript"],
                {
                    "indexed": indexed,
                    **_id_parameters(recording.audio),
                    "language": transcript.language,
                    "language_probability": transcript.language_probability,
                    "text": storable(transcript.text),
                    "segments": Jsonb(storable(msgspec.to_builtins(transcript.segments))),
                    "model": transcript.model,
                    "alignment": transcript.alignment,
                },
            )

    def is_transcribed(self, audio: AudioId) -> bool:
        """Whether the recording's transcript is in the tables."""
        rows = self._rows("is_transcribed", **_id_parameters(audio))
        return bool(rows) and rows[0]["is_transcribed"]

    def put_moderation(self, audio: AudioId, moderation: PolicyVerdict) -> None:
        """Record the verdict on a recording that is transcribed."""
        self._execute_all(
            "put_verdicts",
            "moderated",
            **_id_parameters(audio),
            verdict_key=audio.verdict_key,
            flagged=moderation.flagged if moderation.state == "judged" else None,
            reason=storable(moderation.reason),
            model=moderation.model,
            adapter=moderation.adapter,
            findings=Jsonb(msgspec.to_builtins(moderation.findings)),
        )

    def _put_recording(self, connection: Connection, recording: Recording) -> None:
        row = recording.to_row()
        row |= {name: Jsonb(row[name]) for name in ("notes", "transcript_notes")}
        row["tags"] = None if recording.tags is None else Jsonb(row["tags"])
        connection.execute(self._sql["ensure_batch"], row)
        connection.execute(self._sql["put_recording"], row)
        if recording.tags is not None:
            connection.execute(self._sql["put_conversion"], row)

    def recorded_conversions(self, batch: BatchId) -> frozenset[int]:
        """The ordinals of the recordings whose rows hold all that their conversion found."""
        rows = self._rows("recorded_conversions", batch_id=str(batch))
        return frozenset(row["ordinal"] for row in rows)

    def conversion(self, audio: AudioId) -> Conversion | None:
        """Read what a recording's conversion found; None where it is not recorded."""
        rows = self._values(Conversion, "conversion", **_id_parameters(audio))
        return rows[0] if rows else None

    def original(self, audio: AudioId, source_sha256: str) -> Original | None:
        """Find a recording of another batch, or an earlier one of this, of the same bytes."""
        return self._original("original", audio, source_sha256)

    def transcribed_original(self, audio: AudioId, source_sha256: str) -> Original | None:
        """Find an earlier recording of the same bytes that has a transcript, or will have one.

        One that is stuck, or has waited for hours, does not count.
        """
        return self._original("transcribed_original", audio, source_sha256)

    def _original(self, name: str, audio: AudioId, source_sha256: str) -> Original | None:
        parameters = {**_id_parameters(audio), "source_sha256": source_sha256}
        found = self._values(Original, name, **parameters)
        return found[0] if found else None

    def seal(
        self,
        batch: BatchId,
        *,
        rejected: int,
        ignored: int,
        failure: str | None,
        notes: Sequence[Note] = (),
    ) -> None:
        """Record that the batch has all of its recordings."""
        self._execute(
            "seal_batch",
            batch_id=str(batch),
            rejected=rejected,
            ignored=ignored,
            failure=failure,
            notes=Jsonb(note_values(notes)),
        )

    def complete(self, batch: BatchId) -> bool:
        """Complete the batch if its last recording is done.

        Call it after the row of the recording is committed.

        Returns:
            Whether the batch is complete and not yet announced: this call completed it, or
            a worker that died before it announced it.
        """
        return bool(self._rows("complete_batch", batch_id=str(batch)))

    def announced(self, batch: BatchId, counts: Mapping[str, int], *, is_kept: bool) -> None:
        """Record that the batch's completion is announced, and whether its archive is kept."""
        self._execute(
            "announce_batch", batch_id=str(batch), counts=Jsonb(dict(counts)), is_kept=is_kept
        )

    def kept(self, batch: BatchId, *, is_kept: bool) -> None:
        """Record whether the batch's archive is kept."""
        self._execute("keep_archive", batch_id=str(batch), is_kept=is_kept)

    def kept_archives(self) -> int:
        """Count the archives that are kept as something of them is missing from the result."""
        return int(self._rows("count_kept")[0]["number"])

    def stall_batch(self, batch: BatchId, error: str) -> None:
        """Record why the batch is stuck."""
        self._execute("stall_batch", batch_id=str(batch), stalled=error)

    def stall_recording(self, audio: AudioId, error: str) -> None:
        """Record why the recording, or its batch's completion, is stuck."""
        statements = ("ensure_batch", "stall_recording", "stall_announcement")
        self._execute_all(*statements, **_id_parameters(audio), stalled=error)

    def unstall_archive(self, key: ArchiveKey) -> None:
        """Record that the archive's batch is no longer stuck."""
        if key.batch is None:
            self._execute("unstall_archive", archive_key=key.key)
        else:
            self._execute("unstall_batch", batch_id=str(key.batch))

    def unstall_recording(self, audio: AudioId) -> None:
        """Record that the recording, or its batch's completion, is no longer stuck."""
        self._execute_all("unstall_recording", "unstall_announcement", **_id_parameters(audio))

    def counts(self, batch: BatchId) -> dict[str, int]:
        """Count the batch's recordings by state."""
        rows = self._rows("count_recordings", batch_id=str(batch))
        return {row["state"]: row["number"] for row in rows}

    def batch(self, batch: BatchId) -> Batch | None:
        """Read a batch's row; None where there is none (yet)."""
        rows = self._values(Batch, "batch", batch_id=str(batch))
        return rows[0] if rows else None

    def batches(self, limit: int) -> list[Batch]:
        """Read at most ``limit`` batches, the latest drop first."""
        return self._values(Batch, "recent_batches", limit=limit)

    def recordings(self, batch: BatchId) -> list[Recording]:
        """Read a batch's recordings, in the archive's order; none for an unknown batch."""
        return self._values(Recording, "recordings_of_batch", batch_id=str(batch))

    def flagged(self, batch: BatchId) -> int:
        """Count the batch's recordings that at least one policy flags."""
        return int(self._rows("count_flagged", batch_id=str(batch))[0]["number"])

    def note_counts(self, batch: BatchId) -> dict[str, int]:
        """Count the notes about the batch's recordings by code."""
        rows = self._rows("count_notes", batch_id=str(batch))
        return {row["code"]: row["number"] for row in rows}

    def with_losses(self, batch: BatchId) -> int:
        """Count the batch's recordings of which sound is missing."""
        rows = self._rows("count_losses", batch_id=str(batch), losses=list(LOSSES))
        return int(rows[0]["number"])

    def unfinished(self, batch: BatchId) -> tuple[int, int]:
        """Count the recordings that are not done, and the stuck ones among them."""
        row = self._rows("count_unfinished", batch_id=str(batch))[0]
        return row["unfinished"], row["stalled"]

    def findings(self, batch: BatchId) -> dict[int, list[PolicyFinding]]:
        """Read the policies' findings on a batch's recordings, by ordinal."""
        found: dict[int, list[PolicyFinding]] = {}
        for row in self._rows("verdicts_of_batch", batch_id=str(batch)):
            found.setdefault(row["ordinal"], []).append(msgspec.convert(row, PolicyFinding))
        return found

    def search(self, text: str, limit: int) -> list[SearchHit]:
        """Find recordings whose transcript, tags or sidecar match, best first.

        The text is of words, ``"a phrase"``, ``or`` and ``-without``.
        """
        return self._values(SearchHit, "search", text=text, limit=limit)


def _id_parameters(audio: AudioId) -> dict[str, object]:
    return {"batch_id": str(audio.batch), "ordinal": audio.ordinal}
