"""``dropscribe rebuild``: write rows again from the bucket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from events.keys import BatchId
from ops.cli.commands.parameters import BATCH
from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.rebuild.rebuilder import NothingStoredError, NotRebuilt, Rebuilder, Rebuilt
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_rebuilder
from ops.wiring.settings import DatabaseSettings, ScratchSettings, StoreSettings


@click.command(cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings, ScratchSettings))
@click.argument("batch", required=False, type=BATCH)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def rebuild(context: click.Context, batch: BatchId | None, *, yes: bool, as_json: bool) -> None:
    """Drop the rows of BATCH, or of every batch, and write them from the bucket alone.

    For a database that was lost, or restored from a backup. Consumers can run
    meanwhile; a batch that is being unpacked at that moment is left out. What is
    left to do afterwards, `dropscribe sweep` sends again. Of a BATCH of which
    the bucket holds nothing the rows are dropped, once you said so; where none is
    named, such rows stay, and a sweep tells of them.

    \b
      dropscribe rebuild 20250622-143052-a1b2c3
      dropscribe rebuild --yes && dropscribe sweep
    """  # noqa: D301
    if batch is None:
        _confirm("Write the rows of every batch anew?", yes=yes)
    outcomes = []
    with open_rebuilder(read_environment(), quiet_log()) as rebuilder:
        for outcome in _rebuilt(rebuilder, batch, yes=yes):
            outcomes.append(outcome)
            if not as_json:
                _echo(outcome)
    failed = [outcome for outcome in outcomes if isinstance(outcome, NotRebuilt)]
    if as_json:
        print_json({"batches": [_as_json(outcome) for outcome in outcomes]})
    if failed:
        context.exit(1)


def _rebuilt(
    rebuilder: Rebuilder, batch: BatchId | None, *, yes: bool
) -> Iterator[Rebuilt | NotRebuilt]:
    if batch is None:
        yield from rebuilder.rebuild_all()
        return
    try:
        yield rebuilder.rebuild(batch)
    except NothingStoredError as exc:
        _confirm(f"{exc}. Drop its rows?", yes=yes)
        rebuilder.forget(batch)
        yield Rebuilt(batch, 0, 0, "waiting")


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say so with --yes.")
    click.confirm(question, abort=True, err=True)


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
