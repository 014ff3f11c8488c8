"""Making what the pipeline runs on: bucket, queues, notification rules, schema.

Everything is made only where it is not there yet, so it can be run at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from consumers.aws import make_client
from consumers.broker.sqs import VISIBILITY
from consumers.database.migrate import migrate
from consumers.errors import ConfigurationError, TransientError
from events.routes import ROUTES, Route, dead_letter_queue_name, queue_name, rule_id
from ops.environment import Environment
from ops.settings import DatabaseSettings, StoreSettings, read_broker_address

_EVENTS = ["s3:ObjectCreated:*"]

#: A message that was taken so often and never settled kills its consumers; a
#: failed attempt does not count, as it is sent anew.
_MAX_RECEIVES = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is to be there.

    Attributes:
        what: The thing.
        changed: Whether it was made, or altered, now.
    """

    what: str
    changed: bool


def bootstrap(environment: Environment) -> Iterator[Step]:
    """Make what is missing: the broker's queues before the bucket's rules.

    A store has nowhere to send a notification to whose queue is not there.

    Yields:
        A step as it is done.

    Raises:
        ConfigurationError: A setting can't be, or the credentials do not allow it.
        TransientError: A server can't be reached.
    """
    store = StoreSettings.read(environment)
    address = read_broker_address(environment)
    database = DatabaseSettings.read(environment)
    try:
        sqs = make_client(
            "sqs",
            endpoint=address.endpoint,
            access_key=address.access_key,
            secret_key=address.secret_key,
            region=address.region,
        )
        for route in ROUTES:
            yield from _make_queues(sqs, address.prefix, route, store.bucket)
        arns = {
            route.name: _attributes(sqs, queue_name(address.prefix, route))["QueueArn"]
            for route in ROUTES
        }
        client = make_client(
            "s3",
            endpoint=store.endpoint,
            access_key=store.access_key,
            secret_key=store.secret_key,
            region=store.region,
        )
        yield _make_bucket(client, store.bucket, store.region)
        yield _make_rules(client, store.bucket, address.prefix, arns)
    except ClientError as exc:
        raise ConfigurationError(f"the store or the queue service refuses: {exc}") from exc
    except BotoCoreError as exc:
        raise TransientError(f"the store or the queue service can't be reached: {exc}") from exc
    applied = migrate(database.url)
    yield Step("database schema", bool(applied))


def _make_queues(sqs: Any, prefix: str, route: Route, bucket: str) -> Iterator[Step]:
    """Make the route's dead-letter queue, then its queue, from which poison goes there."""
    dead, name = dead_letter_queue_name(prefix, route), queue_name(prefix, route)
    yield _make_queue(sqs, dead, {})
    redrive = {
        "deadLetterTargetArn": _attributes(sqs, dead)["QueueArn"],
        "maxReceiveCount": _MAX_RECEIVES,
    }
    yield _make_queue(sqs, name, {"RedrivePolicy": json.dumps(redrive)})
    yield _allow_bucket(sqs, name, bucket)


def _make_queue(sqs: Any, name: str, others: dict[str, str]) -> Step:
    wanted = {
        "VisibilityTimeout": str(VISIBILITY),
        # Fourteen days, the most that SQS allows: time to look at a dead letter.
        "MessageRetentionPeriod": "1209600",
        **others,
    }
    what = f"queue {name}"
    try:
        present = _attributes(sqs, name)
    except sqs.exceptions.QueueDoesNotExist:
        sqs.create_queue(QueueName=name, Attributes=wanted)
        return Step(what, changed=True)
    if all(_same(present.get(key), value) for key, value in wanted.items()):
        return Step(what, changed=False)
    sqs.set_queue_attributes(QueueUrl=_url(sqs, name), Attributes=wanted)
    return Step(what, changed=True)


def _url(sqs: Any, name: str) -> str:
    url: str = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return url


def _attributes(sqs: Any, name: str) -> dict[str, str]:
    answer = sqs.get_queue_attributes(QueueUrl=_url(sqs, name), AttributeNames=["All"])
    attributes: dict[str, str] = answer["Attributes"]
    return attributes


def _same(present: str | None, wanted: str) -> bool:
    """Compare attributes, of which some are JSON."""
    return present is not None and json.loads(present) == json.loads(wanted)


def _allow_bucket(sqs: Any, name: str, bucket: str) -> Step:
    """Let the bucket's notifications into the queue; other statements of its policy stay."""
    what = f"policy of queue {name}"
    attributes = _attributes(sqs, name)
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
    others = [each for each in policy["Statement"] if each.get("Sid") != statement["Sid"]]
    policy["Statement"] = [*others, statement]
    sqs.set_queue_attributes(QueueUrl=_url(sqs, name), Attributes={"Policy": json.dumps(policy)})
    return Step(what, changed=True)


def _make_bucket(client: Any, bucket: str, region: str) -> Step:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as exc:
        if exc.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
            raise
        # us-east-1 must not be named as a location (Amazon S3 API, CreateBucket).
        location = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        client.create_bucket(Bucket=bucket, **location)
        return Step(f"bucket {bucket}", changed=True)
    return Step(f"bucket {bucket}", changed=False)


def _make_rules(client: Any, bucket: str, prefix: str, arns: dict[str, str]) -> Step:
    """Have each route's events sent to its queue; rules that are not ours stay."""
    what = f"notification rules of bucket {bucket}"
    present = client.get_bucket_notification_configuration(Bucket=bucket)
    present.pop("ResponseMetadata", None)
    ours = [_rule(prefix, route, arns[route.name]) for route in ROUTES]
    ids = {rule["Id"] for rule in ours}
    rules = present.get("QueueConfigurations", [])
    others = [rule for rule in rules if rule["Id"] not in ids]
    if _comparable(rules) == _comparable(others + ours):
        return Step(what, changed=False)
    client.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={**present, "QueueConfigurations": others + ours},
    )
    return Step(what, changed=True)


def _rule(prefix: str, route: Route, arn: str) -> dict[str, Any]:
    filters = [
        {"Name": name, "Value": value}
        for name, value in (("prefix", route.prefix), ("suffix", route.suffix))
        if value
    ]
    return {
        "Id": rule_id(prefix, route),
        "QueueArn": arn,
        "Events": _EVENTS,
        "Filter": {"Key": {"FilterRules": filters}},
    }


def _comparable(rules: list[dict[str, Any]]) -> list[Any]:
    """Put rules into one order and spelling: stores answer ``Prefix`` for ``prefix``."""
    return sorted(
        (
            rule["Id"],
            rule["QueueArn"],
            sorted(rule["Events"]),
            sorted(
                (item["Name"].lower(), item["Value"])
                for item in rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
            ),
        )
        for rule in rules
    )
