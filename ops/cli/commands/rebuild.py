"""``dropscribe rebuild``: recreate rows from the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from events.keys import BatchId
from ops.cli.options import BATCH, as_json_option, yes_option
from ops.cli.output import confirm, print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.rebuild.rebuilder import NothingStoredError, NotRebuilt, Rebuilder, Rebuilt
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_rebuilder
from ops.wiring.settings import DatabaseSettings, ScratchSettings, StoreSettings


@click.command(cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings, ScratchSettings))
@click.argument("batch", required=False, type=BATCH)
@yes_option
@as_json_option
def rebuild(batch: BatchId | None, *, yes: bool, as_json: bool) -> None:
    """Recreate database rows from the bucket.

    Deletes the rows of BATCH, or of every batch, and writes them anew. Use it for a
    database that was lost, or restored from a backup, and run `dropscribe sweep`
    afterwards to resume unfinished work. Consumers may keep running; a batch that is
    being unpacked at that moment is skipped.

    If the bucket holds nothing of BATCH, its rows are deleted after a confirmation.
    Without BATCH, such rows stay, and a sweep reports them.

    \b
    Examples:
      dropscribe rebuild 20250622-143052-a1b2c3
      dropscribe rebuild --yes && dropscribe sweep
    """  # noqa: D301
    if batch is None:
        confirm(lambda: "Recreate the rows of every batch?", yes=yes)
    outcomes = []
    with open_rebuilder(read_environment(), quiet_log()) as rebuilder:
        for outcome in _rebuilt(rebuilder, batch, yes=yes):
            outcomes.append(outcome)
            if not as_json:
                _echo(outcome)
    if as_json:
        print_json({"batches": [_as_json(outcome) for outcome in outcomes]})
    if any(isinstance(outcome, NotRebuilt) for outcome in outcomes):
        raise click.exceptions.Exit(1)


def _rebuilt(
    rebuilder: Rebuilder, batch: BatchId | None, *, yes: bool
) -> Iterator[Rebuilt | NotRebuilt]:
    if batch is None:
        yield from rebuilder.rebuild_all()
        return
    try:
        yield rebuilder.rebuild(batch)
    except NothingStoredError as exc:
        question = f"{exc}. Delete its rows?"
        confirm(lambda: question, yes=yes)
        rebuilder.forget(batch)
        yield Rebuilt(batch, 0, 0, "waiting")


def _echo(outcome: Rebuilt | NotRebuilt) -> None:
    if isinstance(outcome, NotRebuilt):
        click.echo(f"{outcome.batch}: Error: {outcome.error}", err=True)
        return
    click.echo(
        f"{outcome.batch}: {outcome.state}, {outcome.recordings} recordings, "
        f"{outcome.transcripts} transcripts"
    )


def _as_json(outcome: Rebuilt | NotRebuilt) -> dict[str, Any]:
    document = asdict(outcome)
    del document["batch"]
    return {"batch_id": str(outcome.batch), **document}
