"""Bucket notifications: the stores' five dialects and our own, decoded once, here.

============================  ==========================  ====================
store                         recognised by               key in the record
============================  ==========================  ====================
AWS S3 (to SQS; moto too)     ``eventSource: aws:s3``     form-encoded
AWS S3 by EventBridge         ``source: aws.s3``          raw
MinIO                         ``eventSource: minio:s3``   form-encoded
RustFS                        ``eventSource: rustfs:s3``  form-encoded
Ceph RADOS Gateway            ``eventSource: ceph:s3``    raw
an operator (`encode`)        ``dropscribe:s3``           raw
============================  ==========================  ====================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from events.event import ObjectCreated

_FORM_ENCODED = {"aws:s3": "aws", "minio:s3": "minio", "rustfs:s3": "rustfs"}
_RAW = {"ceph:s3": "ceph", "dropscribe:s3": "dropscribe"}

#: An object that was restored from an archive tier, such as Glacier, counts as created: it can be
#: read only now.
_CREATED = ("ObjectCreated:", "ObjectRestore:Completed")
_CREATED_DETAILS = ("Object Created", "Object Restore Completed")

#: SNS wraps a body once; more wrappers are not a notification.
_MAX_WRAPPERS = 2

#: Up to the digits of 64 bits.
_DIGITS = re.compile(r"[0-9]{1,19}")

_Json = dict[str, Any]


class MalformedNotificationError(ValueError):
    """A message is not a bucket notification in any dialect."""


def decode(body: str | bytes) -> tuple[ObjectCreated, ...]:
    """Read the events of a message.

    Returns:
        One event per record of a created or restored object; none for a store's test message, and
        none for other records, such as a removed object's, which a rule should not send.

    Raises:
        MalformedNotificationError: The message is not a bucket notification.
    """
    message = _parse(body)
    for _ in range(_MAX_WRAPPERS):
        if "Message" not in message:
            break
        message = _parse(message["Message"])
    if message.get("source") == "aws.s3":
        return tuple(_eventbridge_events(message))
    if message.get("Event") == "s3:TestEvent":
        return ()
    records = message.get("Records")
    if not isinstance(records, list):
        raise MalformedNotificationError("the message has no list of Records")
    return tuple(event for record in records for event in _record_events(record))


def encode(bucket: str, key: str) -> str:
    """Make a message that resends the event of an object; HEAD supplies the rest."""
    record = {
        "eventSource": "dropscribe:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
    }
    return json.dumps({"Records": [record]}, ensure_ascii=False)


def _parse(body: object) -> _Json:
    if not isinstance(body, str | bytes):
        raise MalformedNotificationError(f"expected JSON text, got {type(body).__name__}")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedNotificationError(f"the message is not JSON: {exc}") from exc
    if not isinstance(message, dict):
        raise MalformedNotificationError("the message is not a JSON object")
    return message


def _record_events(record: object) -> Iterator[ObjectCreated]:
    if not isinstance(record, dict):
        raise MalformedNotificationError("a record is not a JSON object")
    name = _text(record, "eventName")
    # Only MinIO and RustFS write the "s3:".
    if not name.removeprefix("s3:").startswith(_CREATED):
        return
    source = _text(record, "eventSource")
    s3 = _object(record, "s3")
    stored = _object(s3, "object")
    key = _text(stored, "key")
    if source in _FORM_ENCODED:
        key = _form_decoded(key)
    elif source not in _RAW:
        raise MalformedNotificationError(f"unknown eventSource {source!r}")
    yield ObjectCreated(
        bucket=_text(_object(s3, "bucket"), "name"),
        key=key,
        size=_size(stored.get("size")),
        etag=_etag(stored.get("eTag")),
        time=_time(record.get("eventTime")),
        sequencer=_optional_text(stored.get("sequencer")),
        source=(_FORM_ENCODED | _RAW)[source],
    )


def _eventbridge_events(message: _Json) -> Iterator[ObjectCreated]:
    if message.get("detail-type") not in _CREATED_DETAILS:
        return
    detail = _object(message, "detail")
    stored = _object(detail, "object")
    yield ObjectCreated(
        bucket=_text(_object(detail, "bucket"), "name"),
        key=_text(stored, "key"),
        size=_size(stored.get("size")),
        etag=_etag(stored.get("etag", stored.get("eTag"))),
        time=_time(message.get("time")),
        sequencer=_optional_text(stored.get("sequencer")),
        source="eventbridge",
    )


def _object(parent: _Json, name: str) -> _Json:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise MalformedNotificationError(f"{name!r} is missing, or not a JSON object")
    return value


def _text(parent: _Json, name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedNotificationError(f"{name!r} is missing, or not text")
    return value


def _form_decoded(key: str) -> str:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as exc:
        raise MalformedNotificationError(f"decoded key {key!r} is not UTF-8") from exc


def _optional_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _etag(value: object) -> str | None:
    text = _optional_text(value)
    return text.strip('"') if text else None


def _size(value: object) -> int | None:
    """Read a size, which can be missing (MinIO leaves 0 out) or text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return None


def _time(value: object) -> datetime | None:
    """Read a time; an unreadable one is only a missing hint."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_timestamp(value)
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _from_timestamp(value: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
