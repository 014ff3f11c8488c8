"""``dropscribe health``: find what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from consumers.errors import ConfigurationError, PermanentError, TransientError
from ops.cli.options import NEW_FILE, as_json_option
from ops.cli.output import byte_bars, print_json
from ops.cli.render.health import checks_table, overall, plugin_line, plugin_words, results_table
from ops.cli.settings import SettingsCommand, read_environment
from ops.observe.health.check import run_checks
from ops.observe.health.checks import CHECKS
from ops.observe.health.context import ProgressBar, open_context
from ops.observe.health.result import CheckResult, Level
from ops.observe.health.textfile import write_textfile
from ops.wiring.adapters import utc_now
from ops.wiring.settings import (
    SERVER_SETTINGS,
    BootstrapSettings,
    HealthSettings,
    ModerationSettings,
    ScratchSettings,
    SpeechSettings,
)

_NAMES = [check.name for check in CHECKS]


class _Plugin(SettingsCommand):
    """Exits with "unknown", as a monitoring plugin has to, if it cannot start."""

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
        raise _unknown_error(exc.format_message(), exc.ctx, is_plugin=is_plugin) from exc
    except (ConfigurationError, PermanentError, TransientError) as exc:
        raise _unknown_error(str(exc), is_plugin=is_plugin) from exc


def _unknown_error(
    words: str, context: click.Context | None = None, *, is_plugin: bool
) -> click.UsageError:
    if is_plugin:
        click.echo(plugin_words(Level.UNKNOWN, words))
    return _UnknownError(words, context)


class _UnknownError(click.UsageError):
    exit_code = Level.UNKNOWN.code


@click.command(
    cls=_Plugin,
    settings=(
        HealthSettings,
        *SERVER_SETTINGS,
        BootstrapSettings,
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
    help="Run only this check; can be given several times.",
)
@click.option(
    "--list", "as_list", is_flag=True, help="List the checks and what each needs, and exit."
)
@click.option(
    "--full", "is_full", is_flag=True, help="Read all model files, and compare their SHA-256."
)
@as_json_option
@click.option(
    "--plugin", "as_plugin", is_flag=True, help="Print one line for Nagios and similar systems."
)
@click.option(
    "--textfile",
    type=NEW_FILE,
    metavar="PATH",
    help="Write figures for Prometheus to a file, and exit with 0.",
)
@click.option(
    "--look",
    default="site",
    show_default=True,
    metavar="NAME",
    help="Value of the `look` label; use another for each file of a host.",
)
def health(
    names: tuple[str, ...],
    textfile: Path | None,
    look: str,
    *,
    as_list: bool,
    is_full: bool,
    as_json: bool,
    as_plugin: bool,
) -> None:
    """Find out what is wrong, and what to do about it.

    Checks the whole deployment. The checks change nothing and take seconds: they run
    at the same time, each for at most HEALTH_TIMEOUT. A check whose settings are not
    set on this host is skipped, so the same command fits a GPU host and a host that
    reaches the servers.

    \b
    Examples:
      dropscribe health
      dropscribe health --check queues --check batches
      dropscribe health --check models --full
      dropscribe health --plugin
      dropscribe health --textfile /var/lib/prometheus/node-exporter/dropscribe.prom

    \b
    The exit code is that of the worst check, as monitoring plugins define it:
      0 ok   1 warning   2 critical   3 unknown (or nothing was checked, or
                                        a setting or an option is invalid)

    \b
    Least privilege (--list shows it for each check):
      PostgreSQL    a user in dropscribe_read
      store         list the bucket; read its rules, or they are unknown
      broker        log in
      rabbitmqctl   for RabbitMQ's bindings and consumer_timeout: as root on its
                    host, or by HEALTH_RABBITMQCTL='sudo -n rabbitmqctl'
    """  # noqa: D301
    if as_json and as_plugin:
        raise click.UsageError("--json and --plugin contradict each other: choose one")
    checks = [check for check in CHECKS if not names or check.name in names]
    if as_list:
        Console().print(checks_table(checks))
        return
    with _bar() as bar, open_context(read_environment(), is_full=is_full, bar=bar) as site:
        results = run_checks(checks, site)
    if textfile is not None:
        write_textfile(textfile, results, utc_now(), look)
    _print(results, as_json=as_json, as_plugin=as_plugin, is_quiet=textfile is not None)
    if textfile is None:
        raise click.exceptions.Exit(overall(results).code)


def _print(
    results: Sequence[CheckResult], *, as_json: bool, as_plugin: bool, is_quiet: bool
) -> None:
    if as_json:
        level = overall(results)
        rows = [asdict(result) for result in results]
        print_json({"level": level.value, "exit_code": level.code, "findings": rows})
    elif as_plugin:
        click.echo(plugin_line(results))
    elif not is_quiet:
        Console().print(results_table(results))


@contextmanager
def _bar() -> Iterator[ProgressBar]:
    """Show how many bytes of the models are read; nothing where that is no terminal."""
    with byte_bars() as bars:
        task = bars.add_task("reading the models", total=None, visible=False)
        yield ProgressBar(
            start=lambda size: bars.update(task, total=size, visible=True),
            advance=lambda size: bars.advance(task, size),
        )
