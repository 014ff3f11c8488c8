"""The bucket, and the rules by which it deletes archives that are not needed any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from consumers.stages.stored_archive import COMPLETE, KEPT, STATE_TAG, ArchiveState
from events.keys import ARCHIVES
from events.routes import Route
from ops.bootstrap.step import Step

#: S3's error codes for a missing bucket, or a missing configuration of it.
_ABSENT = {
    "404",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A deployment's bucket, which may be missing.

    Attributes:
        client: botocore's S3 client of the store.
        name: Its name.
        region: The region to create it in.
        prefix: The deployment's prefix, with which the ids of its rules begin.
        routes: The routes that are set up.
        off: The other routes.
    """

    client: Any
    name: str
    region: str
    prefix: str
    routes: tuple[Route, ...]
    off: tuple[Route, ...] = ()

    def read(self, request: Callable[..., Any]) -> dict[str, Any] | None:
        """Read a configuration, by a method of the client.

        Returns:
            botocore's response without its metadata; None if there is none.
        """
        try:
            answer: dict[str, Any] = request(Bucket=self.name)
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") in _ABSENT:
                return None
            raise
        answer.pop("ResponseMetadata", None)
        return answer


def bucket_step(bucket: Bucket) -> Step:
    """Create the bucket, unless it exists."""
    missing = bucket.read(bucket.client.head_bucket) is None
    # us-east-1 must not be named as a location (Amazon S3 API, CreateBucket).
    location = (
        {}
        if bucket.region == "us-east-1"
        else {"CreateBucketConfiguration": {"LocationConstraint": bucket.region}}
    )
    create = partial(bucket.client.create_bucket, Bucket=bucket.name, **location)
    return Step(f"bucket {bucket.name}", missing, create)


def lifecycle_steps(
    bucket: Bucket,
    retention_days: int | None,
    *,
    with_losses_days: int | None = None,
    aborts_uploads: bool,
) -> Iterator[Step]:
    """Let archives of complete batches and abandoned uploads expire; other rules stay.

    Only archives with the tags of a complete batch expire, and nothing under ``processed/``.

    Args:
        bucket: The bucket.
        retention_days: Days from the upload of a tagged archive until it expires; None to
            keep all archives.
        with_losses_days: Likewise, of archives of which something is missing from the result.
        aborts_uploads: Whether the store supports rules about uploads.
    """
    with_losses = f"{bucket.prefix}-archives-with-losses"
    wanted = {
        f"{bucket.prefix}-archives": _expire(retention_days, COMPLETE),
        with_losses: _expire(with_losses_days, KEPT),
    }
    if aborts_uploads:
        wanted[f"{bucket.prefix}-uploads"] = _ABORT
    answer = bucket.read(bucket.client.get_bucket_lifecycle_configuration) or {}
    rules = answer.get("Rules", [])
    present = {rule.get("ID"): rule for rule in rules}
    others = [rule for rule in rules if rule.get("ID") not in wanted]
    ours = [{"ID": name, **rule} for name, rule in wanted.items() if rule is not None]
    for name, rule in wanted.items():
        if name == with_losses and rule is None and name not in present:
            continue
        yield Step(
            f"lifecycle rule {name} of bucket {bucket.name}",
            _comparable(present.get(name)) != _comparable(rule),
            partial(_replace, bucket, others + ours),
        )


def _expire(days: int | None, state: ArchiveState) -> dict[str, Any] | None:
    if days is None:
        return None
    tag = {"Key": STATE_TAG, "Value": state}
    return {
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": ARCHIVES, "Tags": [tag]}},
        "Expiration": {"Days": days},
    }


_ABORT: dict[str, Any] = {
    "Status": "Enabled",
    "Filter": {"Prefix": ARCHIVES},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
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
