"""The database: its schema, its roles, and the record of whether batches wait for verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap

from consumers.database.migrate import migrate, pending
from consumers.database.moderation_switch import put_stage
from consumers.database.roles import RolePrivileges, ensure_roles
from ops.bootstrap.step import Step


def make_schema(url: str, roles: RolePrivileges, *, dry_run: bool) -> Iterator[Step]:
    """Create the tables, and the roles with their privileges.

    Yields:
        Each step, once it is done.
    """
    missing = pending(url) if dry_run else migrate(url)
    yield Step("database schema", changed=bool(missing))
    if missing and dry_run:
        # Privileges on missing tables cannot be compared.
        yield Step("database roles", changed=True)
        return
    yield from starmap(Step, ensure_roles(url, roles, dry_run=dry_run))


def put_moderation(url: str, *, is_on: bool, dry_run: bool) -> Step:
    """Record whether new batches wait for verdicts.

    Switch it on after the stage's queue and rule exist, and off before the rule goes: a batch
    that waits for verdicts needs a stage that receives its transcripts.
    """
    before = put_stage(url, is_on=is_on, dry_run=dry_run)
    what = f"moderation: {'on' if is_on else 'off'}"
    if before.others and is_on:
        what += f" for new batches; {before.others} in work end without it"
    elif before.others:
        what += (
            f" for new batches; {before.others} in work still wait for verdicts: keep 'dropscribe "
            "consume moderate', with its policies, and 'dropscribe sweep' running until they end"
        )
    return Step(what, before.is_on is not is_on)
