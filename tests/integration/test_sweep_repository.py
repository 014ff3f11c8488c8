"""The cost of a sweep's queries, in a table of any size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from consumers.database.migrate import migrate
from consumers.database.pool import Pool, open_pool
from consumers.database.sweep import DEFAULT_AGES, SweepRepository
from tests.bench.listing_server import Shape

#: Many times as many rows as a page has.
SHAPE = Shape(batches=60, recordings=500)


@pytest.fixture
def pool(variables: dict[str, str]) -> Iterator[Pool]:
    """A connection to tables without discrepancies."""
    url = variables["DATABASE_URL"]
    migrate(url)
    SHAPE.put_rows(url)
    with closing(open_pool(url, size=1, name="sweep")) as pool:
        yield pool


def rows_read(pool: Pool) -> int:
    """The recordings that Postgres has read so far."""
    with pool.connection() as connection:
        # A session tells when it is idle, or now and then.
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::integer AS number"
            " FROM pg_stat_user_tables WHERE relname = 'recordings'"
        ).fetchone()
    assert row is not None
    number = row["number"]
    assert isinstance(number, int)
    return number


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
def test_a_page_reads_its_own_rows_and_no_others(pool: Pool, plan: str) -> None:
    with pool.connection() as connection:
        connection.execute(f"SET plan_cache_mode = {plan}")
    before = rows_read(pool)
    # In the middle of the table, where it is hardest to tell how much of it lies in a range.
    batch = str(list(SHAPE.ids)[SHAPE.batches // 2])
    for end in (250, 500):
        findings = SweepRepository(pool, DEFAULT_AGES).recordings(
            positions=[(batch, ordinal) for ordinal in range(end - 250, end)],
            opus=[True] * 250,
            transcripts=[True] * 250,
            verdicts=[False] * 250,
            after=(batch, end - 251),
            upto=(batch, end - 1),
            began=datetime.now(UTC),
        )
        assert findings == []
    assert rows_read(pool) - before == SHAPE.recordings


def test_no_query_is_compiled(pool: Pool) -> None:
    with pool.connection() as connection:
        assert connection.execute("SHOW jit").fetchone() == {"jit": "off"}
