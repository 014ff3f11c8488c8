"""The bucket itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.bootstrap.step import Step, found


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, perhaps to be made.

    Attributes:
        client: botocore's, of its store's S3.
        name: Its name.
        region: Where it is made.
    """

    client: Any
    name: str
    region: str


def make_bucket(bucket: Bucket, *, dry_run: bool) -> Step:
    """Make the bucket, unless it is there."""
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
