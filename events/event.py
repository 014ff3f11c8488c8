"""The one event that dropscribe acts on: an object was created in the bucket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ObjectCreated:
    """An object was stored, as its store announced it.

    An event is a hint: handlers act on what the store says of the key now.

    Attributes:
        bucket: The bucket's name.
        key: The object's key, decoded: what a GET request is to name.
        size: Bytes, or None where the store left it out.
        etag: The object's ETag without quotes, or None.
        time: When the store says it happened (aware), or None.
        sequencer: Orders the events of one key, or None. See `sequence`.
        source: The dialect it came in: ``aws``, ``eventbridge``, ``minio``, ``rustfs``, ``ceph``,
            or ``dropscribe`` where an operator told of it again.
    """

    bucket: str
    key: str
    size: int | None
    etag: str | None
    time: datetime | None
    sequencer: str | None
    source: str


def happened_before(first: ObjectCreated, second: ObjectCreated) -> bool | None:
    """Tell whether ``first`` is the older of two events of one key.

    Sequencers are hexadecimal strings of differing lengths: the shorter is
    padded with zeros on the right, then they compare as strings (Amazon S3
    user guide, "Event message structure").

    Returns:
        True or False; None where the two can't be ordered (different keys, or
        a sequencer is missing).
    """
    if (first.bucket, first.key) != (second.bucket, second.key):
        return None
    if first.sequencer is None or second.sequencer is None:
        return None
    width = max(len(first.sequencer), len(second.sequencer))
    return first.sequencer.ljust(width, "0") < second.sequencer.ljust(width, "0")
