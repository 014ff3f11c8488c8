"""Reading a listing of ``processed/``: sorted keys become sorted recordings and batches.

The keys of a batch stand together, those of its recordings before its own. So one pass
is enough, with one page in memory.
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
    # Clips and decisions are known, and not compared with rows.
    rf"|-\d{{7}}\.\d{{9}}-\d{{9}}{re.escape(CLIP)}|\.\d{{20}}-[0-9a-f]{{6}}{re.escape(DECISION)}",
    re.ASCII,
)

_EXAMPLE = BatchId("20250622-143052-a1b2c3")
_PREFIX = len(_EXAMPLE.prefix)
_ID = _PREFIX - len(str(_EXAMPLE))


@dataclass(slots=True)
class SeenRecording:
    """A recording with a stored object, and when each object was stored."""

    position: Position
    opus: datetime | None = None
    transcript: datetime | None = None
    verdict: datetime | None = None


@dataclass(slots=True)
class SeenBatch:
    """A batch with a stored object, and when its own objects were stored."""

    batch_id: str
    manifest: datetime | None = None
    complete: datetime | None = None


@dataclass(slots=True)
class ListingChunk:
    """The recordings and batches whose keys end within one page of the listing.

    A recording or batch between the bounds that is not listed here is not stored.

    Attributes:
        after: The last recording of the chunk before.
        upto: The last recording of this chunk.
        after_batch: The last batch of the chunk before.
        upto_batch: The last batch of this chunk.
        recordings: Sorted, each with all its objects.
        batches: Sorted, each with all its objects.
        foreign: Keys that dropscribe did not make.
    """

    after: Position
    upto: Position
    after_batch: str
    upto_batch: str
    recordings: list[SeenRecording] = field(default_factory=list)
    batches: list[SeenBatch] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


class ListingParser:
    """Turns pages of the listing into chunks."""

    def __init__(self) -> None:
        self._prefix = ""
        self._batch: SeenBatch | None = None
        self._recording: SeenRecording | None = None
        self._chunk = ListingChunk(("", -1), ("", -1), "", "")

    def add(self, page: Sequence[ListedObject]) -> ListingChunk:
        """Take the next page; a recording that may continue on the page after is held back."""
        for listed in page:
            self._take(listed)
        return self._take_chunk(self._chunk.upto, self._chunk.upto_batch)

    def finish(self) -> ListingChunk:
        """Return what was held back; this chunk reaches to the end of all ids."""
        self._end_batch()
        return self._take_chunk((LAST_ID, -1), LAST_ID)

    def _take_chunk(self, upto: Position, upto_batch: str) -> ListingChunk:
        chunk = self._chunk
        chunk.upto, chunk.upto_batch = upto, upto_batch
        self._chunk = ListingChunk(upto, upto, upto_batch, upto_batch)
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
        recording = self._recording_at((self._batch.batch_id, int(ordinal)))
        if suffix == OPUS:
            recording.opus = listed.last_modified
        elif suffix == TRANSCRIPT:
            recording.transcript = listed.last_modified
        elif suffix == VERDICT:
            recording.verdict = listed.last_modified

    def _recording_at(self, position: Position) -> SeenRecording:
        if self._recording is None or self._recording.position != position:
            self._end_recording()
            self._recording = SeenRecording(position)
        return self._recording

    def _begin_batch(self, prefix: str) -> bool:
        """Begin the next batch; False if the prefix is not that of a batch."""
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
