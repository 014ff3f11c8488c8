"""What a call of a handler did, for the log lines of its deliveries."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from consumers.broker.verdict import Verdict
from consumers.runtime.observer import Observer
from events.event import ObjectCreated
from events.keys import AudioId, BatchId, MalformedKeyError, RecordingKey, batch_in, parse_key


@dataclass(slots=True)
class _Share:
    """One delivery's own: its batch, the recordings that ended, and how much sound they hold."""

    batch: BatchId | None
    recordings: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class CallSummary:
    """What one call did. Its size does not grow with the work.

    Args:
        events: What the handler was called with. Only those of one recording each
            come in groups.
    """

    def __init__(self, events: Sequence[ObjectCreated]) -> None:
        self._lock = threading.Lock()
        self._size = len(events)
        self._stages: dict[str, float] = {}
        # Read once: each log line needs it.
        self._subjects = {event.key: _subject(event.key) for event in events}
        self._shares = {audio: _Share(batch) for audio, batch in self._subjects.values()}

    def add_stage(self, stage: str, seconds: float) -> None:
        """Add to the time that a stage took."""
        with self._lock:
            self._stages[stage] = self._stages.get(stage, 0.0) + seconds

    def add_batch(self, batch: BatchId) -> None:
        """Add which batch an archive stands for."""
        if share := self._shares.get(None):
            share.batch = batch

    def add_recording(self, audio: AudioId, state: str, seconds: float) -> None:
        """Add a recording that ended."""
        with self._lock:
            share = self._shares.get(audio) or self._shares.get(None)
            if share is not None:
                share.recordings[state] += 1
                share.seconds += seconds

    def words(self, event: ObjectCreated) -> dict[str, Any]:
        """Give what a log line says of one event's part in the call.

        ``stages`` is of the whole call, which many events can share: ``group``
        says how many.
        """
        with self._lock:
            share = self._shares[self._subjects[event.key][0]]
            words: dict[str, Any] = {"batch": None if share.batch is None else str(share.batch)}
            if share.recordings:
                words["recordings"] = dict(share.recordings)
                words["audio_seconds"] = round(share.seconds, 1)
            if self._stages:
                words["stages"] = {name: round(took, 3) for name, took in self._stages.items()}
            if self._size > 1:
                words["group"] = self._size
            return words


def _subject(key: str) -> tuple[AudioId | None, BatchId | None]:
    """Give the recording that an event is about, None for an archive or a batch; and the batch."""
    try:
        parsed = parse_key(key)
    except MalformedKeyError:
        return None, None
    audio = parsed.audio if isinstance(parsed, RecordingKey) else None
    return audio, batch_in(parsed)


#: The account of the call that a thread works for. Threads that work for another
#: thread's call have to run in a copy of its context.
_current: ContextVar[CallSummary | None] = ContextVar("call_summary", default=None)


class Accountant:
    """An observer that passes on what it is told, and keeps account of it for each call."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @contextmanager
    def account(self, events: Sequence[ObjectCreated]) -> Iterator[CallSummary]:
        """Keep account of what a call does, as long as the block runs."""
        account = CallSummary(events)
        token = _current.set(account)
        try:
            yield account
        finally:
            _current.reset(token)

    def turned(self) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.turned()

    def connected(self, *, to_broker: bool) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.connected(to_broker=to_broker)

    def in_hand(self, deliveries: int) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.in_hand(deliveries)

    def settled(self, verdict: Verdict, seconds: float) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.settled(verdict, seconds)

    def stage_took(self, stage: str, seconds: float) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.stage_took(stage, seconds)
        if account := _current.get():
            account.add_stage(stage, seconds)

    def batch_known(self, batch: BatchId) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.batch_known(batch)
        if account := _current.get():
            account.add_batch(batch)

    def recording_ended(self, audio: AudioId, state: str, seconds: float) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.recording_ended(audio, state, seconds)
        if account := _current.get():
            account.add_recording(audio, state, seconds)

    def model_filled(self, ratio: float) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.model_filled(ratio)

    def batch_completed(self, seconds: float) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.batch_completed(seconds)

    def store_failed(self) -> None:
        """See `consumers.runtime.observer.Observer`."""
        self._observer.store_failed()
