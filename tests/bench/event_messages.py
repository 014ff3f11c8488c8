"""Notifications as a store sends them, which fill a queue first, and are counted by handlers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import amqp

from consumers.errors import TransientError
from events.keys import AudioId, BatchId
from tests.harness.faults.messages import Tamperer, open_channel

#: Seconds that a queue gets to show all that was put into it.
_PATIENCE = 60.0

_BATCH = BatchId.new(datetime(2026, 11, 22, 10, 45, 2, tzinfo=UTC), b"\xac\xa9\x69")


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message, with AMQP's properties and ``application_headers``."""

    body: bytes | str
    properties: dict[str, Any] = field(default_factory=dict)


#: Makes them, anew for each round.
MakeMessages = Callable[[], Iterable[RawMessage]]


def notifications(count: int) -> Iterator[dict[str, Any]]:
    """Make notifications of one batch's recordings, like Ceph's gateway 16 (940 bytes each)."""
    for number in range(count):
        yield {"Records": [_record(AudioId(_BATCH, number).opus_key, number)]}


def _record(key: str, number: int) -> dict[str, Any]:
    return {
        "eventVersion": "2.2",
        "eventSource": "ceph:s3",
        "awsRegion": "",
        "eventTime": "2026-11-22T10:45:02.947649Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "dropscribe"},
        "requestParameters": {"sourceIPAddress": ""},
        "responseElements": {
            "x-amz-request-id": f"aca9692b-190e-4c71-b457-2100dc613cb6.4111.{number:020}",
            "x-amz-id-2": "100f-default-default",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "dropscribe-transcribe",
            "bucket": {
                "name": "audio-pipeline",
                "ownerIdentity": {"principalId": "dropscribe"},
                "arn": "arn:aws:s3:::audio-pipeline",
                "id": "aca9692b-190e-4c71-b457-2100dc613cb6.4113.1",
            },
            "object": {
                "key": key,
                "size": 31_415,
                "eTag": "336311a016184326ddbdd61edd4eeb52",
                "versionId": "",
                "sequencer": f"AEC7026B{number:08X}",
                "metadata": [
                    {"key": "x-amz-meta-duration", "val": "10.6"},
                    {"key": "x-amz-meta-member", "val": f"interviews/{number:07}.mp3"},
                ],
                "tags": [],
            },
        },
        "eventId": "1795344302.949568.336311a016184326ddbdd61edd4eeb52",
        "opaqueData": "",
    }


def store_messages(count: int) -> Iterator[RawMessage]:
    """Make messages as the store sends them."""
    return (RawMessage(json.dumps(each)) for each in notifications(count))


def key_in(notification: dict[str, Any]) -> str:
    """Read the key that a notification is about, and nothing else."""
    key: str = notification["Records"][0]["s3"]["object"]["key"]
    return key


def fill(url: str, queue: str, letters: Iterable[RawMessage]) -> int:
    """Put letters into a queue, and say how many; a TransientError says that some are missing."""
    with open_channel(url, confirm_publish=False) as channel:
        count = 0
        for letter in letters:
            message = amqp.Message(letter.body, delivery_mode=2, **letter.properties)
            channel.basic_publish(message, routing_key=queue)
            count += 1
    deadline = time.monotonic() + _PATIENCE
    while (found := Tamperer(url).count(queue)) != count:
        if time.monotonic() > deadline:
            raise TransientError(f"{queue} has {found} messages instead of {count}")
        time.sleep(0.1)
    return count


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a consumer did.

    Attributes:
        count: How many messages its handler was given.
        distinct: How many different keys were in them.
        seconds: From the first to the last.
    """

    count: int
    distinct: int
    seconds: float


class DeliveryCounter:
    """Counts messages in the handler's thread."""

    def __init__(self, expected: int, full: Callable[[], object] = lambda: None) -> None:
        self._expected = expected
        self._full = full
        self._keys: set[str] = set()
        self._count = 0
        self._begin = self._end = 0.0

    def add(self, key: str) -> None:
        """Count a message by the key of its object."""
        if not self._count:
            self._begin = time.perf_counter()
        self._count += 1
        self._keys.add(key)
        if self.is_full:
            self._end = time.perf_counter()
            self._full()

    @property
    def is_full(self) -> bool:
        """Whether all were there."""
        return self._count >= self._expected

    @property
    def taken(self) -> Consumed:
        """Sum up."""
        return Consumed(self._count, len(self._keys), self._end - self._begin)
