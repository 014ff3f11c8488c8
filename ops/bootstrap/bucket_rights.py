"""The rights of each role in the bucket: the requests that its code sends, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from consumers.stages.stored_archive import ARCHIVES_GRANT
from consumers.store.grants import LOOK, READ_PROCESSED, BucketGrant, processed_keys
from events.keys import (
    ARCHIVES,
    CLIP,
    COMPLETE,
    DECISION,
    MANIFEST,
    OPUS,
    POLICIES,
    REVIEW,
    TRANSCRIPT,
    VERDICT,
)
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step
from ops.wiring.stage_table import StageTable

_VERSION = "2012-10-17"

#: The rights of each role, by its name.
BucketRoles = Mapping[str, tuple[BucketGrant, ...]]

_READ_POLICIES = BucketGrant("Policies", ("s3:GetObject",), (f"{POLICIES}*",))

#: The roles of people, and of the commands that they run.
_PEOPLE: BucketRoles = {
    # Listens to clips and decides.
    "reviewer": (
        LOOK,
        BucketGrant("Hear", ("s3:GetObject",), processed_keys(CLIP)),
        _READ_POLICIES,
        BucketGrant("Decide", ("s3:PutObject",), processed_keys(DECISION)),
    ),
    # A multipart upload that fails is aborted. `transfer` asks whether all of an archive has
    # arrived before it deletes the staged copy.
    "transfer": (
        LOOK,
        BucketGrant(
            "Transfer",
            (
                "s3:PutObject",
                "s3:GetObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ),
            (f"{ARCHIVES}*",),
        ),
    ),
    "drop": (BucketGrant("Drop", ("s3:PutObject", "s3:AbortMultipartUpload"), (f"{ARCHIVES}*",)),),
    "operator": (
        LOOK,
        ARCHIVES_GRANT,
        READ_PROCESSED,
        # All that can be made again, so no decisions.
        BucketGrant(
            "Delete",
            ("s3:DeleteObject",),
            processed_keys(OPUS, TRANSCRIPT, VERDICT, MANIFEST, COMPLETE, REVIEW),
        ),
        BucketGrant("Complete", ("s3:PutObject",), processed_keys(COMPLETE)),
        _READ_POLICIES,
        # `health` compares them with those that bootstrap would set.
        BucketGrant("Rules", ("s3:GetBucketNotification", "s3:GetLifecycleConfiguration")),
    ),
}


def bucket_roles(table: StageTable) -> BucketRoles:
    """Add the roles of people to one role for each stage, under its name."""
    of_stages = {stage.route.name: stage.spec.bucket_grants for stage in table.stages}
    return {**of_stages, **_PEOPLE}


def role_policy(bucket: str, grants: Sequence[BucketGrant]) -> dict[str, Any]:
    """Write a role's rights as a policy for a user."""
    return {"Version": _VERSION, "Statement": [_statement(bucket, each) for each in grants]}


def policy_steps(
    bucket: Bucket, principals: Mapping[str, Sequence[str]], roles: BucketRoles
) -> Iterator[Step]:
    """Give principals the rights of their roles; other people's statements stay.

    Args:
        bucket: The bucket.
        principals: The ARNs for each role. A role that is not named loses its rights; without
            any role, the policy is left alone.
        roles: The rights of each role.
    """
    if not principals:
        return
    answer = bucket.read(bucket.client.get_bucket_policy)
    policy = json.loads(answer["Policy"]) if answer else {"Version": _VERSION}
    present = _listed(policy.get("Statement", []))
    wanted = [
        {
            "Sid": _sid(bucket.prefix, role, grant),
            "Principal": {"AWS": list(arns)},
            **_statement(bucket.name, grant),
        }
        for role, arns in principals.items()
        for grant in roles[role]
    ]
    sids = {_sid(bucket.prefix, role, each) for role, grants in roles.items() for each in grants}
    others = [each for each in present if each.get("Sid") not in sids]
    document = json.dumps({**policy, "Statement": others + wanted})
    yield Step(
        f"policy of bucket {bucket.name}",
        _comparable(present) != _comparable(others + wanted),
        partial(bucket.client.put_bucket_policy, Bucket=bucket.name, Policy=document),
    )


def same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare two policies, whatever their order and spelling."""
    return _comparable(_listed(one.get("Statement", []))) == _comparable(
        _listed(other.get("Statement", []))
    )


def _statement(bucket: str, grant: BucketGrant) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Effect": "Allow",
        "Action": list(grant.actions),
        "Resource": [f"{arn}/{key}" for key in grant.keys] or [arn],
    }


def _sid(prefix: str, role: str, grant: BucketGrant) -> str:
    """Make the id of a statement, of which AWS allows letters and digits only."""
    return re.sub(r"[^A-Za-z0-9]", "", prefix) + role.capitalize() + grant.name


def _comparable(statements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Normalise statements: stores return a list of one item as the item."""
    return sorted(
        json.dumps(
            {
                **each,
                "Action": sorted(_listed(each.get("Action", []))),
                "Resource": sorted(_listed(each.get("Resource", []))),
                "Principal": _principal(each.get("Principal")),
            },
            sort_keys=True,
        )
        for each in statements
    )


def _principal(given: Any) -> Any:
    if isinstance(given, Mapping):
        return {name: sorted(_listed(value)) for name, value in given.items()}
    return given


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]
