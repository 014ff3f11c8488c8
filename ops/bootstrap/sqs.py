"""The queues of a deployment on SQS, to which its bucket may send."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from consumers.broker.sqs_inbox import LOST_AFTER, VISIBILITY
from events.routes import dead_letter_queue_name, queue_name, review_queue_name
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step, kept

#: SQS moves a message to the dead letters after this many deliveries without a verdict.
#: Consumers do so earlier, with a reason; this is for messages that they never handle.
_MAX_RECEIVES = LOST_AFTER + 2

#: Fourteen days, the most that SQS allows, to look at a dead letter.
_RETENTION = {"MessageRetentionPeriod": "1209600"}

#: The attributes of each queue from which consumers receive.
_TAKEN_FROM = {**_RETENTION, "VisibilityTimeout": str(VISIBILITY)}


class KnownQueues:
    """SQS' queues, each by its name; what is known of one is not read again."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._urls: dict[str, str] = {}
        self._arns: dict[str, str] = {}
        self._attributes: dict[str, Mapping[str, str]] = {}

    def attributes(self, name: str) -> Mapping[str, str] | None:
        """Read all attributes of a queue; None if it does not exist."""
        if name not in self._attributes:
            try:
                answer = self._client.get_queue_attributes(
                    QueueUrl=self._url(name), AttributeNames=["All"]
                )
            except self._client.exceptions.QueueDoesNotExist:
                return None
            self._attributes[name] = answer["Attributes"]
            self._arns[name] = answer["Attributes"]["QueueArn"]
        return self._attributes[name]

    def arn(self, name: str) -> str | None:
        """Look up a queue's ARN; None if it does not exist."""
        if name not in self._arns:
            self.attributes(name)
        return self._arns.get(name)

    def create(self, name: str, attributes: Mapping[str, str]) -> None:
        """Create a queue that does not exist."""
        created = self._client.create_queue(QueueName=name, Attributes=attributes)
        self._urls[name] = created["QueueUrl"]

    def put(self, name: str, attributes: Mapping[str, str]) -> None:
        """Set attributes of a queue."""
        self._client.set_queue_attributes(QueueUrl=self._url(name), Attributes=attributes)
        self._attributes.pop(name, None)

    def _url(self, name: str) -> str:
        if name not in self._urls:
            self._urls[name] = self._client.get_queue_url(QueueName=name)["QueueUrl"]
        return self._urls[name]


def queue_steps(queues: KnownQueues, bucket: Bucket) -> Iterator[Step]:
    """Make the queues, and count what is in those of routes that are off, approximately."""
    prefix = bucket.prefix
    for route in bucket.routes:
        dead, name = dead_letter_queue_name(prefix, route), queue_name(prefix, route)
        yield _queue_step(queues, dead, _TAKEN_FROM)
        redrive = {"deadLetterTargetArn": queues.arn(dead), "maxReceiveCount": _MAX_RECEIVES}
        yield _queue_step(queues, name, {**_TAKEN_FROM, "RedrivePolicy": json.dumps(redrive)})
        yield _policy_step(queues, name, bucket.name)
    # Messages for other systems, which expire.
    yield _queue_step(queues, review_queue_name(prefix), _RETENTION)
    for route in bucket.off:
        names = queue_name(prefix, route), dead_letter_queue_name(prefix, route)
        present = [queues.attributes(name) for name in names]
        if any(present):
            yield kept(route, *(_depth(attributes or {}) for attributes in present))


def queue_arns(queues: KnownQueues, bucket: Bucket) -> dict[str, str | None]:
    """Look up each route's queue, by the route's name; None if it does not exist."""
    return {route.name: queues.arn(queue_name(bucket.prefix, route)) for route in bucket.routes}


def _depth(attributes: Mapping[str, str]) -> int:
    """Add up ``ApproximateNumberOfMessages``, ``...NotVisible`` and ``...Delayed``."""
    return sum(
        int(value)
        for name, value in attributes.items()
        if name.startswith("ApproximateNumberOfMessages")
    )


def _queue_step(queues: KnownQueues, name: str, wanted: Mapping[str, str]) -> Step:
    present = queues.attributes(name)
    changed = present is None or not all(
        _same(present.get(key), value) for key, value in wanted.items()
    )
    put = queues.create if present is None else queues.put
    return Step(f"queue {name}", changed, partial(put, name, wanted))


def _same(present: str | None, wanted: str) -> bool:
    """Compare the values of an attribute, which may be JSON."""
    return present is not None and json.loads(present) == json.loads(wanted)


def _policy_step(queues: KnownQueues, name: str, bucket: str) -> Step:
    """Allow the bucket to send to the queue; other statements of its policy stay."""
    attributes = queues.attributes(name) or {}
    statement = {
        "Sid": "dropscribe-notifications",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attributes.get("QueueArn"),
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    policy = json.loads(attributes.get("Policy") or '{"Version": "2012-10-17", "Statement": []}')
    others = [each for each in policy["Statement"] if each.get("Sid") != statement["Sid"]]
    wanted = {"Policy": json.dumps({**policy, "Statement": [*others, statement]})}
    put = partial(queues.put, name, wanted)
    return Step(f"policy of queue {name}", statement not in policy["Statement"], put)
