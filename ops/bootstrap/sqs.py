"""The queues of a deployment on SQS, into which its bucket may send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from consumers.broker.sqs import LOST_AFTER, VISIBILITY
from events.routes import Route, dead_letter_queue_name, queue_name
from ops.bootstrap.step import Step

#: SQS moves a message that was taken so often and never settled. Consumers do so
#: before, and say why; this is for one that they do not come to.
_MAX_RECEIVES = LOST_AFTER + 2


def make_queues(
    sqs: Any, prefix: str, route: Route, bucket: str, *, dry_run: bool
) -> Iterator[Step]:
    """Make the route's dead-letter queue, then its queue, from which poison goes there.

    Yields:
        A step as it is done.
    """
    dead, name = dead_letter_queue_name(prefix, route), queue_name(prefix, route)
    yield _make_queue(sqs, dead, {}, dry_run=dry_run)
    redrive = {
        "deadLetterTargetArn": queue_arn(sqs, dead),
        "maxReceiveCount": _MAX_RECEIVES,
    }
    yield _make_queue(sqs, name, {"RedrivePolicy": json.dumps(redrive)}, dry_run=dry_run)
    yield _allow_bucket(sqs, name, bucket, dry_run=dry_run)


def queue_arn(sqs: Any, name: str) -> str | None:
    """Find a queue's ARN; None where there is no such queue."""
    attributes = _attributes(sqs, name)
    return None if attributes is None else attributes["QueueArn"]


def _make_queue(sqs: Any, name: str, others: dict[str, str], *, dry_run: bool) -> Step:
    wanted = {
        "VisibilityTimeout": str(VISIBILITY),
        # Fourteen days, the most that SQS allows: time to look at a dead letter.
        "MessageRetentionPeriod": "1209600",
        **others,
    }
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
    """Compare attributes, of which some are JSON."""
    return present is not None and json.loads(present) == json.loads(wanted)


def _allow_bucket(sqs: Any, name: str, bucket: str, *, dry_run: bool) -> Step:
    """Let the bucket's notifications into the queue; other statements of its policy stay."""
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
