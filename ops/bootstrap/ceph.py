"""Ceph's notifications over AMQP: a topic for each route, and rules that lead to it.

A topic's name is the routing key of its messages (Ceph documentation, "Bucket
Notifications"). A gateway of release 16 uses one exchange per virtual host, and drops the
events of a second deployment there, so each deployment has its own virtual host.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from botocore.exceptions import ClientError

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError
from events.routes import exchange_name, rule_id
from ops.bootstrap.amqp import amqp_url
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.rules import NotificationRules
from ops.bootstrap.step import Step

#: The user and password of a gateway whose topic names none.
_GUEST = ("guest", "guest")

#: botocore's event before the request that reads a bucket's rules is signed and sent.
_READ_RULES = "before-call.s3.GetBucketNotificationConfiguration"


def topic_attributes(broker: BrokerAddress, prefix: str, ack_level: str) -> dict[str, str]:
    """Write the attributes by which a topic reaches the broker.

    Events of a persistent topic wait in the store while the broker is away. A gateway that
    also waits for the broker's confirmations ends with a segmentation fault after some
    hundred events (16.2.15, seen each time), so by default it does not wait; `dropscribe
    sweep` repairs the loss that a crash of the broker may cause.

    Args:
        broker: The broker's address for the gateway. Ceph accepts a password over https only,
            unless it runs with ``rgw allow notification secrets in cleartext``.
        prefix: The deployment's prefix.
        ack_level: The acknowledgement that the gateway waits for: ``broker`` or ``none``.
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


def topic_steps(bucket: Bucket, sns: Any, attributes: Mapping[str, str] | None) -> Iterator[Step]:
    """Make a topic for each route, and the bucket's rules; other people's rules stay.

    The topic of a route that is off stays, so that the events in it are sent.

    Args:
        bucket: The bucket.
        sns: botocore's client of the gateway's SNS.
        attributes: The topics' attributes (`topic_attributes`); None to compare only whether
            the topics exist.

    Raises:
        ConfigurationError: The bucket belongs to another deployment.
    """
    arns = _arns(sns)
    is_stale = False
    for route in bucket.routes:
        name = rule_id(bucket.prefix, route)
        changed = name not in arns or (
            attributes is not None
            and not _is_as(sns.get_topic_attributes(TopicArn=arns[name]), attributes)
        )
        # A rule keeps the attributes that its topic had when the rule was made.
        is_stale = is_stale or changed
        yield Step(f"topic {name}", changed, partial(_create_topic, sns, name, attributes or {}))
    arns = _arns(sns)
    by_route = {route.name: arns.get(rule_id(bucket.prefix, route)) for route in bucket.routes}
    rules = NotificationRules.read(bucket, "Topic", by_route)
    put = partial(_put_rules, bucket, rules)
    yield Step(f"notification rules of bucket {bucket.name}", is_stale or rules.differ, put)


def _create_topic(sns: Any, name: str, attributes: Mapping[str, str]) -> None:
    try:
        sns.create_topic(Name=name, Attributes=dict(attributes))
    except ClientError as exc:
        if "@" not in attributes["push-endpoint"]:
            raise
        # The gateway gives no reason.
        raise ConfigurationError(
            f"the store refuses the topic {name}, which contains RabbitMQ's user and password: "
            "Ceph accepts them over https only, unless it runs with 'rgw allow notification "
            "secrets in cleartext = true'. Use an S3_ENDPOINT with https://, or a STORE_BROKER_URL "
            f"without a user, for which Ceph uses guest ({exc})"
        ) from exc


def _arns(sns: Any) -> dict[str, str]:
    """Look up the ARNs of all topics, by name."""
    pages = sns.get_paginator("list_topics").paginate()
    arns: list[str] = [topic["TopicArn"] for page in pages for topic in page.get("Topics", [])]
    return {arn.rpartition(":")[2]: arn for arn in arns}


def _is_as(answer: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Compare a topic's attributes with the wanted ones.

    Ceph returns JSON in one attribute; it contains the arguments with which the topic was
    made, joined by ``&``.
    """
    endpoint = json.loads(answer["Attributes"]["EndPoint"])
    arguments = f"&{endpoint['EndpointArgs']}&"
    return endpoint["EndpointAddress"] == wanted["push-endpoint"] and all(
        f"&{name}={value}&" in arguments or f"&{name}={unquote(value)}&" in arguments
        for name, value in wanted.items()
        if name != "push-endpoint"
    )


def _put_rules(bucket: Bucket, rules: NotificationRules) -> None:
    # Only our rules: Ceph adds them to the others, and replaces those with the same Id.
    bucket.client.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"TopicConfigurations": rules.wanted}
    )
    wanted = {rule["Id"] for rule in rules.wanted}
    _delete_rules(bucket, {rule["Id"] for rule in rules.present} - wanted)


def _delete_rules(bucket: Bucket, names: Collection[str]) -> None:
    """Delete rules by their Ids.

    The request is Ceph's own, ``DELETE /bucket?notification=ID`` (Ceph documentation, "S3
    Bucket Notifications Compatibility"), and botocore does not know it. It is derived from the
    request that reads all rules, ``GET /bucket?notification``, to use the client's
    credentials, certificates and retries.
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
