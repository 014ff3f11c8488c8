"""``dropscribe sweep``: find work that was lost on the way, and resume it."""

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
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from consumers.database.sweep import DEFAULT_AGES, Ages
from consumers.errors import PermanentError, TransientError
from ops.cli.options import DURATION
from ops.cli.output import counted, make_table, print_error, print_json, progress_bars
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.sweep.report import Discrepancy, SweepReport
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_sweeper
from ops.wiring.settings import SERVER_SETTINGS, ScratchSettings

#: The most names to show of each kind.
_NAMES = 5

#: Seconds between two checks whether to stop.
_PAUSE = 0.5


@dataclass(slots=True)
class _StopFlag:
    """Whether a signal asked the sweep to stop; set by the handler, so without a lock."""

    is_asked: bool = False

    def ask(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.is_asked = True


@click.command(cls=SettingsCommand, settings=(*SERVER_SETTINGS, ScratchSettings))
@click.option("--every", type=DURATION, help="Repeat the sweep with this pause, until SIGTERM.")
@click.option(
    "--older-than",
    type=DURATION,
    default=DEFAULT_AGES.older_than,
    show_default="15min",
    help="Skip objects younger than this: they may be in progress.",
)
@click.option(
    "--again-after",
    type=DURATION,
    default=DEFAULT_AGES.again_after,
    show_default="6h",
    help="Minimum time before an event is resent again.",
)
@click.option("--dry-run", is_flag=True, help="Report what is wrong, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (for each sweep).")
def sweep(
    every: timedelta | None,
    older_than: timedelta,
    again_after: timedelta,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find and resume lost work.

    Compares the bucket with the database, and repairs what differs, so that a lost
    event loses no work. It resends the event of each object that no consumer has
    finished, completes batches that are done, and recreates missing rows from the
    bucket. It is safe to run at any time; while one sweep runs, another does nothing.

    The exit code is 1 if something is lost that a sweep cannot restore, such as a
    row whose object is gone. With --every, failures are tried again the next time.

    \b
    Examples:
      dropscribe sweep --dry-run
      dropscribe sweep --every 10min --json
      dropscribe sweep --older-than 0s --again-after 0s   # everything unfinished, now
    """  # noqa: D301
    stop = _StopFlag()
    with _signals(stop), _bar() as show:

        def once() -> SweepReport | None:
            with open_sweeper(
                read_environment(), quiet_log(), Ages(older_than, again_after)
            ) as sweeper:
                return sweeper.sweep(is_dry=dry_run, is_over=lambda: stop.is_asked, progress=show)

        if every is None:
            report = once()
            _print(report, as_json=as_json)
            if report is not None and not report.is_lossless:
                raise click.exceptions.Exit(1)
            return
        while not stop.is_asked:
            try:
                _print(once(), as_json=as_json)
            except (TransientError, PermanentError) as exc:
                # A server that is unreachable may be back by the next sweep.
                print_error(exc)
            _rest(every, stop)


def _rest(span: timedelta, stop: _StopFlag) -> None:
    until = time.monotonic() + span.total_seconds()
    while not stop.is_asked and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _PAUSE))


@contextmanager
def _signals(stop: _StopFlag) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C stop the sweep at the end of a page."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop.ask) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _bar() -> Iterator[Callable[[SweepReport], None]]:
    """Show how far the sweep is on standard error; nothing where that is no terminal."""
    with progress_bars(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    ) as bars:
        task = bars.add_task("sweep", total=None)

        def show(report: SweepReport) -> None:
            counts = f"{report.archives:,} archives, {report.objects:,} objects"
            bars.update(task, description=counts)

        yield show


def _print(report: SweepReport | None, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json() if report else {"running": True})
    elif report is None:
        click.echo("another sweep is running")
    else:
        Console().print(_shown(report))


def _shown(report: SweepReport) -> RenderableType:
    table = make_table("discrepancy", "count", "action", is_ruled=False)
    for kind in Discrepancy:
        if (tally := report.tallies.get(kind)) is None:
            continue
        deed = f"{kind.deed}: {tally.done}" if kind.is_repaired else kind.deed
        table.add_row(kind.what, str(tally.found), deed)
        for name in tally.names[:_NAMES]:
            table.add_row(Text(f"  {name}"))
        if tally.found > _NAMES:
            table.add_row("  ...")
    summary = Text(_summary(report))
    return Group(table, "", summary) if report.tallies else summary


def _summary(report: SweepReport) -> str:
    queues = ", ".join(f"{name} {depth}" for name, depth in report.depths.items())
    archives, objects = counted(report.archives, "archive"), counted(report.objects, "object")
    seen = f"checked {archives} and {objects}"
    order = "" if report.tallies else "everything is in order; "
    early = " before the sweep was stopped" if report.ended_early else ""
    dry = "; nothing was changed (--dry-run)" if report.is_dry else ""
    return f"{order}{seen}{early}; in the queues: {queues}{dry}"
