"""``dropscribe transfer``: send recordings of other machines."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import click
from rich.markup import escape
from rich.progress import TransferSpeedColumn

from consumers.errors import ConfigurationError, install_hint
from ops.cli.options import DURATION, FILE, ParsedType, as_json_option
from ops.cli.output import byte_bars, counted, print_error, print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.ingest.transfer.report import TransferOutcome, TransferReport
from ops.ingest.transfer.source import TransferSource, parse_source, read_source_list
from ops.ingest.transfer.staging import open_staging
from ops.wiring.adapters import make_store, utc_now
from ops.wiring.settings import StoreSettings, TransferSettings

# pydantic's ByteSize ignores text after the unit: it would take "4GB x".
_SIZE = re.compile(r"(\d{1,15}) ?([kMGT]?)B?", re.ASCII)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is not a size like 500MB or 4GB")
    return int(match[1]) * _UNITS[match[2]]


@click.command(cls=SettingsCommand, settings=(TransferSettings, StoreSettings))
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", type=ParsedType("source", parse_source))
@click.option(
    "--sources",
    "lists",
    multiple=True,
    metavar="FILE",
    type=FILE,
    help="Read sources from a file: one per line, or TOML with sources = [...].",
)
@click.option(
    "--known-hosts",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True),
    help="The host keys to trust; default: those of ~/.ssh/known_hosts.",
)
@click.option(
    "--settle",
    type=DURATION,
    default=timedelta(seconds=30),
    show_default="30s",
    help="Skip files that were modified within this period.",
)
@click.option(
    "--pack-files",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="The most loose files in one archive.",
)
@click.option(
    "--pack-bytes",
    type=ParsedType("size", _parse_size),
    default="4GB",
    show_default=True,
    help="The most bytes of loose files in one archive.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="The most machines to connect to at the same time.",
)
@click.option("--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
@as_json_option
def transfer(
    sources: tuple[TransferSource, ...],
    lists: tuple[Path, ...],
    known_hosts: Path | None,
    settle: timedelta,
    pack_files: int,
    pack_bytes: int,
    connections: int,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Upload recordings from other machines, over SSH.

    A SOURCE is an archive, a pattern or a folder on another machine, written as
    [user@]host:path or ssh://[user@]host[:port]/path. Archives are sent as they
    are. Other files are packed folder by folder, and keep their names. The
    command prints the ids of the new batches.

    Run it as often as you like, or from a timer: no file is sent twice, interrupted
    transfers resume, and a second run in the same TRANSFER_ROOT does nothing. Each
    file is staged there, compared with its SHA-256 on its own machine, and removed
    once the store has confirmed the upload. Host keys are always checked.

    The exit code is 1 if anything failed; the next run tries it again.

    \b
    Examples:
      dropscribe transfer rec@studio:/srv/archives/*.tar
      dropscribe transfer rec@studio:/srv/recordings/
      dropscribe transfer 'ssh://rec@10.0.0.7:2222/data/**/*.wav' --dry-run
      dropscribe transfer --sources /etc/dropscribe/transfer/studio.sources
    """  # noqa: D301
    if not sources and not lists:
        raise click.UsageError("a SOURCE or --sources FILE is required")
    try:
        listed = [source for path in lists for source in read_source_list(path)]
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from exc
    _require_asyncssh()
    # Imported here, as they need asyncssh, which --help does without.
    from ops.ingest.transfer.login import Login  # noqa: PLC0415
    from ops.ingest.transfer.plan import TransferOptions  # noqa: PLC0415
    from ops.ingest.transfer.run import Transfer  # noqa: PLC0415

    environment = read_environment()
    settings = TransferSettings.read(environment)
    login = Login(
        settings.key,
        known_hosts or settings.known_hosts,
        settings.config,
        timeout=settings.timeout,
        attempts=settings.attempts,
    )
    options = TransferOptions(
        settle=settle.total_seconds(),
        pack_files=pack_files,
        pack_bytes=pack_bytes,
        connections=connections,
        is_dry=dry_run,
    )
    store = make_store(environment)
    report = None
    with open_staging(settings.root, settings.reserve) as staging, _bars() as show_progress:
        if staging is not None:
            run = Transfer(
                staging=staging,
                login=login,
                store=store,
                options=options,
                clock=utc_now,
                show_progress=show_progress,
            )
            report = asyncio.run(run.run((*sources, *listed)))
    if report is not None:
        _print(report, as_json=as_json)
        if not report.is_success:
            raise click.exceptions.Exit(1)
    elif as_json:
        print_json({"running": True})
    else:
        click.echo(f"another transfer is running in {settings.root}")


def _require_asyncssh() -> None:
    if importlib.util.find_spec("asyncssh") is None:
        raise ConfigurationError(f"asyncssh is not installed: {install_hint('transfer')}")


@contextmanager
def _bars() -> Iterator[Callable[[str, int], AbstractContextManager[Callable[[int], None]]]]:
    """Show a bar for each file that is on its way."""
    with byte_bars(TransferSpeedColumn()) as bars:

        @contextmanager
        def show(title: str, size: int) -> Iterator[Callable[[int], None]]:
            task = bars.add_task(escape(title), total=size)
            try:
                yield lambda done: bars.advance(task, done)
            finally:
                bars.remove_task(task)

        yield show


def _print(report: TransferReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
    else:
        for entry in report.entries:
            if entry.outcome is not TransferOutcome.FAILED:
                click.echo(str(entry))
        if not report.entries:
            verb = "is" if report.known == 1 else "are"
            known = f"{counted(report.known, 'file')} {verb} already in the ledger"
            click.echo(f"nothing to send; {known}")
        for note in report.notes:
            click.echo(note, err=True)
    for entry in report.entries:
        if entry.outcome is TransferOutcome.FAILED:
            print_error(entry)
    for error in report.errors:
        print_error(error)
