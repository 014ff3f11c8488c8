"""``dropscribe reprocess``: do a batch again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from events.keys import AudioId, BatchId
from ops.cli.commands.parameters import AUDIO, BATCH
from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_reprocessor
from ops.wiring.settings import (
    BrokerSettings,
    DatabaseSettings,
    LoopSettings,
    ScratchSettings,
    StoreSettings,
)


@click.command(
    cls=SettingsCommand,
    settings=(StoreSettings, BrokerSettings, DatabaseSettings, LoopSettings, ScratchSettings),
)
@click.argument("batch", type=BATCH)
@click.option(
    "--from",
    "start",
    type=click.Choice(["unpack", "transcribe", "moderate"]),
    default="transcribe",
    show_default=True,
    help="Which stage begins.",
)
@click.option(
    "--only",
    multiple=True,
    type=AUDIO,
    metavar="AUDIO_ID",
    help="Only this recording; can be given many times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reprocess(batch: BatchId, start: str, only: tuple[AudioId, ...], *, as_json: bool) -> None:
    """Do BATCH again: with another model or other policies, or after a fault was mended.

    From moderate, its verdicts are deleted and made anew by the policies of now, or
    not where there are none any more; transcripts stay. From transcribe, its
    transcripts are, too. From unpack, all that was made of its archive is; the
    archive has to be there still. What can't be done again is not deleted, and no
    reviewer's decision ever is. The batch then completes once more. Should this be
    cut short, run it again.

    \b
      dropscribe reprocess 20250622-143052-a1b2c3
      dropscribe reprocess 20250622-143052-a1b2c3 --only 20250622-143052-a1b2c3-0000007
      dropscribe reprocess 20250622-143052-a1b2c3 --from moderate
      dropscribe reprocess 20250622-143052-a1b2c3 --from unpack
    """  # noqa: D301
    if only and start == "unpack":
        raise click.UsageError("--only is not for --from unpack: an archive is unpacked as a whole")
    told = None
    with open_reprocessor(read_environment(), quiet_log()) as reprocessor, _bar() as show:
        if start == "unpack":
            reprocessor.unpack_again(batch)
        elif start == "transcribe":
            told = reprocessor.transcribe_again(batch, frozenset(only), show)
        else:
            told = reprocessor.moderate_again(batch, frozenset(only), show)
    if as_json:
        print_json({"batch_id": str(batch), "from": start, "recordings": told})
    elif told is None:
        click.echo(f"{batch}: to be unpacked again")
    else:
        click.echo(f"{batch}: {told} recordings to {start} again")


@contextmanager
def _bar() -> Iterator[Callable[[int], None]]:
    """Show how many are told on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bars:
        task = bars.add_task("told", total=None)
        yield lambda number: bars.advance(task, number)
