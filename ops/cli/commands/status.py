"""``dropscribe status``: how far batches are."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumers.database.batches import BatchRepository
from events.keys import BatchId
from ops.cli.batch_progress import BatchProgress, look
from ops.cli.commands.parameters import BATCH
from ops.cli.render.progress import (
    age,
    print_json,
    progress_as_json,
    recording_as_json,
    recordings_table,
)
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.adapters import open_database, utc_now
from ops.wiring.settings import DatabaseSettings

#: Seconds between looks of ``--watch``.
_INTERVAL = 1.0

_NEVER = datetime.min.replace(tzinfo=UTC)


@click.command(cls=SettingsCommand, settings=(DatabaseSettings,))
@click.argument("batch", required=False, type=BATCH)
@click.option("--watch", "keep_looking", is_flag=True, help="Look again each second until Ctrl-C.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default="20",
    help="How many batches to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(batch: BatchId | None, limit: int, *, keep_looking: bool, as_json: bool) -> None:
    """Show how far the youngest batches are, or one BATCH with its recordings."""
    if keep_looking and as_json:
        raise click.UsageError("--watch is for people and --json for programs: choose one")
    with open_database(read_environment()) as database:

        def shown() -> RenderableType:
            return _one(database, batch) if batch else _table(_look_at_all(database, limit))

        if as_json:
            print_json(_one_as_json(database, batch) if batch else _all_as_json(database, limit))
        elif keep_looking:
            _keep_showing(shown)
        else:
            Console().print(shown())


def _look_at(database: BatchRepository, batch: BatchId) -> BatchProgress:
    progress = look(database, batch)
    if progress.row is None:
        raise click.ClickException(f"there is no batch {batch} (yet)")
    return progress


def _one(database: BatchRepository, batch: BatchId) -> RenderableType:
    table = _table([_look_at(database, batch)])
    return Group(table, "", recordings_table(database.recordings(batch)))


def _one_as_json(database: BatchRepository, batch: BatchId) -> dict[str, object]:
    progress = _look_at(database, batch)
    entries = [
        {**recording_as_json(recording), "stalled": recording.stalled}
        for recording in database.recordings(batch)
    ]
    return {**progress_as_json(progress), "recordings": entries}


def _all_as_json(database: BatchRepository, limit: int) -> dict[str, object]:
    batches = _look_at_all(database, limit)
    return {"batches": [progress_as_json(progress) for progress in batches]}


def _keep_showing(shown: Callable[[], RenderableType]) -> None:
    with Live(shown(), console=Console()) as live:
        try:
            while True:
                time.sleep(_INTERVAL)
                live.update(shown())
        except KeyboardInterrupt:
            return


def _look_at_all(database: BatchRepository, limit: int) -> list[BatchProgress]:
    return [look(database, row.batch) for row in database.batches(limit)]


def _table(batches: list[BatchProgress]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("batch", "archive", "state", "done", "of", "rejected", "age", "why"):
        table.add_column(heading, overflow="fold")
    for progress in batches:
        row = progress.row
        dropped_at = (row.dropped_at if row else None) or _NEVER
        table.add_row(
            str(progress.batch),
            Text((row.original_name if row else None) or ""),
            _state(progress),
            str(progress.finished),
            str(progress.found) if row and row.sealed_at else f"{progress.found}+",
            str(progress.counts.get("rejected", 0)),
            age(utc_now() - dropped_at) if dropped_at is not _NEVER else "",
            Text(((row.failure or row.stalled) if row else None) or ""),
        )
    return table


def _state(progress: BatchProgress) -> str:
    return f"{progress.state}, {progress.flagged} flagged" if progress.flagged else progress.state
