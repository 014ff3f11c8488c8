"""Whether the optional stage `moderate` is on record: batches that are new then wait for it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from consumers.database.pool import translated
from consumers.database.queries import queries


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The stage, as it is on record.

    Attributes:
        is_on: Whether batches wait for it that are registered now.
        others: How many in work do otherwise than those that are registered from then
            on, as they were registered before.
    """

    is_on: bool
    others: int


def put_stage(url: str, *, is_on: bool, dry_run: bool) -> StageRecord:
    """Put on record whether new batches wait for the stage; those in work stay as they are.

    Args:
        url: The database, as the owner of the tables.
        is_on: Whether they shall.
        dry_run: Only look.

    Returns:
        What was on record before. Where there are no tables yet, it was off.

    Raises:
        TransientError: The database can't be reached.
    """
    with translated(), psycopg.connect(url, connect_timeout=10) as connection:
        try:
            with connection.cursor(row_factory=class_row(StageRecord)) as cursor:
                before = cursor.execute(queries()["stage"], {"is_on": is_on}).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            connection.rollback()
            return StageRecord(is_on=False, others=0)
        if not dry_run:
            connection.execute(queries()["put_stage" if is_on else "drop_stage"])
    return before or StageRecord(is_on=False, others=0)
