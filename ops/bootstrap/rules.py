"""The rules by which a bucket sends notifications of created objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consumers.errors import ConfigurationError
from events.routes import Route, rule_id
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step, found

_EVENTS = ["s3:ObjectCreated:*"]


def make_rule(prefix: str, route: Route, target: Mapping[str, str]) -> dict[str, Any]:
    """Write a route's rule.

    Args:
        prefix: The deployment's prefix.
        route: The route.
        target: Where notifications go: ``QueueArn`` or ``TopicArn``, and the ARN.
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
    """Send each route's notifications to its queue; other people's rules stay.

    The rule of a route that is off is removed: nobody would empty the queue.

    Args:
        bucket: The bucket.
        prefix: The deployment's prefix.
        arns: The target of each route that is set up, by the route's name; None if the target
            does not exist yet.
        routes: All routes, those that are off included.
        dry_run: Change nothing.

    Raises:
        ConfigurationError: The bucket belongs to another deployment.
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
    """Make sure that no other deployment is notified: both would do all of the work.

    Some stores refuse rules that overlap; others send each event twice.

    Args:
        bucket: The bucket.
        prefix: The deployment's prefix.
        rules: All rules of the bucket.
        routes: All routes.

    Raises:
        ConfigurationError: The bucket has rules of another deployment.
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
            f"bucket {bucket.name} already notifies another deployment "
            f"(rules {', '.join(others)}): use its BROKER_PREFIX, or a bucket of your "
            "own, or, if that deployment no longer exists, delete these rules and the lifecycle "
            "rules of that prefix"
        )


def comparable(rules: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Normalise rules.

    AWS returns ``Prefix`` for ``prefix``; MinIO and RustFS insert their region into an ARN
    that has none.
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
