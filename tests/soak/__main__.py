"""``python -m tests.soak``: find out whether faults lose or double anything."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import Progress

from consumers.errors import ConfigurationError, TransientError
from ops.cli.output import print_json
from ops.wiring.log import quiet_log
from tests.harness.servers.grounds import ServerError
from tests.soak.run import Scale, Show, soak


@click.command()
@click.option("--batches", default=100, show_default=True, help="How many archives to drop.")
@click.option(
    "--minutes", default=10.0, show_default=True, help="How long to drop them and to inject faults."
)
@click.option("--faults", default=500, show_default=True, help="How many faults to inject.")
@click.option("--recordings", default=8, show_default=True, help="The most per archive.")
@click.option("--seed", type=int, help="Seed that reproduces a run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    batches: int, minutes: float, faults: int, recordings: int, seed: int | None, *, as_json: bool
) -> None:
    """Run real servers and consumers, drop archives, and inject faults meanwhile.

    Starts RabbitMQ, a Ceph gateway and PostgreSQL of its own, from Debian's
    packages, and several consumers, which transcribe and judge without models.
    When the time is up, the remaining work is finished as an operator
    would (sweep, dead replay), and bucket, rows, queues and scratch are
    compared with the dropped archives.

    Exits with 0 if nothing is lost, doubled, unfinished or left over, else 1.

    \b
      python -m tests.soak --batches 100 --minutes 10
      python -m tests.soak --batches 20 --minutes 2 --seed 7 --json
    """
    seed = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {seed}", err=True)
    scale = Scale(batches, minutes * 60, faults, recordings)
    try:
        with _bars(scale) as show:
            report = soak(scale, seed, show, quiet_log())
    except (ConfigurationError, TransientError, ServerError) as exc:
        raise click.ClickException(str(exc)) from exc
    if as_json:
        print_json(report.as_json())
    else:
        Console().print(report.for_people())
    sys.exit(0 if report.is_clean else 1)


@contextmanager
def _bars(scale: Scale) -> Iterator[Show]:
    """Show the progress on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        archives = bars.add_task("archives dropped", total=scale.batches)
        faults = bars.add_task("faults injected", total=scale.faults)

        def show(dropped: int, injected: int) -> None:
            bars.update(archives, completed=dropped)
            bars.update(faults, completed=injected)

        yield show


if __name__ == "__main__":
    main()
