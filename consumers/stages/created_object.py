"""When an event's object is not there: too early, too late, or in another bucket."""

from __future__ import annotations

from datetime import datetime, timedelta

from consumers.errors import PermanentError, TransientError
from events.event import ObjectCreated

#: An event can come before its object can be read: some stores announce the
#: start of a multipart upload. After this long, the object was deleted. It has
#: to be over before the last retry.
GRACE = timedelta(minutes=5)


def check_bucket(event: ObjectCreated, bucket: str) -> None:
    """Make sure that an event is about the bucket that is worked on.

    Raises:
        PermanentError: It is not; HEAD would take its object for deleted.
    """
    if event.bucket != bucket:
        raise PermanentError(
            f"the event is about bucket {event.bucket!r}, but S3_BUCKET is {bucket!r}"
        )


def check_deleted(event: ObjectCreated, now: datetime) -> None:
    """Accept that an event's object is gone.

    Args:
        event: What the store announced.
        now: The store's time, as this host's clock may be another.

    Raises:
        TransientError: The event is young, so its object may still come.
    """
    if event.time is not None and now - event.time < GRACE:
        raise TransientError(f"{event.key} can't be read yet")
