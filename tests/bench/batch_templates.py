"""Databases with one large batch in work, each made once and copied for every run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from consumers.database.migrate import migrate
from events.keys import BatchId
from tests.harness.servers.postgres import PostgresServer

#: The batch that is measured, and one on which connections warm up.
MEASURED = BatchId("20250622-143052-a1b2c3")
WARMING = BatchId("20250622-143053-a1b2c3")

#: Recordings of the latter.
WARM = 512

#: The share of dead rows that autovacuum tolerates by default.
_NOT_VACUUMED = 0.2

#: For the peer that counts in the batch's row.
_COUNTERS: LiteralString = "ALTER TABLE batches ADD COLUMN done integer, ADD COLUMN total integer"

_BATCH: LiteralString = """
    INSERT INTO batches (batch_id, sealed_at, done, total)
    VALUES (%(batch)s, now(), %(done)s, %(size)s)
"""

_RECORDINGS: LiteralString = """
    INSERT INTO recordings (
        batch_id, ordinal, state, path, duration, codec, sample_rate, channels, loudness_dbfs,
        source_sha256, opus_key
    )
    SELECT %(batch)s, n, 'converted', 'tapes/' || n || '.mp3', 10.5, 'mp3', 44100, 2, -23.5,
           encode(sha256(n::text::bytea), 'hex'),
           %(prefix)s || '-' || lpad(n::text, 7, '0') || '.opus'
    FROM generate_series(0, %(size)s - 1) AS n
"""

FINISH: LiteralString = """
    UPDATE recordings
    SET state = 'transcribed', finished_at = now()
    WHERE batch_id = %(batch)s AND ordinal >= %(first)s AND ordinal < %(end)s
"""

_TRANSCRIPTS: LiteralString = """
    INSERT INTO transcripts (batch_id, ordinal, language, text, segments, model, search)
    SELECT %(batch)s, n, 'en', said.text, '[]', 'tiny', to_tsvector('simple', said.text)
    FROM generate_series(0, %(done)s - 1) AS n
    CROSS JOIN LATERAL (
        SELECT string_agg('w' || mod(n * 7 + k * k * 13, 5000), ' ') AS text
        FROM generate_series(1, 12) AS k
    ) AS said
"""

_SEARCH: LiteralString = (
    "SELECT indexdef FROM pg_indexes"
    " WHERE schemaname = current_schema() AND indexname = 'transcripts_search'"
)


@dataclass(frozen=True, slots=True)
class Template:
    """A database that is copied.

    Attributes:
        left: How many of them, the last ones, are unfinished.
    """

    server: PostgresServer
    name: str
    size: int
    left: int

    @contextmanager
    def copied(self) -> Iterator[str]:
        """Make a copy while the block runs; yields its URL.

        Its files lie in the system's cache, and those of the template on the disk.
        """
        name = sql.Identifier(f"run-{uuid.uuid4().hex[:12]}")
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(copy.format(name, sql.Identifier(self.name)))
            try:
                yield self.server.url(name.as_string().strip('"'))
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def make_template(server: PostgresServer, size: int, left: int) -> Template:
    """Make a database with a batch of ``size`` recordings, of which ``left`` are unfinished.

    It is as a batch that was worked off from its beginning is: transcripts with their
    index, statistics of some time ago, and the remains of the rows that were finished since
    the last vacuum.
    """
    name = f"batch-of-{size}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate(server.url(name))
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute(_COUNTERS)
        # Rows that are made here belong together.
        connection.execute("SET session_replication_role = replica")
        _fill(connection, WARMING, WARM, 0)
        _fill(connection, MEASURED, size, size - left)
    return Template(server, name, size, left)


def _fill(connection: psycopg.Connection, batch: BatchId, size: int, done: int) -> None:
    given = {"batch": str(batch), "prefix": batch.prefix, "size": size, "done": done}
    connection.execute(_BATCH, given)
    connection.execute(_RECORDINGS, given)
    _put_transcripts(connection, given)
    vacuumed = min(done, round(size * (1 - _NOT_VACUUMED)))
    connection.execute(FINISH, {**given, "first": 0, "end": vacuumed})
    connection.execute("VACUUM (ANALYZE)")
    connection.execute(FINISH, {**given, "first": vacuumed, "end": done})


def _put_transcripts(connection: psycopg.Connection, given: dict[str, object]) -> None:
    """Write transcripts; an index is made much faster than it grows."""
    index = connection.execute(_SEARCH).fetchone()
    connection.execute("DROP INDEX transcripts_search")
    connection.execute(_TRANSCRIPTS, given)
    if index is not None:
        connection.execute(index[0])
