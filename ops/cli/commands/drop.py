"""``dropscribe drop``: upload archives."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import click

from consumers.errors import PermanentError, TransientError
from events.keys import BatchId
from ops.cli.batch_progress import BatchProgress, follow_batch
from ops.cli.options import FILE, as_json_option
from ops.cli.output import print_error, print_json
from ops.cli.render.batches import batch_bar, progress_as_json, upload_bar
from ops.cli.settings import SettingsCommand, read_environment
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import make_store, open_database, utc_now
from ops.wiring.environment import Environment
from ops.wiring.settings import DatabaseSettings, StoreSettings


@click.command(cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...", type=FILE)
@click.option("--wait", is_flag=True, help="Wait until the batches are done.")
@as_json_option
def drop(archives: tuple[Path, ...], *, wait: bool, as_json: bool) -> None:
    """Upload each ARCHIVE as a new batch.

    Prints the batches' ids. An ARCHIVE is a tar, tar.gz, tar.bz2, tar.xz, tar.zst or
    zip of sound recordings. The exit code is 1 if an archive could not be uploaded
    or, with --wait, if a batch did not complete.

    \b
    Examples:
      dropscribe drop monday.zip tuesday.tar.gz
      dropscribe drop --wait interviews.tar
    """  # noqa: D301
    environment = read_environment()
    store, host = make_store(environment), socket.gethostname()
    batches: list[tuple[Path, BatchId]] = []
    failed: list[str] = []
    for archive in archives:
        try:
            with upload_bar(_name(archive), archive.stat().st_size) as sent:
                batch = drop_archive(store, archive, now=utc_now(), host=host, advance=sent)
        except (PermanentError, TransientError) as exc:
            failed.append(str(exc))
            continue
        batches.append((archive, batch))
        if not as_json:
            click.echo(str(batch))
    waited: dict[BatchId, BatchProgress] = {}
    try:
        if wait:
            waited = _wait(environment, batches)
    except TransientError as exc:
        failed.append(str(exc))
    if as_json:
        print_json({"batches": [_as_json(path, batch, waited) for path, batch in batches]})
    for error in failed:
        print_error(error)
    if failed or any(progress.state != "complete" for progress in waited.values()):
        raise click.exceptions.Exit(1)


def _wait(
    environment: Environment, batches: Sequence[tuple[Path, BatchId]]
) -> dict[BatchId, BatchProgress]:
    waited = {}
    with open_database(environment) as database:
        for archive, batch in batches:
            with batch_bar() as show:
                waited[batch] = follow_batch(database, batch, show)
            click.echo(f"{_name(archive)}: {waited[batch].state}", err=True)
    return waited


def _name(archive: Path) -> str:
    """Return a file's name in printable form: it need not be UTF-8."""
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
