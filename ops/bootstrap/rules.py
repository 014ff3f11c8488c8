"""The rules by which a bucket announces what is stored in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consumers.errors import ConfigurationError
from events.routes import Route, rule_id
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step, found

_EVENTS = ["s3:ObjectCreated:*"]


def make_rule(prefix: str, route: Route, target: Mapping[str, str]) -> dict[str, Any]:
    """Describe a route's rule.

    Args:
        prefix: The deployment's.
        route: Which objects.
        target: Where they are announced: ``QueueArn`` or ``TopicArn``, and which.
    """
    filters = [
        {"Name": name, "Value": value}
        for name, value in (("prefix", route.prefix), ("suffix", route.suffix))
        if value
    ]
    return {
        "Id": rule_id(prefix, route),
        **target,
        "Events": _EVENTS,
        "Filter": {"Key": {"FilterRules": filters}},
    }


def rule_ids(prefix: str, routes: Iterable[Route]) -> frozenset[str]:
    """Name the rules of these routes."""
    return frozenset(rule_id(prefix, route) for route in routes)


def put_queue_rules(
    bucket: Bucket,
    prefix: str,
    arns: Mapping[str, str | None],
    routes: Sequence[Route],
    *,
    dry_run: bool,
) -> Step:
    """Have each route's events sent to its queue; rules that are not ours stay.

    A rule of ours whose route has no target any more is taken away: nobody would
    empty the queue.

    Args:
        bucket: Whose rules.
        prefix: The deployment's.
        arns: The target of each route that is set up, by the route's name; None where it is
            still to be made.
        routes: All routes, those that are not set up included.
        dry_run: Only look.

    Raises:
        ConfigurationError: The bucket is another deployment's.
    """
    answer = found(bucket.client.get_bucket_notification_configuration, Bucket=bucket.name) or {}
    present = answer.get("QueueConfigurations", [])
    check_alone(bucket, prefix, present, routes)
    ours = [
        make_rule(prefix, route, {"QueueArn": arns[route.name] or ""})
        for route in routes
        if route.name in arns
    ]
    ids = rule_ids(prefix, routes)
    rules = [rule for rule in present if rule["Id"] not in ids] + ours
    changed = comparable(present) != comparable(rules)
    if changed and not dry_run:
        bucket.client.put_bucket_notification_configuration(
            Bucket=bucket.name,
            NotificationConfiguration={**answer, "QueueConfigurations": rules},
        )
    return Step(f"notification rules of bucket {bucket.name}", changed)


def check_alone(
    bucket: Bucket, prefix: str, rules: Sequence[Mapping[str, Any]], routes: Sequence[Route]
) -> None:
    """Make sure that the bucket is announced to no other deployment: both would do all its work.

    Some stores refuse rules that overlap; others send each event twice.

    Args:
        bucket: Whose rules.
        prefix: The deployment's.
        rules: All that are there.
        routes: All routes.

    Raises:
        ConfigurationError: It is.
    """
    others = sorted(
        rule["Id"]
        for rule in rules
        for route in routes
        if rule["Id"].endswith(f"-{route.name}")
        and rule["Id"] != rule_id(prefix, route)
        and _filters(rule) == _filters(make_rule(prefix, route, {}))
    )
    if others:
        raise ConfigurationError(
            f"bucket {bucket.name} is announced to another deployment by the rules "
            f"{', '.join(others)}: use its BROKER_PREFIX, or a bucket of your own, or delete these "
            "rules (and the lifecycle rules of that prefix) where that deployment is no more"
        )


def comparable(rules: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Put rules into one order and spelling.

    AWS answers ``Prefix`` for ``prefix``; MinIO and RustFS put their region into
    an ARN that was given without.
    """
    return sorted(
        (
            rule["Id"],
            _without_region(rule["QueueArn"] if "QueueArn" in rule else rule["TopicArn"]),
            sorted(rule["Events"]),
            _filters(rule),
        )
        for rule in rules
    )


def _filters(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted(
        (item["Name"].lower(), item["Value"])
        for item in rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    )


def _without_region(arn: str) -> list[str]:
    """Split ``arn:partition:service:region:account:resource``."""
    parts = arn.split(":")
    return parts[:3] + parts[4:]
