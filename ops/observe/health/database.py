"""The database: its schema, its connections, and the speed of completion."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.database.health import INDEX, CompletionTiming, DatabaseServer
from consumers.database.migrate import migrations, pending
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined, judged
from ops.wiring.settings import DatabaseSettings


def check_database(context: CheckContext) -> CheckResult:
    """Check that the schema is current, connections are left, and completion is fast.

    The query by which consumers detect a complete batch runs here without its locks;
    that is the part that can become slow.
    """
    database = context.database
    missing = pending(DatabaseSettings.read(context.environment).url)
    if missing:
        names = ", ".join(f"{step.version:04} {step.name}" for step in missing)
        return CheckResult(
            "database",
            Level.CRITICAL,
            f"the schema is outdated: migrations {names} are missing",
            "dropscribe bootstrap",
            {"pending_migrations": len(missing)},
        )
    server, completion = database.server(), database.completion()
    figures = {
        "pending_migrations": 0,
        "connections": server.connections,
        "max_connections": server.most,
        "completion_seconds": round(completion.seconds, 6),
        "by_index": completion.by_index,
    }
    remarks = [*_connections(context, server), *_completion(context, server, completion)]
    said = (
        f"PostgreSQL {server.version.split()[0]}, schema {migrations()[-1].version:04}, "
        f"{server.connections} of {server.most} connections, "
        f"completion query in {completion.seconds * 1000:.1f} ms"
    )
    return combined("database", remarks, said, figures)


def _connections(context: CheckContext, server: DatabaseServer) -> Iterator[Remark]:
    level = judged(server.connections / max(1, server.most), context.settings.connections)
    if level is not Level.OK:
        yield Remark(
            level,
            f"{server.connections} of {server.most} connections are in use",
            "fewer workers (systemctl stop dropscribe@...), or psql -c 'ALTER SYSTEM SET "
            "max_connections = ...' and systemctl restart postgresql",
        )


def _completion(
    context: CheckContext, server: DatabaseServer, completion: CompletionTiming
) -> Iterator[Remark]:
    if not server.has_index:
        state = "is missing" if server.has_index is None else "is invalid"
        yield Remark(
            Level.CRITICAL,
            f"the index {INDEX} {state}: each completed batch scans all rows",
            f"psql -c 'DROP INDEX IF EXISTS {INDEX}' -c 'CREATE INDEX CONCURRENTLY {INDEX} "
            "ON recordings (batch_id, (-ordinal)) WHERE finished_at IS NULL'",
        )
    level = judged(completion.seconds, context.settings.completion)
    if level is not Level.OK:
        how = "by its index" if completion.by_index else "without its index"
        yield Remark(
            level,
            f"the query whether a batch is complete takes {completion.seconds:.2f} s, {how}",
            "psql -c 'VACUUM (ANALYZE) recordings'",
        )
