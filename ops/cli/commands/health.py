"""``dropscribe health``: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from consumers.errors import ConfigurationError, PermanentError, TransientError
from ops.cli.render.health import checks_table, findings_table, overall, plugin_line, plugin_words
from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.observe.health.checks import CHECKS
from ops.observe.health.context import ProgressBar, open_context
from ops.observe.health.result import CheckResult, Level
from ops.observe.health.running import run_checks
from ops.observe.health.textfile import write_textfile
from ops.wiring.adapters import utc_now
from ops.wiring.settings import (
    BootstrapSettings,
    BrokerSettings,
    DatabaseSettings,
    HealthSettings,
    LoopSettings,
    ModerationSettings,
    ScratchSettings,
    SpeechSettings,
    StoreSettings,
)

_NAMES = [check.name for check in CHECKS]


class _Plugin(SettingsCommand):
    """Ends as a monitoring plugin does, too, where it can't begin: that is unknown."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with _unknown(is_plugin="--plugin" in args):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _unknown(is_plugin=ctx.params["as_plugin"]):
            return super().invoke(ctx)


@contextmanager
def _unknown(*, is_plugin: bool) -> Iterator[None]:
    try:
        yield
    except click.UsageError as exc:
        _say_unknown(exc.format_message(), is_plugin=is_plugin)
        raise _UnknownUseError(exc.format_message(), exc.ctx) from exc
    except (ConfigurationError, PermanentError, TransientError) as exc:
        _say_unknown(str(exc), is_plugin=is_plugin)
        raise _UnknownError(str(exc)) from exc


def _say_unknown(words: str, *, is_plugin: bool) -> None:
    if is_plugin:
        click.echo(plugin_words(Level.UNKNOWN, words))


class _UnknownError(click.ClickException):
    exit_code = Level.UNKNOWN.code


class _UnknownUseError(click.UsageError):
    exit_code = Level.UNKNOWN.code


@click.command(
    cls=_Plugin,
    settings=(
        HealthSettings,
        StoreSettings,
        BootstrapSettings,
        BrokerSettings,
        DatabaseSettings,
        LoopSettings,
        ScratchSettings,
        SpeechSettings,
        ModerationSettings,
    ),
)
@click.option(
    "--check",
    "names",
    multiple=True,
    type=click.Choice(_NAMES),
    metavar="NAME",
    help="Only this check; can be given more than once.",
)
@click.option("--list", "as_list", is_flag=True, help="Show which checks there are, and end.")
@click.option("--full", "is_full", is_flag=True, help="Read models to their end, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--plugin", "as_plugin", is_flag=True, help="Print one line for Nagios and its kin.")
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Write figures for Prometheus to a file; then the exit code is 0.",
)
@click.option(
    "--look",
    default="site",
    show_default=True,
    metavar="NAME",
    help="The figures' label look, where more than one look at a host writes them.",
)
@click.pass_context
def health(
    context: click.Context,
    names: tuple[str, ...],
    textfile: Path | None,
    look: str,
    *,
    as_list: bool,
    is_full: bool,
    as_json: bool,
    as_plugin: bool,
) -> None:
    """Look at everything, and say what is wrong and what to do about it.

    It changes nothing, and takes some seconds: checks run side by side, each no
    longer than HEALTH_TIMEOUT. A check whose settings are not set on this host is
    skipped, so the same command does on a host with a GPU (its volume, its models)
    and on one that sees the servers.

    \b
      dropscribe health
      dropscribe health --check queues --check batches
      dropscribe health --check models --full     # read each file, compare its SHA-256
      dropscribe health --plugin                  # for Nagios, Icinga, Zabbix
      dropscribe health --textfile /var/lib/prometheus/node-exporter/dropscribe.prom

    \b
    The exit code is that of monitoring plugins, of the worst check:
      0 ok   1 warning   2 critical   3 unknown (or nothing was looked at,
                                        or a setting or an option can't be)

    \b
    Least privilege (--list says it for each check):
      PostgreSQL    a user in dropscribe_read
      store         to list the bucket; to read its rules, or they are unknown
      broker        to log in, no more
      rabbitmqctl   tells RabbitMQ's bindings and consumer_timeout: as root on its
                    host, or by HEALTH_RABBITMQCTL='sudo -n rabbitmqctl'
    """  # noqa: D301
    if as_json and as_plugin:
        raise click.UsageError("--json and --plugin contradict each other: choose one")
    checks = [check for check in CHECKS if not names or check.name in names]
    if as_list:
        Console().print(checks_table(checks))
        return
    with (
        _bar() as bar,
        open_context(read_environment(), is_full=is_full, bar=bar) as site,
    ):
        findings = run_checks(checks, site)
    if textfile is not None:
        write_textfile(textfile, findings, utc_now(), look)
    _print(findings, as_json=as_json, as_plugin=as_plugin, is_quiet=textfile is not None)
    if textfile is None:
        context.exit(overall(findings).code)


def _print(
    findings: Sequence[CheckResult], *, as_json: bool, as_plugin: bool, is_quiet: bool
) -> None:
    if as_json:
        level = overall(findings)
        rows = [finding.to_json() for finding in findings]
        print_json({"level": level.value, "exit_code": level.code, "findings": rows})
    elif as_plugin:
        click.echo(plugin_line(findings))
    elif not is_quiet:
        Console().print(findings_table(findings))


@contextmanager
def _bar() -> Iterator[ProgressBar]:
    """Show how much of the models is read; nothing where standard error is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bars:
        task = bars.add_task("reading the models", total=None, visible=False)
        yield ProgressBar(
            start=lambda size: bars.update(task, total=size, visible=True),
            advance=lambda size: bars.advance(task, size),
        )
