"""``dropscribe release``: let archives expire of which something is missing."""

from __future__ import annotations

from dataclasses import dataclass

import click

from consumers.errors import BusyError, PermanentError
from events.keys import BatchId
from ops.cli.options import BATCH, as_json_option
from ops.cli.output import print_error, print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.release import Release, Releaser
from ops.wiring.adapters import make_store, open_database
from ops.wiring.settings import DatabaseSettings, StoreSettings


@click.command(cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("batches", metavar="BATCH...", nargs=-1, required=True, type=BATCH)
@as_json_option
def release(batches: tuple[BatchId, ...], *, as_json: bool) -> None:
    """Let the archives of BATCHes expire although something is missing from the result.

    An archive expires by itself (RETENTION_DAYS after its upload) only if all of its sound
    is in the result. If a member was rejected, sound was damaged or left out, or the
    archive could not be read to its end, the archive is kept: it is the last copy.

    \b
    1. dropscribe status                          which archives are kept
    2. dropscribe status BATCH --members          what is missing, and why
    3. fix it and drop it again, or accept it:
       dropscribe release BATCH

    A released archive is not deleted at once, but expires with the others; if RETENTION_DAYS
    have passed, within a day or so. Reprocessing a batch decides anew. To let all of these
    archives expire after a longer time, set RETENTION_DAYS_WITH_LOSSES (dropscribe bootstrap).
    Releasing an archive again does no harm.

    \b
    Examples:
      dropscribe release 20250622-143052-a1b2c3
      dropscribe release 20250622-143052-a1b2c3 20250623-090000-d4e5f6 --json
    """  # noqa: D301
    environment = read_environment()
    with open_database(environment) as database:
        releaser = Releaser(make_store(environment), database)
        done = [_released(releaser, batch) for batch in batches]
    if as_json:
        print_json({"batches": [_as_json(each) for each in done]})
    for each in done:
        if isinstance(each, _NotReleased):
            print_error(each.error)
        elif not as_json:
            click.echo(f"{each.batch}: {each.archive_key or 'its archive'} is {each.what}")
    if any(isinstance(each, _NotReleased) for each in done):
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True)
class _NotReleased:
    batch: BatchId
    error: str


def _released(releaser: Releaser, batch: BatchId) -> Release | _NotReleased:
    try:
        return releaser.release(batch)
    except (PermanentError, BusyError) as exc:
        return _NotReleased(batch, str(exc))


def _as_json(done: Release | _NotReleased) -> dict[str, object]:
    if isinstance(done, _NotReleased):
        return {"batch_id": str(done.batch), "released": False, "error": done.error}
    return {
        "batch_id": str(done.batch),
        "archive_key": done.archive_key,
        "released": done.is_released,
        "what": done.what,
    }
