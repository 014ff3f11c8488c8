"""``dropscribe reprocess``: repeat the work on a batch."""

from __future__ import annotations

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from events.keys import AudioId, BatchId
from ops.cli.options import AUDIO, BATCH, as_json_option
from ops.cli.output import counted, print_json, progress_bars
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_reprocessor
from ops.wiring.settings import SERVER_SETTINGS, ScratchSettings


@click.command(cls=SettingsCommand, settings=(*SERVER_SETTINGS, ScratchSettings))
@click.argument("batch", type=BATCH)
@click.option(
    "--from",
    "start",
    type=click.Choice(["unpack", "transcribe", "moderate"]),
    default="transcribe",
    show_default=True,
    help="The first stage to repeat.",
)
@click.option(
    "--only",
    multiple=True,
    type=AUDIO,
    metavar="AUDIO_ID",
    help="Repeat only this recording; can be given several times.",
)
@as_json_option
def reprocess(batch: BatchId, start: str, only: tuple[AudioId, ...], *, as_json: bool) -> None:
    """Repeat the work on BATCH.

    Use it for another model or other policies, or after a fix. The results of the
    stages that are repeated are deleted first, and the batch completes once more.
    Reviewers' decisions are never deleted, nor is anything that cannot be made again.

    \b
    moderate    judge again by the current policies; without policies, delete the
                verdicts
    transcribe  new transcripts, too
    unpack      everything, from the archive, which must still be in the bucket

    If the command is interrupted, run it again.

    \b
    Examples:
      dropscribe reprocess 20250622-143052-a1b2c3
      dropscribe reprocess 20250622-143052-a1b2c3 --only 20250622-143052-a1b2c3-0000007
      dropscribe reprocess 20250622-143052-a1b2c3 --from moderate
      dropscribe reprocess 20250622-143052-a1b2c3 --from unpack
    """  # noqa: D301
    if only and start == "unpack":
        raise click.UsageError("--only cannot be combined with --from unpack")
    number = None
    with (
        open_reprocessor(read_environment(), quiet_log()) as reprocessor,
        progress_bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bars,
    ):
        task = bars.add_task("queued", total=None)
        if start == "unpack":
            reprocessor.unpack_again(batch)
        else:
            again = (
                reprocessor.transcribe_again
                if start == "transcribe"
                else reprocessor.moderate_again
            )
            number = again(batch, frozenset(only), lambda sent: bars.advance(task, sent))
    if as_json:
        print_json({"batch_id": str(batch), "from": start, "recordings": number})
    elif number is None:
        click.echo(f"{batch}: queued for unpack")
    else:
        click.echo(f"{batch}: {counted(number, 'recording')} queued for {start}")
