"""The queues of a deployment on SQS, to which its bucket may send."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consumers.broker.sqs_inbox import LOST_AFTER, VISIBILITY
from events.routes import Route, dead_letter_queue_name, queue_name, review_queue_name
from ops.bootstrap.step import Step, kept

#: SQS moves a message to the dead letters after this many deliveries without a verdict.
#: Consumers do so earlier, with a reason; this is for messages that they never handle.
_MAX_RECEIVES = LOST_AFTER + 2

#: Fourteen days, the most that SQS allows, to look at a dead letter.
_RETENTION = {"MessageRetentionPeriod": "1209600"}

#: The attributes of each queue from which consumers receive.
_TAKEN_FROM = {**_RETENTION, "VisibilityTimeout": str(VISIBILITY)}


def make_queues(
    sqs: Any, prefix: str, route: Route, bucket: str, *, dry_run: bool
) -> Iterator[Step]:
    """Make the route's dead-letter queue, then its queue, whose poison messages go there.

    Yields:
        Each step, once it is done.
    """
    dead, name = dead_letter_queue_name(prefix, route), queue_name(prefix, route)
    yield _make_queue(sqs, dead, _TAKEN_FROM, dry_run=dry_run)
    redrive = {
        "deadLetterTargetArn": queue_arn(sqs, dead),
        "maxReceiveCount": _MAX_RECEIVES,
    }
    wanted = {**_TAKEN_FROM, "RedrivePolicy": json.dumps(redrive)}
    yield _make_queue(sqs, name, wanted, dry_run=dry_run)
    yield _allow_bucket(sqs, name, bucket, dry_run=dry_run)


def make_review_queue(sqs: Any, prefix: str, *, dry_run: bool) -> Step:
    """Make the queue of review items for other systems, in which old messages expire."""
    return _make_queue(sqs, review_queue_name(prefix), _RETENTION, dry_run=dry_run)


def keep_queues(sqs: Any, prefix: str, routes: Sequence[Route]) -> Iterator[Step]:
    """Count the messages in the queues of routes that are off, approximately.

    Yields:
        A step for each route that has queues.
    """
    for route in routes:
        queues = queue_name(prefix, route), dead_letter_queue_name(prefix, route)
        present = [_attributes(sqs, name) for name in queues]
        if any(present):
            yield kept(route, *(_depth(attributes or {}) for attributes in present))


def _depth(attributes: Mapping[str, str]) -> int:
    """Add up ``ApproximateNumberOfMessages``, ``...NotVisible`` and ``...Delayed``."""
    return sum(
        int(value)
        for name, value in attributes.items()
        if name.startswith("ApproximateNumberOfMessages")
    )


def queue_arn(sqs: Any, name: str) -> str | None:
    """Return a queue's ARN; None if the queue does not exist."""
    attributes = _attributes(sqs, name)
    return None if attributes is None else attributes["QueueArn"]


def _make_queue(sqs: Any, name: str, wanted: dict[str, str], *, dry_run: bool) -> Step:
    present = _attributes(sqs, name)
    changed = present is None or not all(
        _same(present.get(key), value) for key, value in wanted.items()
    )
    if changed and not dry_run:
        if present is None:
            sqs.create_queue(QueueName=name, Attributes=wanted)
        else:
            sqs.set_queue_attributes(QueueUrl=_url(sqs, name), Attributes=wanted)
    return Step(f"queue {name}", changed)


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


def _allow_bucket(sqs: Any, name: str, bucket: str, *, dry_run: bool) -> Step:
    """Allow the bucket to send to the queue; other statements of its policy stay."""
    what = f"policy of queue {name}"
    attributes = _attributes(sqs, name)
    if attributes is None:
        return Step(what, changed=True)
    statement = {
        "Sid": "dropscribe-notifications",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attributes["QueueArn"],
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    policy = json.loads(attributes.get("Policy") or '{"Version": "2012-10-17", "Statement": []}')
    if statement in policy["Statement"]:
        return Step(what, changed=False)
    if not dry_run:
        others = [each for each in policy["Statement"] if each.get("Sid") != statement["Sid"]]
        policy["Statement"] = [*others, statement]
        document = json.dumps(policy)
        sqs.set_queue_attributes(QueueUrl=_url(sqs, name), Attributes={"Policy": document})
    return Step(what, changed=True)
