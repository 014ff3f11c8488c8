"""The summary of one handler call, for the log lines of its deliveries."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from events.event import ObjectCreated
from events.keys import AudioId, BatchId, MalformedKeyError, RecordingKey, batch_in, parse_key


@dataclass(slots=True)
class _Share:
    """One delivery's share: its batch, its finished recordings by state, and their sound."""

    batch: BatchId | None
    recordings: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class CallSummary:
    """What one call of a handler did. Its size does not grow with the work.

    Args:
        events: Those of the call. Groups only hold events of one recording each.
    """

    def __init__(self, events: Sequence[ObjectCreated]) -> None:
        self._lock = threading.Lock()
        self._size = len(events)
        self._steps: dict[str, float] = {}
        # Read once: each log line needs it.
        self._subjects = {event.key: _subject(event.key) for event in events}
        self._shares = {audio: _Share(batch) for audio, batch in self._subjects.values()}

    def add_step(self, step: str, seconds: float) -> None:
        """Add to the seconds of a step, from any thread; a step may report more than once."""
        with self._lock:
            self._steps[step] = self._steps.get(step, 0.0) + seconds

    def add_batch(self, batch: BatchId) -> None:
        """Set the batch of the call's archive."""
        if share := self._shares.get(None):
            share.batch = batch

    def add_recording(self, audio: AudioId, state: str, seconds: float) -> None:
        """Count a finished recording, and its seconds of sound."""
        with self._lock:
            share = self._shares.get(audio) or self._shares.get(None)
            if share is not None:
                share.recordings[state] += 1
                share.seconds += seconds

    def fields(self, event: ObjectCreated) -> dict[str, Any]:
        """Describe one event's share of the call, for its log line.

        ``stages`` is of the whole call, and ``group`` the number of events that share it.
        """
        with self._lock:
            share = self._shares[self._subjects[event.key][0]]
            fields: dict[str, Any] = {"batch": None if share.batch is None else str(share.batch)}
            if share.recordings:
                fields["recordings"] = dict(share.recordings)
                fields["audio_seconds"] = round(share.seconds, 1)
            if self._steps:
                fields["stages"] = {name: round(took, 3) for name, took in self._steps.items()}
            if self._size > 1:
                fields["group"] = self._size
            return fields


def _subject(key: str) -> tuple[AudioId | None, BatchId | None]:
    """Parse a key into its recording (None for an archive or a batch) and its batch."""
    try:
        parsed = parse_key(key)
    except MalformedKeyError:
        return None, None
    audio = parsed.audio if isinstance(parsed, RecordingKey) else None
    return audio, batch_in(parsed)


#: The summary of the call that a thread works for. Threads that work for another
#: thread's call have to run in a copy of its context.
_current: ContextVar[CallSummary | None] = ContextVar("call_summary", default=None)


def current_summary() -> CallSummary | None:
    """Return the summary of the call under way in this context."""
    return _current.get()


@contextmanager
def summarised(events: Sequence[ObjectCreated]) -> Iterator[CallSummary]:
    """Summarise what is reported while the block runs."""
    summary = CallSummary(events)
    token = _current.set(summary)
    try:
        yield summary
    finally:
        _current.reset(token)
