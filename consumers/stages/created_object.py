"""The object that an event announces.

Each function raises a `PermanentError` if the event is about another kind of object.
"""

from __future__ import annotations

from consumers.errors import PermanentError
from events.event import ObjectCreated
from events.keys import (
    ArchiveKey,
    AudioId,
    BatchId,
    BatchKey,
    MalformedKeyError,
    ProcessedKey,
    RecordingKey,
    parse_key,
)


def archive_key(event: ObjectCreated) -> ArchiveKey:
    """Return the key of the archive that an event announces."""
    key = _parsed(event)
    if not isinstance(key, ArchiveKey):
        raise PermanentError(f"{event.key} is not the key of an archive")
    return key


def audio_id(event: ObjectCreated, suffix: str) -> AudioId:
    """Return the recording whose object with this suffix an event announces."""
    key = _parsed(event)
    if not isinstance(key, RecordingKey) or key.suffix != suffix:
        raise PermanentError(f"{event.key} is not a recording's key that ends in {suffix}")
    return key.audio


def batch_id(event: ObjectCreated, suffix: str) -> BatchId:
    """Return the batch whose object with this suffix an event announces."""
    key = _parsed(event)
    if not isinstance(key, BatchKey) or key.suffix != suffix:
        raise PermanentError(f"{event.key} is not a batch's key that ends in {suffix}")
    return key.batch


def _parsed(event: ObjectCreated) -> ArchiveKey | ProcessedKey:
    try:
        return parse_key(event.key)
    except MalformedKeyError as exc:
        raise PermanentError(str(exc)) from exc
