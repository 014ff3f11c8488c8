"""The rules by which a bucket forgets archives of which nothing is needed any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consumers.stages.stored_archive import COMPLETE, STATE_TAG
from events.keys import ARCHIVES
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step, found

#: Days after which the parts of an upload that was never finished are deleted.
_UPLOAD_DAYS = 7


def put_lifecycle(
    bucket: Bucket, prefix: str, retention_days: int | None, *, aborts_uploads: bool, dry_run: bool
) -> Iterator[Step]:
    """Have archives of complete batches expire, and abandoned uploads; other rules stay.

    Only what bears the tag of a complete batch expires, so that none loses its
    source before; ``processed/`` is nobody's to expire here.

    Args:
        bucket: Whose rules.
        prefix: The deployment's, with which the rules' ids begin.
        retention_days: Days after which a tagged archive expires, counted from
            when it was stored; None to keep them all.
        aborts_uploads: Whether the store knows rules about uploads.
        dry_run: Only look.

    Yields:
        A step for each rule.
    """
    wanted: dict[str, dict[str, Any] | None] = {
        f"{prefix}-archives": None if retention_days is None else _expire(retention_days)
    }
    if aborts_uploads:
        wanted[f"{prefix}-uploads"] = _ABORT
    answer = found(bucket.client.get_bucket_lifecycle_configuration, Bucket=bucket.name) or {}
    rules = answer.get("Rules", [])
    present = {rule.get("ID"): rule for rule in rules}
    changed = {
        name: _comparable(present.get(name)) != _comparable(rule) for name, rule in wanted.items()
    }
    if any(changed.values()) and not dry_run:
        others = [rule for rule in rules if rule.get("ID") not in wanted]
        ours = [{"ID": name, **rule} for name, rule in wanted.items() if rule is not None]
        _replace(bucket, others + ours)
    for name, is_changed in changed.items():
        yield Step(f"lifecycle rule {name} of bucket {bucket.name}", is_changed)


def _expire(days: int) -> dict[str, Any]:
    tag = {"Key": STATE_TAG, "Value": COMPLETE}
    return {
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": ARCHIVES, "Tags": [tag]}},
        "Expiration": {"Days": days},
    }


_ABORT = {
    "Status": "Enabled",
    "Filter": {"Prefix": ARCHIVES},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UPLOAD_DAYS},
}


def _replace(bucket: Bucket, rules: list[dict[str, Any]]) -> None:
    # An empty list is refused: no rules are no configuration.
    if rules:
        bucket.client.put_bucket_lifecycle_configuration(
            Bucket=bucket.name, LifecycleConfiguration={"Rules": rules}
        )
    else:
        bucket.client.delete_bucket_lifecycle(Bucket=bucket.name)


def _comparable(rule: Mapping[str, Any] | None) -> Any:
    """Put a rule into one spelling: Ceph answers prefix and tag without ``And``."""
    if rule is None:
        return None
    given = rule.get("Filter", {})
    conditions = {**given, **given.get("And", {})}
    tags = [*conditions.get("Tags", ()), *([conditions["Tag"]] if "Tag" in conditions else ())]
    return (
        rule["Status"],
        conditions.get("Prefix", rule.get("Prefix", "")),
        sorted((tag["Key"], tag["Value"]) for tag in tags),
        rule.get("Expiration", {}).get("Days"),
        rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    )
