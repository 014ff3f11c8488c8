"""The declaration of a stage, from which its metrics, database role and bucket rights follow."""

from __future__ import annotations

from dataclasses import dataclass

from consumers.database.roles import TablePrivileges
from consumers.store.grants import LOOK, READ_PROCESSED, BucketGrant, processed_keys


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What a stage reads and writes.

    Every stage may list the bucket, read all objects under ``processed/`` and look up the
    version of the database's schema.

    Attributes:
        writes: Suffixes of the objects that it stores under ``processed/``.
        tables: Privileges in the database.
        grants: Further rights in the bucket.
        states: States to which it brings recordings, each a label of its metrics.
    """

    writes: tuple[str, ...]
    tables: TablePrivileges
    grants: tuple[BucketGrant, ...] = ()
    states: tuple[str, ...] = ()

    @property
    def bucket_grants(self) -> tuple[BucketGrant, ...]:
        """All of its rights in the bucket."""
        write = BucketGrant("Write", ("s3:PutObject",), processed_keys(*self.writes))
        return LOOK, READ_PROCESSED, write, *self.grants
