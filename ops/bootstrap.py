"""Making what the pipeline runs on: bucket, queues, notification rules, schema.

Everything is made only where it is not there yet, so it can be run at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from consumers.broker.address import BrokerAddress
from consumers.broker.sqs import VISIBILITY
from consumers.database.migrate import migrate
from consumers.errors import ConfigurationError, TransientError
from consumers.store import s3_client
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
        sqs = _sqs_client(address)
        for route in ROUTES:
            yield from _make_queues(sqs, address.prefix, route)
        arns = {
            route.name: _allow_bucket(sqs, queue_name(address.prefix, route), store.bucket)
            for route in ROUTES
        }
        client = s3_client(
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


def _sqs_client(address: BrokerAddress) -> Any:
    session = boto3.session.Session(
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        region_name=address.region,
    )
    return session.client("sqs", endpoint_url=address.endpoint)


def _make_queues(sqs: Any, prefix: str, route: Route) -> Iterator[Step]:
    """Make the route's dead-letter queue, then its queue, from which poison goes there."""
    dead = dead_letter_queue_name(prefix, route)
    yield Step(f"queue {dead}", _make_queue(sqs, dead, {}))
    redrive = {
        "deadLetterTargetArn": _attributes(sqs, dead)["QueueArn"],
        "maxReceiveCount": _MAX_RECEIVES,
    }
    name = queue_name(prefix, route)
    yield Step(f"queue {name}", _make_queue(sqs, name, {"RedrivePolicy": json.dumps(redrive)}))


def _make_queue(sqs: Any, name: str, others: dict[str, str]) -> bool:
    try:
        sqs.get_queue_url(QueueName=name)
    except sqs.exceptions.QueueDoesNotExist:
        attributes = {
            "VisibilityTimeout": str(VISIBILITY),
            # Fourteen days, the most that SQS allows: time to look at a dead letter.
            "MessageRetentionPeriod": "1209600",
        }
        sqs.create_queue(QueueName=name, Attributes={**attributes, **others})
        return True
    return False


def _attributes(sqs: Any, name: str) -> dict[str, str]:
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy"])
    attributes: dict[str, str] = answer["Attributes"]
    return attributes


def _allow_bucket(sqs: Any, name: str, bucket: str) -> str:
    """Let the bucket's notifications into the queue; returns the queue's ARN."""
    attributes = _attributes(sqs, name)
    arn = attributes["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "dropscribe-notifications",
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
            }
        ],
    }
    present = attributes.get("Policy")
    if present is None or json.loads(present) != policy:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    return arn


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
