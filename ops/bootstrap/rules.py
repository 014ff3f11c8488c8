"""The rules by which a bucket sends notifications of created objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

from consumers.errors import ConfigurationError
from events.routes import Route, rule_id
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step

CREATED = ("s3:ObjectCreated:*",)
"""The events of which every store tells."""
RESTORED = ("s3:ObjectRestore:Completed",)
"""AWS tells of these besides: an object in an archive tier can be read only once it is restored."""


@dataclass(frozen=True, slots=True)
class NotificationRules:
    """A bucket's rules for notification, as S3's API writes them.

    Attributes:
        configuration: The whole configuration of the bucket.
        others: The rules of others for the same kind of target.
        present: The rules of this deployment.
        wanted: Those that it should have: none for a route that is off, as nobody would
            receive its events.
    """

    configuration: Mapping[str, Any]
    others: list[dict[str, Any]]
    present: list[dict[str, Any]]
    wanted: list[dict[str, Any]]

    @classmethod
    def read(
        cls,
        bucket: Bucket,
        target: Literal["Queue", "Topic"],
        arns: Mapping[str, str | None],
        events: Sequence[str] = CREATED,
    ) -> Self:
        """Read a bucket's rules.

        Args:
            bucket: The bucket.
            target: The kind of target to which the rules lead.
            arns: The target of each route, by the route's name; None, or left out, if it
                does not exist yet.
            events: What the rules are about.

        Raises:
            ConfigurationError: The bucket belongs to another deployment.
        """
        answer = bucket.read(bucket.client.get_bucket_notification_configuration) or {}
        rules = answer.get(f"{target}Configurations", [])
        _check_alone(bucket, rules)
        ids = {rule_id(bucket.prefix, route) for route in (*bucket.routes, *bucket.off)}
        return cls(
            configuration=answer,
            others=[rule for rule in rules if rule["Id"] not in ids],
            present=[rule for rule in rules if rule["Id"] in ids],
            wanted=[
                _make_rule(
                    bucket.prefix, route, {f"{target}Arn": arns.get(route.name) or ""}, events
                )
                for route in bucket.routes
            ],
        )

    @property
    def differ(self) -> bool:
        """Whether the rules have to be replaced."""
        return _comparable(self.present) != _comparable(self.wanted)


def queue_rules_step(
    bucket: Bucket, arns: Mapping[str, str | None], events: Sequence[str] = CREATED
) -> Step:
    """Send each route's notifications to its queue; other people's rules stay.

    Args:
        bucket: The bucket.
        arns: The queues; see `NotificationRules.read`.
        events: What the rules are about.

    Raises:
        ConfigurationError: The bucket belongs to another deployment.
    """
    rules = NotificationRules.read(bucket, "Queue", arns, events)
    put = partial(
        bucket.client.put_bucket_notification_configuration,
        Bucket=bucket.name,
        NotificationConfiguration={
            **rules.configuration,
            "QueueConfigurations": rules.others + rules.wanted,
        },
    )
    return Step(f"notification rules of bucket {bucket.name}", rules.differ, put)


def _make_rule(
    prefix: str, route: Route, target: Mapping[str, str], events: Sequence[str] = CREATED
) -> dict[str, Any]:
    filters = [
        {"Name": name, "Value": value}
        for name, value in (("prefix", route.prefix), ("suffix", route.suffix))
        if value
    ]
    return {
        "Id": rule_id(prefix, route),
        **target,
        "Events": list(events),
        "Filter": {"Key": {"FilterRules": filters}},
    }


def _check_alone(bucket: Bucket, rules: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that no other deployment is notified: both would do all of the work.

    Some stores refuse rules that overlap; others send each event twice.

    Raises:
        ConfigurationError: The bucket has rules of another deployment.
    """
    others = sorted(
        rule["Id"]
        for rule in rules
        for route in (*bucket.routes, *bucket.off)
        if rule["Id"].endswith(f"-{route.name}")
        and rule["Id"] != rule_id(bucket.prefix, route)
        and _filters(rule) == _filters(_make_rule(bucket.prefix, route, {}))
    )
    if others:
        raise ConfigurationError(
            f"bucket {bucket.name} already notifies another deployment "
            f"(rules {', '.join(others)}): use its BROKER_PREFIX, or a bucket of your "
            "own, or, if that deployment no longer exists, delete these rules and the lifecycle "
            "rules of that prefix"
        )


def _comparable(rules: Sequence[Mapping[str, Any]]) -> list[Any]:
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
