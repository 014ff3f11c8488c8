"""A stage that is not part of the product: it counts the words of each transcript."""

from __future__ import annotations

import json
from collections.abc import Sequence

from consumers.database.batches import BatchRepository
from consumers.database.roles import READ
from consumers.documents.transcript import Transcript
from consumers.errors import PermanentError, TransientError
from consumers.runtime.observer import Observer
from consumers.stages.spec import StageSpec
from consumers.store import Store
from events.event import ObjectCreated
from events.keys import TRANSCRIPT, RecordingKey, parse_key

WORDS = ".words.json"

SPEC = StageSpec(
    writes=(WORDS,),
    tables={"recordings": READ, "transcripts": READ},
    states=("counted",),
)


class WordCount:
    """Stores the number of words in a recording, beside its transcript."""

    group = 1

    def __init__(self, store: Store, database: BatchRepository, observer: Observer) -> None:
        self._store = store
        self._database = database
        self._observer = observer

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Count the words of each event's transcript."""
        return [self._outcome(event) for event in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Record nothing."""

    def _outcome(self, event: ObjectCreated) -> Exception | None:
        try:
            self._count(event.key)
        except (PermanentError, TransientError) as exc:
            return exc
        return None

    def _count(self, key: str) -> None:
        parsed = parse_key(key)
        assert isinstance(parsed, RecordingKey)
        audio = parsed.audio
        recordings = self._database.recordings(audio.batch)
        (path,) = [each.path for each in recordings if each.audio == audio]
        words = len(Transcript.from_json(self._store.read(key)).text.split())
        self._store.write(
            key.removesuffix(TRANSCRIPT) + WORDS,
            json.dumps({"path": path, "words": words}).encode(),
            content_type="application/json",
        )
        self._observer.recording_ended(audio, "counted", 0.0)
