"""The object that an event announces: its key, and what to do where it does not exist."""

from __future__ import annotations

from datetime import datetime, timedelta

from consumers.errors import PermanentError, TransientError
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

#: An event can come before its object can be read: some stores announce the start of a
#: multipart upload. After this long, the object was deleted. It has to be over before the
#: last retry.
GRACE = timedelta(minutes=5)


def check_bucket(event: ObjectCreated, bucket: str) -> None:
    """Refuse an event of another bucket: HEAD would take its object for deleted.

    Raises:
        PermanentError: The event's bucket is not ``bucket``.
    """
    if event.bucket != bucket:
        raise PermanentError(
            f"the event is about bucket {event.bucket!r}, but S3_BUCKET is {bucket!r}"
        )


def check_deleted(event: ObjectCreated, now: datetime) -> None:
    """Accept that an event's object does not exist.

    Args:
        event: The event.
        now: The store's time, as this host's clock may differ.

    Raises:
        TransientError: The event is young, so its object may still come.
    """
    if event.time is not None and now - event.time < GRACE:
        raise TransientError(f"{event.key} is not readable yet")


def archive_key(event: ObjectCreated) -> ArchiveKey:
    """Return the key of the archive that an event announces.

    Raises:
        PermanentError: The event is about another kind of object.
    """
    key = _parsed(event)
    if not isinstance(key, ArchiveKey):
        raise PermanentError(f"{event.key} is not the key of an archive")
    return key


def audio_id(event: ObjectCreated, suffix: str) -> AudioId:
    """Return the recording whose object with this suffix an event announces.

    Raises:
        PermanentError: The event is about another kind of object.
    """
    key = _parsed(event)
    if not isinstance(key, RecordingKey) or key.suffix != suffix:
        raise PermanentError(f"{event.key} is not a recording's key that ends in {suffix}")
    return key.audio


def batch_id(event: ObjectCreated, suffix: str) -> BatchId:
    """Return the batch whose object with this suffix an event announces.

    Raises:
        PermanentError: The event is about another kind of object.
    """
    key = _parsed(event)
    if not isinstance(key, BatchKey) or key.suffix != suffix:
        raise PermanentError(f"{event.key} is not a batch's key that ends in {suffix}")
    return key.batch


def _parsed(event: ObjectCreated) -> ArchiveKey | ProcessedKey:
    try:
        return parse_key(event.key)
    except MalformedKeyError as exc:
        raise PermanentError(str(exc)) from exc
