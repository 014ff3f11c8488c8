"""Who may do what in the bucket: for each role, what its code really asks the store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from events.keys import (
    ARCHIVES,
    CLIP,
    COMPLETE,
    DECISION,
    MANIFEST,
    OPUS,
    POLICIES,
    PROCESSED,
    REVIEW,
    TRANSCRIPT,
    VERDICT,
)
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step, found

_VERSION = "2012-10-17"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role may do.

    Attributes:
        name: What it is called, among the role's.
        actions: S3's.
        keys: Patterns of the keys on which; none for the bucket itself.
    """

    name: str
    actions: tuple[str, ...]
    keys: tuple[str, ...] = ()


#: HEAD on the bucket tells the store's time; and without the right to list, a store
#: answers "forbidden" rather than "not there" for an object that is not there.
_LOOK = Grant("Look", ("s3:ListBucket",))

#: Whoever completes a batch tags its archive, if that is still the same.
_RETIRE = Grant(
    "Archives",
    (
        "s3:GetObject",
        "s3:GetObjectTagging",
        "s3:PutObjectTagging",
        "s3:DeleteObjectTagging",
    ),
    (f"{ARCHIVES}*",),
)

#: Keys in which another part stands before the suffix. Ceph's ``*`` ends at the first
#: character that is the pattern's next, and never tries a later one (16.2, measured).
_NAMED = f"{PROCESSED}*.*"


def _processed(*suffixes: str) -> tuple[str, ...]:
    """Give the patterns of keys by what they end with."""
    return tuple(f"{PROCESSED}*{suffix}" for suffix in suffixes)


_READ = Grant("Read", ("s3:GetObject",), (f"{PROCESSED}*",))

#: What each role may do, and nothing else.
ROLES: Mapping[str, tuple[Grant, ...]] = {
    "unpack": (
        _LOOK,
        _RETIRE,
        _READ,
        Grant("Write", ("s3:PutObject",), _processed(OPUS, MANIFEST, COMPLETE)),
    ),
    "transcribe": (
        _LOOK,
        _RETIRE,
        _READ,
        Grant("Write", ("s3:PutObject",), _processed(TRANSCRIPT, COMPLETE)),
    ),
    "moderate": (
        _LOOK,
        _RETIRE,
        _READ,
        Grant("Write", ("s3:PutObject",), _processed(VERDICT, COMPLETE)),
        # Each text that was judged by is kept.
        Grant("Policies", ("s3:GetObject", "s3:PutObject"), (f"{POLICIES}*",)),
    ),
    "review": (
        _LOOK,
        _READ,
        Grant("Write", ("s3:PutObject",), (_NAMED + CLIP, *_processed(REVIEW))),
    ),
    # A person, who hears and decides.
    "reviewer": (
        _LOOK,
        Grant("Hear", ("s3:GetObject",), (_NAMED + CLIP,)),
        Grant("Policies", ("s3:GetObject",), (f"{POLICIES}*",)),
        Grant("Decide", ("s3:PutObject",), (_NAMED + DECISION,)),
    ),
    # An upload in parts that fails is given up, and its parts deleted.
    # Whoever transfers asks whether all of it has arrived before the staged copy goes.
    "transfer": (
        _LOOK,
        Grant(
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
    "drop": (Grant("Drop", ("s3:PutObject", "s3:AbortMultipartUpload"), (f"{ARCHIVES}*",)),),
    "operator": (
        _LOOK,
        _RETIRE,
        _READ,
        # What can be made again; not what people decided.
        Grant(
            "Delete",
            ("s3:DeleteObject",),
            _processed(OPUS, TRANSCRIPT, VERDICT, MANIFEST, COMPLETE, REVIEW),
        ),
        Grant("Complete", ("s3:PutObject",), _processed(COMPLETE)),
        Grant("Policies", ("s3:GetObject",), (f"{POLICIES}*",)),
        # `health` compares them with what bootstrap would set.
        Grant("Rules", ("s3:GetBucketNotification", "s3:GetLifecycleConfiguration")),
    ),
}


def role_policy(bucket: str, role: str) -> dict[str, Any]:
    """Write what a role may do as a policy for a user."""
    return {"Version": _VERSION, "Statement": [_statement(bucket, each) for each in ROLES[role]]}


def put_policy(
    bucket: Bucket, prefix: str, principals: Mapping[str, Sequence[str]], *, dry_run: bool
) -> Iterator[Step]:
    """Give the roles to whom the settings name; statements of others stay.

    Args:
        bucket: Whose policy.
        prefix: The deployment's, with which the statements' ids begin.
        principals: Each role's ARNs. Of a role without any, what it had is taken
            away; where there are none at all, the policy is left to others.
        dry_run: Only look.

    Yields:
        A step, if there is a policy to be had.
    """
    if not principals:
        return
    answer = found(bucket.client.get_bucket_policy, Bucket=bucket.name)
    policy = json.loads(answer["Policy"]) if answer else {"Version": _VERSION}
    present = _listed(policy.get("Statement", []))
    wanted = list(_statements(bucket.name, prefix, principals))
    sids = {_sid(prefix, role, each) for role, grants in ROLES.items() for each in grants}
    others = [each for each in present if each.get("Sid") not in sids]
    changed = _comparable(present) != _comparable(others + wanted)
    if changed and not dry_run:
        document = json.dumps({**policy, "Statement": others + wanted})
        bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=document)
    yield Step(f"policy of bucket {bucket.name}", changed)


def same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two policies say the same, however it is spelt."""
    return _comparable(_listed(one.get("Statement", []))) == _comparable(
        _listed(other.get("Statement", []))
    )


def _statements(
    bucket: str, prefix: str, principals: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    for role, arns in principals.items():
        for grant in ROLES[role]:
            yield {
                "Sid": _sid(prefix, role, grant),
                "Principal": {"AWS": list(arns)},
                **_statement(bucket, grant),
            }


def _statement(bucket: str, grant: Grant) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Effect": "Allow",
        "Action": list(grant.actions),
        "Resource": [f"{arn}/{key}" for key in grant.keys] or [arn],
    }


def _sid(prefix: str, role: str, grant: Grant) -> str:
    """Name a statement; AWS allows letters and digits only."""
    return re.sub(r"[^A-Za-z0-9]", "", prefix) + role.capitalize() + grant.name


def _comparable(statements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put statements into one order and spelling: stores write lists of one as their item."""
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
