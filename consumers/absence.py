"""When an event's object is not there: too early, or too late."""

from __future__ import annotations

from datetime import datetime, timedelta

from consumers.errors import TransientError
from events.event import ObjectCreated

#: An event can come before its object can be read: some stores announce the
#: start of a multipart upload. After this long, the object was deleted.
GRACE = timedelta(minutes=15)


def check_deleted(event: ObjectCreated, now: datetime) -> None:
    """Accept that an event's object is gone.

    Raises:
        TransientError: The event is young, so its object may still come.
    """
    if event.time is not None and now - event.time < GRACE:
        raise TransientError(f"{event.key} can't be read yet")
