"""``python -m tests.bench``: one command for all benchmarks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from consumers.errors import ConfigurationError, TransientError
from ops.cli.output import print_json
from tests.bench.benchmark import Benchmark, Conditions, DisagreementError, measure
from tests.bench.channels import channels
from tests.bench.completion import completion
from tests.bench.events import events
from tests.bench.latency import latency
from tests.bench.machine import describe_machine, describe_packages
from tests.bench.memory import soak_memory
from tests.bench.policy import policy
from tests.bench.report import BenchmarkReport
from tests.bench.speech import speech_limit, speech_long, speech_short
from tests.bench.sweep import sweep
from tests.bench.unpack import first_object, unpack_limit, unpack_long, unpack_short
from tests.bench.voice import voice
from tests.harness.servers.grounds import ServerError

#: All there are, in the order of ``--list``.
BENCHMARKS: Sequence[Benchmark] = (
    unpack_short,
    unpack_long,
    unpack_limit,
    first_object,
    speech_short,
    speech_long,
    speech_limit,
    voice,
    channels,
    policy,
    events,
    latency,
    soak_memory,
    completion,
    sweep,
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "as_list", is_flag=True, help="List the benchmarks, and exit.")
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Counted rounds after a warm-up; a benchmark may set fewer.",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Size of the input relative to the published figures.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Device for the models.",
)
@click.option(
    "--prompts",
    default="/usr/share/asterisk",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of Asterisk's sounds and moh, for voice and channels.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--markdown", is_flag=True, help="Print sections as RESULTS.md has them.")
def main(
    names: tuple[str, ...],
    rounds: int,
    scale: float,
    device: str,
    prompts: Path,
    *,
    as_list: bool,
    as_json: bool,
    markdown: bool,
) -> None:
    """Measure dropscribe beside its alternatives, on this machine.

    Each benchmark makes its input, runs ours and the others in alternation, checks
    that all did the same work, and prints medians and ratios with their spread. Without
    NAME all run, which takes hours. The others come with `pip install '.[bench]'`,
    servers from Debian's packages.

    \b
      python -m tests.bench --list
      python -m tests.bench unpack-short
      python -m tests.bench unpack-short speech-short --scale 0.1 --json

    Exits with 0 when all was measured, whether or not goals are met.
    """
    if as_list:
        for benchmark in BENCHMARKS:
            click.echo(f"{benchmark.name:16}{benchmark.about}")
        return
    reports = [_reported(each, rounds, scale, device, prompts) for each in _chosen(names)]
    if as_json:
        print_json({"benchmarks": [report.as_json() for report in reports]})
    elif markdown:
        click.echo("\n\n".join(report.as_markdown() for report in reports))
    else:
        console = Console()
        for report in reports:
            console.print(report.for_people())
        console.print(", ".join(f"{k}: {v}" for k, v in describe_machine(device).items()))


def _chosen(names: Sequence[str]) -> Sequence[Benchmark]:
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    for name in names:
        if name not in known:
            raise click.UsageError(f"no benchmark is called {name!r}: {', '.join(known)}")
    return [known[name] for name in names] or BENCHMARKS


def _reported(
    benchmark: Benchmark, rounds: int, scale: float, device: str, prompts: Path
) -> BenchmarkReport:
    begin = time.perf_counter()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            _progress(benchmark.name) as advance,
            benchmark.prepare(Conditions(Path(folder), scale, device, prompts)) as prepared,
        ):
            findings = measure(prepared, rounds, advance)
            packages = describe_packages(prepared.packages)
    except (ConfigurationError, TransientError, DisagreementError, ServerError) as exc:
        raise click.ClickException(f"{benchmark.name}: {exc}") from exc
    return BenchmarkReport(
        benchmark,
        prepared.unit,
        findings,
        scale,
        time.perf_counter() - begin,
        describe_machine(device),
        packages,
    )


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str], None]]:
    """Show the running case on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(f"{name}: prepare", total=None)
        yield lambda case: bars.update(task, description=f"{name}: {case}", advance=1)


if __name__ == "__main__":
    main()
