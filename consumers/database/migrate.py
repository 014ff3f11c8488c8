"""Forward-only migrations: ``migrations/NNNN_name.sql``, each run once, in order."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import LiteralString

import psycopg

from consumers.database.pool import translated

#: The advisory lock by which two hosts that bootstrap at once take turns.
MIGRATION_LOCK = 0x64726F70

_LEDGER: LiteralString = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version     integer PRIMARY KEY,
        name        text NOT NULL,
        applied_at  timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: LiteralString


def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    folder = files("consumers.database") / "migrations"
    paths = {path.name: path for path in folder.iterdir() if path.name.endswith(".sql")}
    return tuple(
        # These are our own files, so their text may count as literal SQL.
        Migration(int(name[:4]), name[5:].removesuffix(".sql"), path.read_text(encoding="utf-8"))
        for name, path in sorted(paths.items())
    )


def pending(url: str) -> tuple[Migration, ...]:
    """The migrations that `migrate` would run; nothing is changed."""
    with translated(), psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute("SELECT to_regclass('schema_migrations') IS NULL").fetchone()
        if row is not None and row[0]:
            return migrations()
        return _missing(connection)


def migrate(url: str) -> tuple[Migration, ...]:
    """Bring the schema up to date, in one transaction, and return the migrations that were run.

    The user who runs it first owns the tables, and has to run it from then on.
    """
    with translated(), psycopg.connect(url, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        connection.execute(_LEDGER)
        missing = _missing(connection)
        for step in missing:
            connection.execute(step.sql)
            connection.execute(
                "INSERT INTO schema_migrations (version, name) VALUES (%s, %s)",
                [step.version, step.name],
            )
    return missing


def _missing(connection: psycopg.Connection) -> tuple[Migration, ...]:
    applied = {row[0] for row in connection.execute("SELECT version FROM schema_migrations")}
    return tuple(step for step in migrations() if step.version not in applied)
