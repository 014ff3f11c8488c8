"""Every query that the consumers run, and what people look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from consumers.database.errors import ArchiveOverwrittenError, TextTooLongError
from consumers.database.pool import Connection, translated
from consumers.database.repository import Repository
from consumers.database.rows import Batch, Recording, SearchHit
from consumers.documents.manifest import Archive
from consumers.documents.transcript import Transcript
from consumers.documents.verdict import PolicyFinding, PolicyVerdict
from consumers.errors import TransientError
from events.keys import ArchiveKey, AudioId, BatchId

#: Characters of a text that search looks through: more than anybody says.
_INDEXED = 100_000_000

#: As many as always fit in the 1 MiB that Postgres allows for a tsvector.
_INDEXED_AT_LEAST = 200_000


class Locks:
    """Advisory locks of one connection; they end with it, whatever happens.

    They spare work that another worker has in hand. Correctness never depends
    on them: a cut connection gives them up while the work goes on.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def acquire(self, name: str) -> bool:
        """Take the lock ``name``; False where another holds it."""
        with translated():
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS taken", [name]
            ).fetchone()
        return row is not None and bool(row["taken"])


class BatchRepository(Repository):
    """The tables, as the consumers use them. Safe to use from many threads.

    Every method raises `TransientError` where Postgres is away.
    """

    def close(self) -> None:
        """Close the pool's connections."""
        self._pool.close()

    @contextmanager
    def locks(self) -> Iterator[Locks]:
        """Lend a connection that holds locks until the block ends."""
        with translated():
            connection = self._pool.getconn()
        try:
            yield Locks(connection)
        finally:
            self._unlock(connection)

    def _unlock(self, connection: Connection) -> None:
        # A broken connection has given up its locks, and the pool throws it away.
        with suppress(TransientError), translated():
            connection.execute("SELECT pg_advisory_unlock_all()")
        self._pool.putconn(connection)

    def register(self, archive: Archive) -> None:
        """Make the batch's row.

        Raises:
            PermanentError: The batch id stands for other content already.
        """
        parameters = {
            "batch_id": str(archive.batch),
            "archive_key": archive.key,
            "etag": archive.etag,
            "size": archive.size,
            "original_name": archive.original_name,
            "dropped_at": archive.dropped_at,
        }
        with self._transaction() as connection:
            connection.execute(self._sql["register_batch"], parameters)
            row = connection.execute(self._sql["batch_etag"], parameters).fetchone()
        if row is None or row["etag"] != archive.etag:
            raise ArchiveOverwrittenError(archive)

    def unsealed(self, archive: Archive) -> BatchId | None:
        """Find the batch for which this content, under this key, is still being read."""
        rows = self._rows("unsealed_batch", {"archive_key": archive.key, "etag": archive.etag})
        return BatchId(rows[0]["batch_id"]) if rows else None

    def put_recording(self, recording: Recording) -> None:
        """Write a recording's row; a finished one stays as it is."""
        with self._one_trip() as connection:
            self._put_recording(connection, recording)

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
                    "text": _storable(transcript.text),
                    "segments": Jsonb(_storable(msgspec.to_builtins(transcript.segments))),
                    "model": transcript.model,
                    "alignment": transcript.alignment,
                },
            )

    def is_transcribed(self, audio: AudioId) -> bool:
        """Tell whether the recording's transcript is on record."""
        rows = self._rows("is_transcribed", _id_parameters(audio))
        return bool(rows) and rows[0]["is_transcribed"]

    def put_moderation(self, audio: AudioId, moderation: PolicyVerdict) -> None:
        """Put on record what the policies say of a recording that is transcribed."""
        parameters = {
            **_id_parameters(audio),
            "verdict_key": audio.verdict_key,
            "flagged": moderation.flagged if moderation.state == "judged" else None,
            "reason": _storable(moderation.reason),
            "model": moderation.model,
            "adapter": moderation.adapter,
            "findings": Jsonb(msgspec.to_builtins(moderation.findings)),
        }
        with self._one_trip() as connection:
            connection.execute(self._sql["put_verdicts"], parameters)
            connection.execute(self._sql["moderated"], parameters)

    def _put_recording(self, connection: Connection, recording: Recording) -> None:
        audio = recording.audio
        connection.execute(self._sql["ensure_batch"], {"batch_id": str(audio.batch)})
        connection.execute(
            self._sql["put_recording"],
            {
                **_id_parameters(audio),
                "state": recording.state,
                "path": recording.path,
                "reason": _storable(recording.reason),
                "duration": recording.duration,
                "codec": recording.codec,
                "sample_rate": recording.sample_rate,
                "channels": recording.channels,
                "loudness_dbfs": recording.loudness_dbfs,
                "source_sha256": recording.source_sha256,
                "opus_key": recording.opus_key,
                "transcript_key": recording.transcript_key,
            },
        )

    def seal(self, batch: BatchId, *, rejected: int, ignored: int, failure: str | None) -> None:
        """Say that no recording can be added to the batch any more."""
        self._execute(
            "seal_batch",
            {
                "batch_id": str(batch),
                "rejected": rejected,
                "ignored": ignored,
                "failure": failure,
            },
        )

    def complete(self, batch: BatchId) -> bool:
        """Complete the batch if its last recording is done.

        To be called after the finisher's own row is committed.

        Returns:
            Whether the batch is complete and waits to be announced: by this
            call, or by a worker that died before it said so.
        """
        return bool(self._rows("complete_batch", {"batch_id": str(batch)}))

    def announced(self, batch: BatchId, counts: Mapping[str, int]) -> None:
        """Put on record that the batch's completion is announced."""
        self._execute("announce_batch", {"batch_id": str(batch), "counts": Jsonb(dict(counts))})

    def stall_batch(self, batch: BatchId, error: str) -> None:
        """Put on record why the batch does not go on by itself."""
        self._execute("stall_batch", {"batch_id": str(batch), "stalled": error})

    def stall_recording(self, audio: AudioId, error: str) -> None:
        """Put on record why the recording, or its batch's end, does not go on by itself."""
        parameters = {**_id_parameters(audio), "stalled": error}
        with self._transaction() as connection:
            connection.execute(self._sql["ensure_batch"], parameters)
            connection.execute(self._sql["stall_recording"], parameters)
            connection.execute(self._sql["stall_announcement"], parameters)

    def unstall_archive(self, key: ArchiveKey) -> None:
        """Put on record that the archive's batch goes on again."""
        if key.batch is None:
            self._execute("unstall_archive", {"archive_key": key.key})
        else:
            self._execute("unstall_batch", {"batch_id": str(key.batch)})

    def unstall_recording(self, audio: AudioId) -> None:
        """Put on record that the recording, or its batch's end, goes on again."""
        with self._transaction() as connection:
            connection.execute(self._sql["unstall_recording"], _id_parameters(audio))
            connection.execute(self._sql["unstall_announcement"], _id_parameters(audio))

    def counts(self, batch: BatchId) -> dict[str, int]:
        """Count the batch's recordings by state."""
        rows = self._rows("count_recordings", {"batch_id": str(batch)})
        return {row["state"]: row["number"] for row in rows}

    def batch(self, batch: BatchId) -> Batch | None:
        """Read a batch's row; None where there is none (yet)."""
        rows = self._values(Batch, "batch", {"batch_id": str(batch)})
        return rows[0] if rows else None

    def batches(self, limit: int) -> list[Batch]:
        """Read the youngest batches."""
        return self._values(Batch, "recent_batches", {"limit": limit})

    def recordings(self, batch: BatchId) -> list[Recording]:
        """Read all rows of a batch, in the archive's order."""
        return self._values(Recording, "recordings_of_batch", {"batch_id": str(batch)})

    def flagged(self, batch: BatchId) -> int:
        """Count the recordings that a policy flags."""
        number: int = self._rows("count_flagged", {"batch_id": str(batch)})[0]["number"]
        return number

    def unfinished(self, batch: BatchId) -> tuple[int, int]:
        """Count the recordings that are not done, and those of them that do not go on."""
        row = self._rows("count_unfinished", {"batch_id": str(batch)})[0]
        return row["unfinished"], row["stalled"]

    def findings(self, batch: BatchId) -> dict[int, list[PolicyFinding]]:
        """Read what the policies say of a batch's recordings, by ordinal."""
        found: dict[int, list[PolicyFinding]] = {}
        for row in self._rows("verdicts_of_batch", {"batch_id": str(batch)}):
            found.setdefault(row["ordinal"], []).append(msgspec.convert(row, PolicyFinding))
        return found

    def search(self, text: str, limit: int) -> list[SearchHit]:
        """Find transcripts by words, ``"a phrase"``, ``or`` and ``-without``; best first."""
        return self._values(SearchHit, "search", {"text": text, "limit": limit})


def _storable(value: Any) -> Any:
    """Replace the one character that neither text nor jsonb of Postgres holds."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case dict():
            return {name: _storable(item) for name, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return value


def _id_parameters(audio: AudioId) -> dict[str, object]:
    return {"batch_id": str(audio.batch), "ordinal": audio.ordinal}
