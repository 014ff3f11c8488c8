"""Rights in the bucket, as S3's actions on patterns of keys."""

from __future__ import annotations

from dataclasses import dataclass

from events.keys import CLIP, DECISION, PROCESSED


@dataclass(frozen=True, slots=True)
class BucketGrant:
    """A right that a role has.

    Attributes:
        name: Its name among the role's rights: letters and digits only.
        actions: S3's names of the requests that it allows, such as ``s3:GetObject``.
        keys: Patterns of the objects' keys; none for the bucket itself.
    """

    name: str
    actions: tuple[str, ...]
    keys: tuple[str, ...] = ()


#: HEAD on the bucket gives the store's time. Without the right to list, a store answers
#: "forbidden" instead of "not found" for an object that does not exist.
LOOK = BucketGrant("Look", ("s3:ListBucket",))

READ_PROCESSED = BucketGrant("Read", ("s3:GetObject",), (f"{PROCESSED}*",))

#: Objects of which a recording or a batch can have many: another part stands before the suffix.
_NAMED = frozenset({CLIP, DECISION})


def processed_keys(*suffixes: str) -> tuple[str, ...]:
    """Make the patterns of keys under ``processed/`` that end in these suffixes.

    Ceph's ``*`` ends at the first character that is the pattern's next, and never tries a
    later one (16.2, measured), so a pattern has a dot for each part of the key.
    """
    return tuple(
        f"{PROCESSED}*.*{suffix}" if suffix in _NAMED else f"{PROCESSED}*{suffix}"
        for suffix in suffixes
    )
