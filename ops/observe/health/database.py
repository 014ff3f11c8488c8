"""The database: its schema, its connections, and the speed of completion."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.database.health import INDEX
from consumers.database.migrate import migrations, pending
from ops.observe.health.context import CheckContext
from ops.observe.health.result import Level, Remark, beyond
from ops.wiring.settings import DatabaseSettings


def check_database(context: CheckContext) -> Iterator[Remark]:
    """Check that the schema is current, connections are left, and completion is fast.

    The query by which consumers detect a complete batch runs here without its locks;
    that is the part that can become slow.
    """
    missing = pending(DatabaseSettings.read(context.environment).url)
    if missing:
        names = ", ".join(f"{step.version:04} {step.name}" for step in missing)
        what = f"the schema is outdated: migrations {names} are missing"
        figures = {"pending_migrations": len(missing)}
        yield Remark(Level.CRITICAL, what, "dropscribe bootstrap", figures)
        return
    server, completion = context.database.server(), context.database.completion()
    connections = f"{server.connections} of {server.most} connections"
    yield Remark(
        Level.OK,
        f"PostgreSQL {server.version.split()[0]}, schema {migrations()[-1].version:04}, "
        f"{connections}, completion query in {completion.seconds * 1000:.1f} ms",
        figures={
            "pending_migrations": 0,
            "connections": server.connections,
            "max_connections": server.most,
            "completion_seconds": round(completion.seconds, 6),
            "by_index": completion.by_index,
        },
    )
    yield from beyond(
        server.connections / max(1, server.most),
        context.settings.connections,
        f"{connections} are in use",
        "fewer workers (systemctl stop dropscribe@...), or psql -c 'ALTER SYSTEM SET "
        "max_connections = ...' and systemctl restart postgresql",
    )
    if not server.has_index:
        state = "is missing" if server.has_index is None else "is invalid"
        yield Remark(
            Level.CRITICAL,
            f"the index {INDEX} {state}: each completed batch scans all rows",
            f"psql -c 'DROP INDEX IF EXISTS {INDEX}' -c 'CREATE INDEX CONCURRENTLY {INDEX} "
            "ON recordings (batch_id, (-ordinal)) WHERE finished_at IS NULL'",
        )
    how = "by its index" if completion.by_index else "without its index"
    yield from beyond(
        completion.seconds,
        context.settings.completion,
        f"the query whether a batch is complete takes {completion.seconds:.2f} s, {how}",
        "psql -c 'VACUUM (ANALYZE) recordings'",
    )
