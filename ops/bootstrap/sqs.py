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


def queue_steps(sqs: Any, bucket: Bucket) -> Iterator[Step]:
    """Make the queues, and count what is in those of routes that are off, approximately."""
    prefix = bucket.prefix
    for route in bucket.routes:
        dead, name = dead_letter_queue_name(prefix, route), queue_name(prefix, route)
        yield _queue_step(sqs, dead, _TAKEN_FROM)
        redrive = {"deadLetterTargetArn": _arn(sqs, dead), "maxReceiveCount": _MAX_RECEIVES}
        yield _queue_step(sqs, name, {**_TAKEN_FROM, "RedrivePolicy": json.dumps(redrive)})
        yield _policy_step(sqs, name, bucket.name)
    # Messages for other systems, which expire.
    yield _queue_step(sqs, review_queue_name(prefix), _RETENTION)
    for route in bucket.off:
        queues = queue_name(prefix, route), dead_letter_queue_name(prefix, route)
        present = [_attributes(sqs, name) for name in queues]
        if any(present):
            yield kept(route, *(_depth(attributes or {}) for attributes in present))


def queue_arns(sqs: Any, bucket: Bucket) -> dict[str, str | None]:
    """Look up each route's queue, by the route's name; None if it does not exist."""
    return {route.name: _arn(sqs, queue_name(bucket.prefix, route)) for route in bucket.routes}


def _depth(attributes: Mapping[str, str]) -> int:
    """Add up ``ApproximateNumberOfMessages``, ``...NotVisible`` and ``...Delayed``."""
    return sum(
        int(value)
        for name, value in attributes.items()
        if name.startswith("ApproximateNumberOfMessages")
    )


def _arn(sqs: Any, name: str) -> str | None:
    attributes = _attributes(sqs, name)
    return None if attributes is None else attributes["QueueArn"]


def _queue_step(sqs: Any, name: str, wanted: Mapping[str, str]) -> Step:
    present = _attributes(sqs, name)

    def put() -> None:
        if present is None:
            sqs.create_queue(QueueName=name, Attributes=wanted)
        else:
            _put_attributes(sqs, name, wanted)

    changed = present is None or not all(
        _same(present.get(key), value) for key, value in wanted.items()
    )
    return Step(f"queue {name}", changed, put)


def _put_attributes(sqs: Any, name: str, attributes: Mapping[str, str]) -> None:
    sqs.set_queue_attributes(QueueUrl=_url(sqs, name), Attributes=attributes)


def _url(sqs: Any, name: str) -> str:
    url: str = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return url


def _attributes(sqs: Any, name: str) -> dict[str, str] | None:
    try:
        answer = sqs.get_queue_attributes(QueueUrl=_url(sqs, name), AttributeNames=["All"])
    except sqs.exceptions.QueueDoesNotExist:
        return None
    attributes: dict[str, str] = answer["Attributes"]
    return attributes


def _same(present: str | None, wanted: str) -> bool:
    """Compare the values of an attribute, which may be JSON."""
    return present is not None and json.loads(present) == json.loads(wanted)


def _policy_step(sqs: Any, name: str, bucket: str) -> Step:
    """Allow the bucket to send to the queue; other statements of its policy stay."""
    attributes = _attributes(sqs, name) or {}
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
    put = partial(_put_attributes, sqs, name, wanted)
    return Step(f"policy of queue {name}", statement not in policy["Statement"], put)
