"""Ceph's way to announce over AMQP: a topic for each route, and rules that name it.

A topic's name is the routing key of what it sends (Ceph documentation, "Bucket
Notifications"). A gateway of release 16 uses one exchange per virtual host: the
events of a second deployment there are dropped, so each has a virtual host.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from botocore.exceptions import ClientError

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError
from events.routes import Route, exchange_name, rule_id
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.endpoint import amqp_url
from ops.bootstrap.rules import check_alone, comparable, make_rule, rule_ids
from ops.bootstrap.step import Step, found

#: As whom a gateway logs in where its topic names nobody.
_GUEST = ("guest", "guest")

#: botocore's event before the request that reads a bucket's rules is signed and sent.
_READ_RULES = "before-call.s3.GetBucketNotificationConfiguration"


def topic_attributes(broker: BrokerAddress, prefix: str, ack_level: str) -> dict[str, str]:
    """Say how a topic reaches the broker.

    Events of a persistent topic wait in the store itself while the broker is
    away. A gateway that waits for the broker's confirmations of them, too, ends
    with a segmentation fault after some hundred events (16.2.15, seen each
    time), so by default it does not: what a crash of the broker may cost then,
    `dropscribe sweep` makes up for.

    Args:
        broker: As the gateway reaches it. Ceph takes a password by https only,
            unless it runs with ``rgw allow notification secrets in cleartext``.
        prefix: The deployment's.
        ack_level: What the gateway waits for: ``broker`` or ``none``.
    """
    is_guest = (broker.access_key, broker.secret_key) == _GUEST
    attributes = {
        "push-endpoint": amqp_url(broker, with_password=not is_guest),
        "amqp-exchange": exchange_name(prefix),
        "amqp-ack-level": ack_level,
        "persistent": "true",
    }
    if (broker.endpoint or "").startswith("amqps"):
        attributes["verify-ssl"] = "true"
        if broker.ca_file is not None:
            attributes["ca-location"] = broker.ca_file
    return attributes


def make_announcements(
    bucket: Bucket,
    sns: Any,
    prefix: str,
    routes: Sequence[Route],
    attributes: Mapping[str, str],
    off: Sequence[Route],
    *,
    dry_run: bool,
) -> Iterator[Step]:
    """Make a topic for each route, and the bucket's rules; those of others stay.

    The topic of a route that is not set up any more stays: without a rule it sends
    nothing but what waits in it.

    Args:
        bucket: Whose objects are announced.
        sns: botocore's client of the gateway's SNS.
        prefix: The deployment's.
        routes: Those that are set up.
        attributes: The topics'; see `topic_attributes`.
        off: The routes that are not set up.
        dry_run: Only look.

    Yields:
        A step as it is done.
    """
    names = [rule_id(prefix, route) for route in routes]
    topics = [_make_topic(sns, name, attributes, dry_run=dry_run) for name in names]
    yield from topics
    # A rule has the attributes that its topic had when the rule was made.
    stale = any(topic.changed for topic in topics)
    arns = _arns(sns, names)
    wanted = [
        make_rule(prefix, route, {"TopicArn": arns[rule_id(prefix, route)]})
        for route in routes
        if rule_id(prefix, route) in arns
    ]
    every = (*routes, *off)
    yield _put_rules(bucket, prefix, wanted, every, stale=stale, dry_run=dry_run)


def _make_topic(sns: Any, name: str, attributes: Mapping[str, str], *, dry_run: bool) -> Step:
    arn = _arns(sns, [name]).get(name)
    changed = arn is None or not _is_as(sns.get_topic_attributes(TopicArn=arn), attributes)
    if changed and not dry_run:
        _create_topic(sns, name, attributes)
    return Step(f"topic {name}", changed)


def _create_topic(sns: Any, name: str, attributes: Mapping[str, str]) -> None:
    try:
        sns.create_topic(Name=name, Attributes=dict(attributes))
    except ClientError as exc:
        if "@" not in attributes["push-endpoint"]:
            raise
        # Of its reasons the gateway says nothing.
        raise ConfigurationError(
            f"the store refuses the topic {name}, in which RabbitMQ's user and password stand: "
            "Ceph takes them by https only, unless it runs with 'rgw allow notification secrets "
            "in cleartext = true'. Let S3_ENDPOINT begin with https://, or STORE_BROKER_URL name "
            f"nobody, for which Ceph uses guest's ({exc})"
        ) from exc


def _arns(sns: Any, names: Sequence[str]) -> dict[str, str]:
    """Find topics by their names, of which some may not be there."""
    pages = sns.get_paginator("list_topics").paginate()
    arns = [topic["TopicArn"] for page in pages for topic in page.get("Topics", [])]
    return {name: arn for arn in arns if (name := arn.rpartition(":")[2]) in names}


def _is_as(answer: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Compare a topic with what it should be.

    Ceph answers JSON in one attribute, and in that, joined by ``&``, all with
    which the topic was made.
    """
    endpoint = json.loads(answer["Attributes"]["EndPoint"])
    arguments = f"&{endpoint['EndpointArgs']}&"
    return endpoint["EndpointAddress"] == wanted["push-endpoint"] and all(
        f"&{name}={value}&" in arguments or f"&{name}={unquote(value)}&" in arguments
        for name, value in wanted.items()
        if name != "push-endpoint"
    )


def _put_rules(
    bucket: Bucket,
    prefix: str,
    wanted: Sequence[Mapping[str, Any]],
    routes: Sequence[Route],
    *,
    stale: bool,
    dry_run: bool,
) -> Step:
    answer = found(bucket.client.get_bucket_notification_configuration, Bucket=bucket.name)
    rules = (answer or {}).get("TopicConfigurations", [])
    check_alone(bucket, prefix, rules, routes)
    ids = rule_ids(prefix, routes)
    present = [rule for rule in rules if rule["Id"] in ids]
    changed = stale or answer is None or comparable(present) != comparable(wanted)
    if changed and not dry_run:
        # Only ours: Ceph adds them to the others, and puts each in the place of its like.
        bucket.client.put_bucket_notification_configuration(
            Bucket=bucket.name, NotificationConfiguration={"TopicConfigurations": wanted}
        )
        _delete_rules(bucket, {rule["Id"] for rule in present} - {rule["Id"] for rule in wanted})
    return Step(f"notification rules of bucket {bucket.name}", changed)


def _delete_rules(bucket: Bucket, names: Collection[str]) -> None:
    """Delete rules by their Ids.

    Ceph's own request for it, which AWS has not and so botocore does not know, is
    ``DELETE /bucket?notification=ID`` (Ceph documentation, "S3 Bucket Notifications
    Compatibility"). It is made of the one that reads all rules, ``GET
    /bucket?notification``, so that credentials, certificates and attempts are the client's.
    """
    for name in names:

        def as_deletion(params: dict[str, Any], name: str = name, **_: Any) -> None:
            params["method"] = "DELETE"
            params["url"] += f"={quote(name, safe='')}"

        events = bucket.client.meta.events
        events.register(_READ_RULES, as_deletion)
        try:
            bucket.client.get_bucket_notification_configuration(Bucket=bucket.name)
        finally:
            events.unregister(_READ_RULES, as_deletion)
