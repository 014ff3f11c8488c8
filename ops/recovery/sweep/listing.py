"""Reading a listing of ``processed/``: keys in order become recordings and batches, in order.

A batch's keys stand together, its recordings' before its own; so one look at
each key is enough, and no more than one page of them is held.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from consumers.database.sweep import LAST_ID, Position
from consumers.store import ListedObject
from events.keys import (
    BATCH_SUFFIXES,
    CLIP,
    COMPLETE,
    DECISION,
    MANIFEST,
    OPUS,
    RECORDING_SUFFIXES,
    TRANSCRIPT,
    VERDICT,
    BatchId,
    MalformedKeyError,
)

#: What follows a batch's prefix in the keys that dropscribe writes.
_REST = re.compile(
    rf"-(\d{{7}})({'|'.join(map(re.escape, RECORDING_SUFFIXES))})"
    rf"|({'|'.join(map(re.escape, BATCH_SUFFIXES))})"
    # Of these nothing is asked, but that they are ours.
    rf"|-\d{{7}}\.\d{{9}}-\d{{9}}{re.escape(CLIP)}|\.\d{{20}}-[0-9a-f]{{6}}{re.escape(DECISION)}",
    re.ASCII,
)

_EXAMPLE = BatchId("20250622-143052-a1b2c3")
_PREFIX = len(_EXAMPLE.prefix)
_ID = _PREFIX - len(str(_EXAMPLE))


@dataclass(slots=True)
class SeenRecording:
    """A recording of which an object is stored, and when each one was."""

    position: Position
    opus: datetime | None = None
    transcript: datetime | None = None
    verdict: datetime | None = None


@dataclass(slots=True)
class SeenBatch:
    """A batch of which an object is stored, and when its own ones were."""

    batch_id: str
    manifest: datetime | None = None
    complete: datetime | None = None


@dataclass(slots=True)
class Chunk:
    """What one page of the listing completes.

    Attributes:
        recordings: In order; all that is stored of each is known.
        batches: Those whose last object is passed, in order.
        foreign: Keys that dropscribe did not make.
        after: Where the chunk before ended, in recordings.
        upto: Where this one does: what is between them and not here, is not stored.
        after_batch: The last batch of the chunk before.
        upto_batch: That of this one.
    """

    after: Position
    upto: Position
    after_batch: str
    upto_batch: str
    recordings: list[SeenRecording] = field(default_factory=list)
    batches: list[SeenBatch] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


class Gatherer:
    """Turns pages into chunks."""

    def __init__(self) -> None:
        self._prefix = ""
        self._batch: SeenBatch | None = None
        self._recording: SeenRecording | None = None
        self._chunk = Chunk(("", -1), ("", -1), "", "")

    def add(self, page: Sequence[ListedObject]) -> Chunk:
        """Take the next page; what may go on with the one after is held back."""
        for listed in page:
            self._take(listed)
        return self._turned(self._chunk.upto, self._chunk.upto_batch)

    def finish(self) -> Chunk:
        """Give what was held back; it reaches to the end of all ids."""
        self._end_batch()
        return self._turned((LAST_ID, -1), LAST_ID)

    def _turned(self, upto: Position, upto_batch: str) -> Chunk:
        chunk = self._chunk
        chunk.upto, chunk.upto_batch = upto, upto_batch
        self._chunk = Chunk(upto, upto, upto_batch, upto_batch)
        return chunk

    def _take(self, listed: ListedObject) -> None:
        key = listed.key
        if key[:_PREFIX] != self._prefix and not self._begin_batch(key[:_PREFIX]):
            self._chunk.foreign.append(key)
            return
        rest = _REST.fullmatch(key, _PREFIX)
        if rest is None or self._batch is None:
            self._chunk.foreign.append(key)
            return
        ordinal, suffix, own_suffix = rest.groups()
        if ordinal is None:
            if own_suffix is None:
                return
            self._end_recording()
            if own_suffix == MANIFEST:
                self._batch.manifest = listed.last_modified
            elif own_suffix == COMPLETE:
                self._batch.complete = listed.last_modified
            return
        recording = self._of((self._batch.batch_id, int(ordinal)))
        if suffix == OPUS:
            recording.opus = listed.last_modified
        elif suffix == TRANSCRIPT:
            recording.transcript = listed.last_modified
        elif suffix == VERDICT:
            recording.verdict = listed.last_modified

    def _of(self, position: Position) -> SeenRecording:
        if self._recording is None or self._recording.position != position:
            self._end_recording()
            self._recording = SeenRecording(position)
        return self._recording

    def _begin_batch(self, prefix: str) -> bool:
        """Begin with the next batch; False where the prefix is none of a batch's."""
        try:
            batch = BatchId(prefix[_ID:])
        except MalformedKeyError:
            return False
        if batch.prefix != prefix:
            return False
        self._end_batch()
        self._prefix = prefix
        self._batch = SeenBatch(str(batch))
        return True

    def _end_batch(self) -> None:
        self._end_recording()
        if self._batch is not None:
            self._chunk.batches.append(self._batch)
            self._chunk.upto_batch = self._batch.batch_id
        self._batch = None
        self._prefix = ""

    def _end_recording(self) -> None:
        if self._recording is not None:
            self._chunk.recordings.append(self._recording)
            self._chunk.upto = self._recording.position
        self._recording = None
