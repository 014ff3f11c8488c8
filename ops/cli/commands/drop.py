"""``dropscribe drop``: upload archives."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from consumers.errors import PermanentError, TransientError
from events.keys import BatchId
from ops.cli.batch_progress import BatchProgress, follow_batch
from ops.cli.render.progress import batch_bar, print_json, progress_as_json, upload_bar
from ops.cli.settings import SettingsCommand, read_environment
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import make_store, open_database, utc_now
from ops.wiring.environment import Environment
from ops.wiring.settings import DatabaseSettings, StoreSettings


@click.command(cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument(
    "archives",
    nargs=-1,
    required=True,
    metavar="ARCHIVE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--wait", is_flag=True, help="Wait until the batches are done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def drop(context: click.Context, archives: tuple[Path, ...], *, wait: bool, as_json: bool) -> None:
    """Upload each ARCHIVE into the bucket as a batch, and print the batches' ids.

    With --wait the exit code is 0 only if every batch is complete.
    """
    environment = read_environment()
    store, host = make_store(environment), socket.gethostname()
    batches: list[tuple[Path, BatchId]] = []
    failed: list[str] = []
    for archive in archives:
        try:
            with upload_bar(_name(archive), archive.stat().st_size) as sent:
                batch = drop_archive(store, archive, now=utc_now(), host=host, advance=sent)
                batches.append((archive, batch))
        except (PermanentError, TransientError) as exc:
            failed.append(str(exc))
            continue
        if not as_json:
            click.echo(str(batches[-1][1]))
    try:
        waited = _wait(environment, batches) if wait else {}
    except TransientError as exc:
        failed.append(str(exc))
        waited = {}
    if as_json:
        print_json({"batches": [_as_json(path, batch, waited) for path, batch in batches]})
    for error in failed:
        click.echo(f"Error: {error}", err=True)
    if failed or any(progress.state != "complete" for progress in waited.values()):
        context.exit(1)


def _wait(
    environment: Environment, batches: list[tuple[Path, BatchId]]
) -> dict[BatchId, BatchProgress]:
    waited = {}
    with open_database(environment) as database:
        for archive, batch in batches:
            with batch_bar() as show:
                waited[batch] = follow_batch(database, batch, show)
            click.echo(f"{_name(archive)}: {waited[batch].state}", err=True)
    return waited


def _name(archive: Path) -> str:
    """Give a file's name as it can be shown: it need not be UTF-8."""
    return click.format_filename(archive, shorten=True)


def _as_json(
    archive: Path, batch: BatchId, waited: dict[BatchId, BatchProgress]
) -> dict[str, object]:
    progress = waited.get(batch)
    return {
        "archive": click.format_filename(archive),
        "batch_id": str(batch),
        **(progress_as_json(progress) if progress else {}),
    }
