"""``dropscribe sweep``: find what should have moved and has not, and have it move."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import click
from rich.console import Console, Group, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from consumers.database.sweep import DEFAULT_AGES, Ages
from consumers.errors import PermanentError, TransientError
from ops.cli.commands.parameters import DURATION
from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.sweep.report import REMEDIES, Discrepancy, SweepReport
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_sweeper
from ops.wiring.settings import (
    BrokerSettings,
    DatabaseSettings,
    LoopSettings,
    ScratchSettings,
    StoreSettings,
)

#: Names that are shown of each kind.
_NAMES = 5

#: Seconds between looks at whether to end.
_PAUSE = 0.5


@dataclass(slots=True)
class _Ending:
    """Whether somebody asked to end; set from a signal's handler, so without a lock."""

    is_asked: bool = False

    def ask(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.is_asked = True


@click.command(
    cls=SettingsCommand,
    settings=(StoreSettings, BrokerSettings, DatabaseSettings, LoopSettings, ScratchSettings),
)
@click.option("--every", type=DURATION, help="Sweep again and again, so long apart, until SIGTERM.")
@click.option(
    "--older-than",
    type=DURATION,
    default=DEFAULT_AGES.older_than,
    show_default="15min",
    help="What was stored later may still be on its way.",
)
@click.option(
    "--again-after",
    type=DURATION,
    default=DEFAULT_AGES.again_after,
    show_default="6h",
    help="What was sent again is not sent once more before.",
)
@click.option("--dry-run", is_flag=True, help="Only look.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (for each sweep).")
@click.pass_context
def sweep(
    context: click.Context,
    every: timedelta | None,
    older_than: timedelta,
    again_after: timedelta,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compare the bucket with the rows, and repair what is not in order.

    What is stored and was never told, or told and is not done, is told again;
    what is done is completed and announced; rows that are missing are written
    from the bucket. It can be run at any time, and while another sweep runs it
    does nothing. The exit code is 1 if something is lost that a sweep can't
    bring back: a row whose object is gone, an archive that was never unpacked.
    With --every, what fails is tried again the next time.

    \b
      dropscribe sweep --dry-run
      dropscribe sweep --every 10min --json
      dropscribe sweep --older-than 0s --again-after 0s   # all that is not done, now
    """  # noqa: D301
    ending = _Ending()
    with _signals(ending), _bar() as show:

        def once() -> SweepReport | None:
            with open_sweeper(
                read_environment(), quiet_log(), Ages(older_than, again_after)
            ) as sweeper:
                return sweeper.sweep(is_dry=dry_run, is_over=lambda: ending.is_asked, progress=show)

        if every is None:
            report = once()
            _print(report, as_json=as_json)
            if report is not None and not report.is_lossless:
                context.exit(1)
            return
        while not ending.is_asked:
            try:
                _print(once(), as_json=as_json)
            except (TransientError, PermanentError) as exc:
                # Whoever is away, or refuses, may not by the next time.
                click.echo(f"Error: {exc}", err=True)
            _rest(every, ending)


def _rest(span: timedelta, ending: _Ending) -> None:
    until = time.monotonic() + span.total_seconds()
    while not ending.is_asked and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _PAUSE))


@contextmanager
def _signals(ending: _Ending) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C end the sweep between two pages."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ending.ask) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _bar() -> Iterator[Callable[[SweepReport], None]]:
    """Show how far it is on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bars:
        task = bars.add_task("sweep", total=None)

        def show(report: SweepReport) -> None:
            words = f"{report.archives:,} archives, {report.objects:,} objects"
            bars.update(task, description=words)

        yield show


def _print(report: SweepReport | None, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json() if report else {"running": True})
    elif report is None:
        click.echo("another sweep is running")
    else:
        Console().print(_shown(report))


def _shown(report: SweepReport) -> RenderableType:
    table = Table(show_edge=False, pad_edge=False, box=None)
    for heading in ("found", "how many", "what was done"):
        table.add_column(heading, overflow="fold")
    for kind in Discrepancy:
        if (tally := report.tallies.get(kind)) is None:
            continue
        nature = REMEDIES[kind]
        deed = f"{nature.deed}: {tally.done}" if nature.is_repaired else nature.deed
        table.add_row(nature.what, str(tally.found), deed)
        for name in tally.names[:_NAMES]:
            table.add_row(Text(f"  {name}"))
        if tally.found > _NAMES:
            table.add_row("  ...")
    summary = Text(_summary(report))
    return Group(table, "", summary) if report.tallies else summary


def _summary(report: SweepReport) -> str:
    queues = ", ".join(f"{name} {depth}" for name, depth in report.depths.items())
    seen = f"{report.archives:,} archives and {report.objects:,} objects were looked at"
    order = "" if report.tallies else "everything is in order; "
    early = " before it was asked to end" if report.ended_early else ""
    dry = "; nothing was changed (--dry-run)" if report.is_dry else ""
    return f"{order}{seen}{early}; in the queues: {queues}{dry}"
