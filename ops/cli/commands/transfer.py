"""``dropscribe transfer``: send recordings of other machines."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from consumers.errors import ConfigurationError
from ops.cli.commands.parameters import DURATION
from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.ingest.transfer.report import TransferOutcome, TransferReport
from ops.ingest.transfer.source import SourceError, TransferSource, parse_source, read_source_list
from ops.wiring.adapters import make_store, utc_now
from ops.wiring.environment import Environment
from ops.wiring.settings import StoreSettings, TransferSettings

_SIZE = re.compile(r"(\d{1,15}) ?([kMGT]?)B?", re.ASCII)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class _SourceType(click.ParamType[TransferSource]):
    name = "source"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> TransferSource:
        try:
            return value if isinstance(value, TransferSource) else parse_source(str(value))
        except SourceError as exc:
            self.fail(str(exc), param, ctx)


class _SizeType(click.ParamType[int]):
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = _SIZE.fullmatch(str(value))
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is not a size like 500MB or 4GB", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.command(cls=SettingsCommand, settings=(TransferSettings, StoreSettings))
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", type=_SourceType())
@click.option(
    "--sources",
    "lists",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A list of sources: one on each line, or TOML with sources = [...].",
)
@click.option(
    "--known-hosts",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True),
    help="The host keys to trust, instead of those of ~/.ssh/known_hosts.",
)
@click.option(
    "--settle",
    type=DURATION,
    default=timedelta(seconds=30),
    show_default="30s",
    help="Leave files alone that were changed later than so long ago.",
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
    type=_SizeType(),
    default="4GB",
    show_default=True,
    help="The most bytes of loose files in one archive.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="How many machines to be connected to at a time.",
)
@click.option("--dry-run", is_flag=True, help="Only look what there is to send.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def transfer(
    context: click.Context,
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
    """Send recordings of other machines into the bucket, over SSH.

    SOURCE is an archive, a pattern or a folder: [user@]host:path or
    ssh://[user@]host[:port]/path. Archives are sent as they are; all other
    files are packed, those of a folder with their names in it. Prints the
    batches' ids.

    \b
      dropscribe transfer rec@studio:/srv/archives/*.tar
      dropscribe transfer rec@studio:/srv/recordings/
      dropscribe transfer 'ssh://rec@10.0.0.7:2222/data/**/*.wav' --dry-run
      dropscribe transfer --sources /etc/dropscribe/transfer/studio.sources

    Run it as often as you like: no file is sent twice, and what was
    interrupted is gone on with. While another run works in the same
    TRANSFER_ROOT it does nothing. A file is staged there, compared with its
    SHA-256 on its own machine, and removed when the store has confirmed it.

    Host keys are always checked. The exit code is 0 if all was sent, or there
    was nothing to send, and 1 if something failed: it stays for the next run.
    """  # noqa: D301
    if not sources and not lists:
        raise click.UsageError("there is no SOURCE, and no --sources FILE")
    try:
        listed = [source for path in lists for source in read_source_list(path)]
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from exc
    _require_asyncssh()
    environment = read_environment()
    settings = TransferSettings.read(environment)
    if known_hosts is not None:
        settings = settings.model_copy(update={"known_hosts": known_hosts})
    report = _run(
        environment,
        settings,
        (*sources, *listed),
        {
            "settle": settle.total_seconds(),
            "packing": (pack_files, pack_bytes),
            "connections": connections,
            "is_dry": dry_run,
        },
    )
    if report is None:
        _say_running(settings, as_json=as_json)
        return
    _print(report, as_json=as_json)
    if not report.is_success:
        context.exit(1)


def _require_asyncssh() -> None:
    if importlib.util.find_spec("asyncssh") is None:
        raise ConfigurationError(
            "asyncssh is not installed: install dropscribe with its extra 'transfer' "
            "(pip install '.[transfer]' in its folder)"
        )


def _run(
    environment: Environment,
    settings: TransferSettings,
    sources: tuple[TransferSource, ...],
    options: dict[str, Any],
) -> TransferReport | None:
    """Make a run; None if there is one in the same folder."""
    # Only here, as they need a package that the help does without.
    from ops.ingest.transfer.bars import transfer_bars  # noqa: PLC0415
    from ops.ingest.transfer.ledger import Ledger  # noqa: PLC0415
    from ops.ingest.transfer.login import Login  # noqa: PLC0415
    from ops.ingest.transfer.plan import PackLimits  # noqa: PLC0415
    from ops.ingest.transfer.remote import Attempts  # noqa: PLC0415
    from ops.ingest.transfer.run import Transfer, TransferOptions  # noqa: PLC0415
    from ops.ingest.transfer.staging import StagingFolder  # noqa: PLC0415

    staging = StagingFolder(settings.root, settings.reserve)
    files, size = options.pop("packing")
    rules = TransferOptions(
        packing=PackLimits(files, size), attempts=Attempts(settings.attempts), **options
    )
    with staging.alone() as is_alone:
        if not is_alone:
            return None
        with Ledger(staging.ledger) as ledger, transfer_bars() as watch:
            login = Login(settings.key, settings.known_hosts, settings.config, settings.timeout)
            run = Transfer(
                ledger=ledger,
                staging=staging,
                store=make_store(environment),
                login=login,
                rules=rules,
                clock=utc_now,
                watch=watch,
            )
            return asyncio.run(run.run(sources))


def _say_running(settings: TransferSettings, *, as_json: bool) -> None:
    if as_json:
        print_json({"running": True})
    else:
        click.echo(f"another transfer is running in {settings.root}")


def _print(report: TransferReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
    else:
        for entry in report.entries:
            if entry.outcome is not TransferOutcome.FAILED:
                click.echo(str(entry))
        if not report.entries:
            click.echo(f"nothing to send; {report.known} files are known")
        for note in report.notes:
            click.echo(note, err=True)
    for entry in report.entries:
        if entry.outcome is TransferOutcome.FAILED:
            click.echo(f"Error: {entry}", err=True)
    for error in report.errors:
        click.echo(f"Error: {error}", err=True)
