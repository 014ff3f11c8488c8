"""The event that dropscribe acts on: an object was created in the bucket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ObjectCreated:
    """A store's announcement of an object; a hint, as handlers act on the object's present state.

    Attributes:
        bucket: The bucket's name.
        key: The object's key, decoded, as for a GET request.
        size: Bytes, or None if the store left it out.
        etag: The object's ETag without quotes, or None.
        time: The store's time of the event (aware), or None.
        sequencer: Orders the events of one key, or None; see `happened_before`.
        source: The dialect: ``aws``, ``eventbridge``, ``minio``, ``rustfs``, ``ceph``, or
            ``dropscribe`` if an operator resent the event.
    """

    bucket: str
    key: str
    size: int | None
    etag: str | None
    time: datetime | None
    sequencer: str | None
    source: str


def happened_before(first: ObjectCreated, second: ObjectCreated) -> bool | None:
    """Whether ``first`` is the older of two events of one key; None if that is unknown.

    Sequencers are hexadecimal strings of different lengths: the shorter is padded with zeros on
    the right, then they compare as strings (Amazon S3 user guide, "Event message structure").
    """
    if (first.bucket, first.key) != (second.bucket, second.key):
        return None
    if first.sequencer is None or second.sequencer is None:
        return None
    width = max(len(first.sequencer), len(second.sequencer))
    return first.sequencer.ljust(width, "0") < second.sequencer.ljust(width, "0")
