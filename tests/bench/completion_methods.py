"""Ways to finish a recording, and to know whether it was its batch's last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString, Protocol

import structlog

from consumers.database.batches import BatchRepository
from consumers.database.pool import Connection, Pool
from consumers.database.rows import Recording
from consumers.documents.transcript import Segment, Transcript, Word
from consumers.stages.completion import Completion
from consumers.store import Store
from events.keys import AudioId, BatchId
from tests.bench.batch_templates import FINISH

_SAID = "so what I wanted to tell you is that nobody had ever asked him that"

_COUNT: LiteralString = """
    SELECT count(*) AS number
    FROM recordings
    WHERE batch_id = %(batch_id)s AND state = 'converted'
"""

_CLOSE: LiteralString = """
    UPDATE batches SET completed_at = now() WHERE batch_id = %(batch_id)s AND completed_at IS NULL
"""

_ADD: LiteralString = "UPDATE batches SET done = done + 1 WHERE batch_id = %(batch_id)s"

_CLOSE_COUNTED: LiteralString = """
    UPDATE batches
    SET completed_at = now()
    WHERE batch_id = %(batch_id)s AND done = total AND completed_at IS NULL
"""


class CompletionMethod(Protocol):
    """One way to do it."""

    @property
    def completions(self) -> int:
        """How often it said that the batch is complete."""

    def finish(self, audio: AudioId) -> None:
        """Put a recording's transcript on record, and complete its batch if it is the last."""


class KeyRecorder(Store):
    """A bucket that records the written keys; the store is no part of the figures."""

    def __init__(self) -> None:
        super().__init__(None, "none")
        self.written: list[str] = []

    def head(self, key: str) -> None:
        """Find nothing: there is no archive to tag."""
        del key

    def write(self, key: str, *_: Any, **__: Any) -> None:
        """Take note of a key."""
        self.written.append(key)


class OwnCompletion:
    """As the consumers do it."""

    def __init__(self, pool: Pool) -> None:
        self._database = BatchRepository(pool)
        self._shelf = KeyRecorder()
        log: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
        self._completion = Completion(self._shelf, self._database, log)

    @property
    def completions(self) -> int:
        """How many ``.complete.json`` were written."""
        return len(self._shelf.written)

    def finish(self, audio: AudioId) -> None:
        self._database.put_transcript(*transcribed(audio))
        self._completion.complete_if_done(audio.batch)


class CountCompletion(BatchRepository):
    """The same rows; then it is counted how many of the batch's are left."""

    completions = 0

    def finish(self, audio: AudioId) -> None:
        self.put_transcript(*transcribed(audio))
        with self._pool.connection() as connection:
            if self._completes(connection, {"batch_id": str(audio.batch)}):
                self.completions += 1

    def _completes(self, connection: Connection, batch: Mapping[str, str]) -> bool:
        row = connection.execute(_COUNT, batch).fetchone()
        is_last = row is not None and row["number"] == 0
        return is_last and connection.execute(_CLOSE, batch).rowcount > 0


class CounterCompletion(CountCompletion):
    """The same rows; in their transaction one is added to a number in the batch's row."""

    def _completes(self, connection: Connection, batch: Mapping[str, str]) -> bool:
        return connection.execute(_CLOSE_COUNTED, batch).rowcount > 0

    def _put_recording(self, connection: Connection, recording: Recording) -> None:
        super()._put_recording(connection, recording)
        connection.execute(_ADD, {"batch_id": str(recording.audio.batch)})


def transcribed(audio: AudioId) -> tuple[Recording, Transcript]:
    """Make the rows of ten seconds of speech."""
    words = tuple(
        Word(word, number * 0.7, number * 0.7 + 0.5, 0.9)
        for number, word in enumerate(_SAID.split())
    )
    text = f"{_SAID} {audio.ordinal}"
    segments = (Segment(0.0, 10.0, text, None, words),)
    return (
        Recording(
            audio=audio,
            state="transcribed",
            path=f"tapes/{audio.ordinal}.mp3",
            duration=10.5,
            codec="mp3",
            sample_rate=44100,
            channels=2,
            loudness_dbfs=-23.5,
            source_sha256="0" * 64,
            opus_key=audio.opus_key,
            transcript_key=audio.transcript_key,
        ),
        Transcript(str(audio), "transcribed", None, 10.5, "en", 0.9, "tiny", None, segments),
    )


def finish_unmeasured(pool: Pool, batch: BatchId, ordinals: range) -> None:
    """Finish recordings that are not measured, all at once, for each way."""
    given = {"batch": str(batch), "first": ordinals.start, "end": ordinals.stop}
    with pool.connection() as connection:
        connection.execute(FINISH, given)
        connection.execute(
            "UPDATE batches SET done = done + %(end)s - %(first)s WHERE batch_id = %(batch)s", given
        )
