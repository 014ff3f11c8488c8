"""The bucket, and the rules by which it deletes archives that are not needed any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consumers.stages.stored_archive import COMPLETE, STATE_TAG
from events.keys import ARCHIVES
from ops.bootstrap.step import Step, found

#: Days after which the parts of an abandoned upload are deleted.
_UPLOAD_DAYS = 7


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, which may be missing.

    Attributes:
        client: botocore's S3 client of the store.
        name: Its name.
        region: The region to create it in.
    """

    client: Any
    name: str
    region: str


def make_bucket(bucket: Bucket, *, dry_run: bool) -> Step:
    """Create the bucket, unless it exists."""
    missing = found(bucket.client.head_bucket, Bucket=bucket.name) is None
    if missing and not dry_run:
        # us-east-1 must not be named as a location (Amazon S3 API, CreateBucket).
        location = (
            {}
            if bucket.region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": bucket.region}}
        )
        bucket.client.create_bucket(Bucket=bucket.name, **location)
    return Step(f"bucket {bucket.name}", changed=missing)


def put_lifecycle(
    bucket: Bucket, prefix: str, retention_days: int | None, *, aborts_uploads: bool, dry_run: bool
) -> Iterator[Step]:
    """Let archives of complete batches and abandoned uploads expire; other rules stay.

    Only archives with the tag of a complete batch expire, and nothing under ``processed/``.

    Args:
        bucket: The bucket.
        prefix: The deployment's prefix, with which the rules' ids begin.
        retention_days: Days from the upload of a tagged archive until it expires; None to
            keep all archives.
        aborts_uploads: Whether the store supports rules about uploads.
        dry_run: Change nothing.

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
    # Stores refuse an empty list of rules.
    if rules:
        bucket.client.put_bucket_lifecycle_configuration(
            Bucket=bucket.name, LifecycleConfiguration={"Rules": rules}
        )
    else:
        bucket.client.delete_bucket_lifecycle(Bucket=bucket.name)


def _comparable(rule: Mapping[str, Any] | None) -> Any:
    """Normalise a rule: Ceph returns prefix and tag without ``And``."""
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
