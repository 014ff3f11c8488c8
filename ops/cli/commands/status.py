"""``dropscribe status``: the progress of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumers.database.batches import BatchRepository
from events.keys import BatchId
from ops.cli.batch_progress import BatchProgress, look
from ops.cli.member_list import MEMBERS_FILE, open_members, save_members
from ops.cli.options import BATCH, FOLDER, as_json_option, limit_option
from ops.cli.output import counted, make_table, print_json
from ops.cli.render.batches import (
    kept_as_text,
    progress_as_json,
    recording_as_json,
    recordings_table,
)
from ops.cli.render.members import member_as_json, members_table
from ops.cli.render.notes import notes_as_lines
from ops.cli.settings import SettingsCommand, read_environment
from ops.durations import in_largest_unit
from ops.wiring.adapters import make_store, open_database, utc_now
from ops.wiring.settings import DatabaseSettings, StoreSettings

#: Seconds between two looks of ``--watch``.
_INTERVAL = 1.0


@click.command(cls=SettingsCommand, settings=(DatabaseSettings, StoreSettings))
@click.argument("batch", required=False, type=BATCH)
@click.option(
    "--members",
    "is_of_members",
    is_flag=True,
    help="List every member of BATCH's archive: what became of it, why, and notes.",
)
@click.option(
    "--out", type=FOLDER, help=f"Write the list of members ({MEMBERS_FILE}) into this folder."
)
@click.option("--watch", "keep_looking", is_flag=True, help="Refresh each second until Ctrl-C.")
@limit_option(20)
@as_json_option
def status(
    batch: BatchId | None,
    limit: int,
    out: Path | None,
    *,
    is_of_members: bool,
    keep_looking: bool,
    as_json: bool,
) -> None:
    """Show the progress of batches.

    Lists the newest batches, or one BATCH with its recordings. With --members, or --out, it
    lists everything in BATCH's archive instead, also what was ignored; only this needs the
    settings of the object store.

    \b
    Examples:
      dropscribe status
      dropscribe status 20250622-143052-a1b2c3 --watch
      dropscribe status 20250622-143052-a1b2c3 --members
      dropscribe status 20250622-143052-a1b2c3 --out lists/
    """  # noqa: D301
    if keep_looking and (as_json or is_of_members or out is not None):
        raise click.UsageError("--watch is for people and alone: choose one")
    if is_of_members or out is not None:
        if batch is None:
            raise click.UsageError("--members and --out are about one batch: name it")
        _list_members(batch, out, as_json=as_json)
        return
    with open_database(read_environment()) as database:

        def shown() -> RenderableType:
            if batch is None:
                table, number = _table(_look_at_all(database, limit)), database.kept_archives()
                return Group(table, *([Text(kept_as_text(number))] if number else []))
            progress = _look_at(database, batch)
            notes = notes_as_lines(progress.row.notes) if progress.row else []
            recordings = recordings_table(database.recordings(batch))
            return Group(_table([progress]), *map(Text, notes), "", recordings)

        if as_json:
            print_json(_as_json(database, batch, limit))
        elif keep_looking:
            _keep_showing(shown)
        else:
            Console().print(shown())


def _list_members(batch: BatchId, out: Path | None, *, as_json: bool) -> None:
    store = make_store(read_environment())
    if out is not None:
        number = save_members(store, batch, out)
        click.echo(f"{counted(number, 'member')} in {out / MEMBERS_FILE}", err=True)
        return
    with open_members(store, batch) as (head, entries):
        if as_json:
            members = [member_as_json(batch, entry) for entry in entries]
            notes = msgspec.to_builtins(head.notes)
            print_json({"batch_id": str(batch), "notes": notes, "members": members})
            return
        console = Console()
        console.print(members_table(entries))
        for line in notes_as_lines(head.notes):
            console.print(Text(line))


def _look_at(database: BatchRepository, batch: BatchId) -> BatchProgress:
    progress = look(database, batch)
    if progress.row is None:
        raise click.ClickException(f"there is no batch {batch} (yet)")
    return progress


def _look_at_all(database: BatchRepository, limit: int) -> list[BatchProgress]:
    return [look(database, row.batch) for row in database.batches(limit)]


def _as_json(database: BatchRepository, batch: BatchId | None, limit: int) -> dict[str, object]:
    if batch is None:
        return {
            "batches": [progress_as_json(each) for each in _look_at_all(database, limit)],
            "kept_archives": database.kept_archives(),
        }
    progress = _look_at(database, batch)
    entries = [
        {**recording_as_json(recording), "stalled": recording.stalled}
        for recording in database.recordings(batch)
    ]
    return {**progress_as_json(progress), "recordings": entries}


def _keep_showing(shown: Callable[[], RenderableType]) -> None:
    with Live(shown(), console=Console()) as live:
        try:
            while True:
                time.sleep(_INTERVAL)
                live.update(shown())
        except KeyboardInterrupt:
            return


def _table(batches: Sequence[BatchProgress]) -> Table:
    headings = ("batch", "archive", "state", "done", "of", "rejected", "age", "why")
    table = make_table(*headings, no_wrap=("batch",))
    for progress in batches:
        row = progress.row
        dropped_at = row.dropped_at if row else None
        flagged = f", {progress.flagged} flagged" if progress.flagged else ""
        table.add_row(
            str(progress.batch),
            Text((row.original_name if row else None) or ""),
            f"{progress.state}{flagged}{', archive kept' if row and row.is_kept else ''}",
            str(progress.finished),
            str(progress.found) if row and row.sealed_at else f"{progress.found}+",
            str(progress.counts.get("rejected", 0)),
            in_largest_unit((utc_now() - dropped_at).total_seconds()) if dropped_at else "",
            Text(((row.failure or row.stalled) if row else None) or ""),
        )
    return table
