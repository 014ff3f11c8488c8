"""Parts of a consumer, wrapped to kill their process (see `tests.harness.faults.death`)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import IO, Any, BinaryIO

from consumers.audio.media import Transcoded
from consumers.audio.pool import TranscoderPool
from consumers.database.batches import BatchRepository
from consumers.database.rows import Recording
from consumers.documents.note import Note
from consumers.documents.transcript import Transcript
from consumers.documents.verdict import PolicyVerdict
from consumers.policy.judge import Judge
from consumers.runtime.handler import Handler
from consumers.speech.recogniser import Recogniser, Recognition, Waveform
from consumers.store import Store, StoredObject
from events.event import ObjectCreated
from events.keys import (
    ARCHIVES,
    CLIP,
    COMPLETE,
    MANIFEST,
    OPUS,
    REVIEW,
    TRANSCRIPT,
    VERDICT,
    AudioId,
    BatchId,
)
from tests.harness.faults.death import DeathPoint, Deaths

#: What an object's key ends with, and the point that is reached when it is stored.
_STORED = {
    OPUS: DeathPoint.OPUS_STORED,
    MANIFEST: DeathPoint.MANIFEST_STORED,
    TRANSCRIPT: DeathPoint.TRANSCRIPT_STORED,
    VERDICT: DeathPoint.VERDICT_STORED,
    COMPLETE: DeathPoint.COMPLETION_STORED,
    CLIP: DeathPoint.CLIP_STORED,
    REVIEW: DeathPoint.ITEMS_STORED,
}

#: What an event's key ends with, and the point that is reached when all is done about it.
_HANDLED = {
    TRANSCRIPT: DeathPoint.MODERATED,
    COMPLETE: DeathPoint.ITEMISED,
}


class DyingStore(Store):
    """A store after whose answers the process dies."""

    def __init__(self, store: Store, deaths: Deaths) -> None:
        vars(self).update(vars(store))
        self._deaths = deaths

    def stream(self, stored: StoredObject) -> BinaryIO:
        file = super().stream(stored)
        if stored.key.startswith(ARCHIVES) and self._deaths.claim(DeathPoint.ARCHIVE_FETCHED):
            file.read(1)
            self._deaths.die()
        return file

    def read_range(self, stored: StoredObject, start: int, length: int) -> bytes:
        content = super().read_range(stored, start, length)
        if stored.key.startswith(ARCHIVES):
            self._deaths.reach(DeathPoint.ARCHIVE_FETCHED)
        return content

    def download(self, key: str, file: IO[bytes]) -> None:
        super().download(key, file)
        if key.endswith(OPUS):
            self._deaths.reach(DeathPoint.OPUS_FETCHED)

    def write(self, key: str, *content: Any, **properties: Any) -> None:
        super().write(key, *content, **properties)
        for suffix, point in _STORED.items():
            if key.endswith(suffix):
                self._deaths.reach(point)


class DyingDatabase(BatchRepository):
    """A database after whose commits the process dies."""

    def __init__(self, database: BatchRepository, deaths: Deaths) -> None:
        vars(self).update(vars(database))
        self._deaths = deaths

    def put_recording(self, recording: Recording) -> None:
        super().put_recording(recording)
        self._deaths.reach(DeathPoint.ROW_WRITTEN)

    def put_transcript(self, recording: Recording, transcript: Transcript) -> None:
        super().put_transcript(recording, transcript)
        self._deaths.reach(DeathPoint.ROW_WRITTEN)

    def put_moderation(self, audio: AudioId, moderation: PolicyVerdict) -> None:
        super().put_moderation(audio, moderation)
        self._deaths.reach(DeathPoint.VERDICT_WRITTEN)

    def seal(
        self,
        batch: BatchId,
        *,
        rejected: int,
        ignored: int,
        failure: str | None,
        notes: Sequence[Note] = (),
    ) -> None:
        super().seal(batch, rejected=rejected, ignored=ignored, failure=failure, notes=notes)
        self._deaths.reach(DeathPoint.SEALED)

    def complete(self, batch: BatchId) -> bool:
        is_complete = super().complete(batch)
        if is_complete:
            self._deaths.reach(DeathPoint.COMPLETED)
        return is_complete


class DyingTranscoders(TranscoderPool):
    """Transcoders during whose work the process dies."""

    def __init__(self, pool: TranscoderPool, deaths: Deaths) -> None:
        self._pool = pool
        self._deaths = deaths

    def transcode(self, source: BinaryIO, demuxer: str | None, output: BinaryIO) -> Transcoded:
        if not self._deaths.claim(DeathPoint.MID_TRANSCODE):
            return self._pool.transcode(source, demuxer, output)
        threading.Thread(target=self._die_once_begun, args=[output], daemon=True).start()
        try:
            return self._pool.transcode(source, demuxer, output)
        finally:
            # What cannot be decoded, or is very short, is over before it is seen to begin.
            self._deaths.die()

    def _die_once_begun(self, output: BinaryIO) -> None:
        while not os.fstat(output.fileno()).st_size:
            time.sleep(0.001)
        self._deaths.die()

    def pids(self) -> frozenset[int]:
        return self._pool.pids()

    def close(self) -> None:
        self._pool.close()


class DyingRecogniser:
    """A recogniser after whose work the process dies."""

    def __init__(self, recogniser: Recogniser, deaths: Deaths) -> None:
        self._recogniser = recogniser
        self._deaths = deaths

    @property
    def name(self) -> str:
        """The model's name."""
        return self._recogniser.name

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Recognition]:
        outcomes = self._recogniser.transcribe(group)
        self._deaths.reach(DeathPoint.RECOGNISED)
        return outcomes


class DyingJudge:
    """A judge after whose work the process dies."""

    def __init__(self, judge: Judge, deaths: Deaths) -> None:
        self._judge = judge
        self._deaths = deaths
        self.model = judge.model
        self.adapter = judge.adapter
        self.context = judge.context

    def prompt_tokens(self, policy: str) -> int:
        return self._judge.prompt_tokens(policy)

    def content_tokens(self, content: str) -> int:
        return self._judge.content_tokens(content)

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        scores = self._judge.scores(policy, contents)
        self._deaths.reach(DeathPoint.JUDGED)
        return scores


class DyingHandler:
    """A handler whose process dies after the work and before the verdict."""

    def __init__(self, handler: Handler, deaths: Deaths) -> None:
        self._handler = handler
        self._deaths = deaths

    @property
    def group(self) -> int:
        return self._handler.group

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        outcomes = self._handler.handle(events)
        if None in outcomes:
            self._deaths.reach(DeathPoint.BEFORE_ACK)
        for event, outcome in zip(events, outcomes, strict=True):
            for suffix, point in _HANDLED.items():
                if outcome is None and event.key.endswith(suffix):
                    self._deaths.reach(point)
        return outcomes

    def give_up(self, event: ObjectCreated, error: str) -> None:
        self._handler.give_up(event, error)
