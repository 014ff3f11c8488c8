"""``dropscribe status``: how far batches are."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumers.database.database import Database
from events.keys import BatchId
from ops.commands.parameters import BATCH
from ops.composition import open_database, utc_now
from ops.environment import Environment
from ops.output import age, print_json, progress_as_json, recording_as_json, recordings_table
from ops.watch import Progress, look

#: Seconds between looks of ``--watch``.
_INTERVAL = 1.0

_NEVER = datetime.min.replace(tzinfo=UTC)


@click.command()
@click.argument("batch", required=False, type=BATCH)
@click.option("--watch", "keep_looking", is_flag=True, help="Look again each second until Ctrl-C.")
@click.option("--limit", default=20, show_default=True, help="How many batches to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(batch: BatchId | None, limit: int, *, keep_looking: bool, as_json: bool) -> None:
    """Show how far the youngest batches are, or one BATCH with its recordings.

    Setting: DATABASE_URL.
    """
    with open_database(Environment(os.environ)) as database:
        if batch is not None:
            _show_batch(database, batch, as_json=as_json)
        elif keep_looking and not as_json:
            _keep_showing(database, limit)
        else:
            _show_batches(database, limit, as_json=as_json)


def _show_batch(database: Database, batch: BatchId, *, as_json: bool) -> None:
    progress = look(database, batch)
    if progress.row is None:
        raise click.ClickException(f"there is no batch {batch} (yet)")
    recordings = database.recordings(batch)
    if as_json:
        entries = [
            {**recording_as_json(recording), "stalled": recording.stalled}
            for recording in recordings
        ]
        print_json({**progress_as_json(progress), "recordings": entries})
        return
    console = Console()
    console.print(_table([progress]))
    console.print()
    console.print(recordings_table(recordings))


def _show_batches(database: Database, limit: int, *, as_json: bool) -> None:
    batches = _look_at_all(database, limit)
    if as_json:
        print_json({"batches": [progress_as_json(progress) for progress in batches]})
    else:
        Console().print(_table(batches))


def _keep_showing(database: Database, limit: int) -> None:
    with Live(_table(_look_at_all(database, limit)), console=Console()) as live:
        try:
            while True:
                time.sleep(_INTERVAL)
                live.update(_table(_look_at_all(database, limit)))
        except KeyboardInterrupt:
            return


def _look_at_all(database: Database, limit: int) -> list[Progress]:
    return [look(database, row.batch) for row in database.batches(limit)]


def _table(batches: list[Progress]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("batch", "archive", "state", "done", "of", "rejected", "age", "why"):
        table.add_column(heading, overflow="fold")
    for progress in batches:
        row = progress.row
        dropped_at = (row.dropped_at if row else None) or _NEVER
        table.add_row(
            str(progress.batch),
            Text((row.original_name if row else None) or ""),
            progress.state,
            str(progress.finished),
            str(progress.found) if row and row.sealed_at else f"{progress.found}+",
            str(progress.counts.get("rejected", 0)),
            age(utc_now() - dropped_at) if dropped_at is not _NEVER else "",
            Text(((row.failure or row.stalled) if row else None) or ""),
        )
    return table
