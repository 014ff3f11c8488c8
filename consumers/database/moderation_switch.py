"""The record of the optional stage `moderate`, for which new batches then wait."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from consumers.database.pool import translated
from consumers.database.repository import queries


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The stage's record.

    Attributes:
        is_on: Whether batches that are registered now wait for it.
        others: Batches in progress that were registered while the stage was not in the
            requested state, and stay as they are.
    """

    is_on: bool
    others: int


def put_stage(url: str, *, is_on: bool, dry_run: bool) -> StageRecord:
    """Record whether new batches wait for the stage; batches in progress stay as they are.

    Needs the owner of the tables. Returns the record before: off, if there are no tables.
    """
    off = StageRecord(is_on=False, others=0)
    with translated(), psycopg.connect(url, connect_timeout=10) as connection:
        try:
            with connection.cursor(row_factory=class_row(StageRecord)) as cursor:
                before = cursor.execute(queries()["stage"], {"is_on": is_on}).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            connection.rollback()
            return off
        if not dry_run:
            connection.execute(queries()["put_stage" if is_on else "drop_stage"])
    return before or off
