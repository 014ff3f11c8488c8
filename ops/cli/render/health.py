"""Results of health checks: for people, and as a line for monitoring systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.cli.output import make_table, printable
from ops.observe.health.check import Check
from ops.observe.health.result import CheckResult, Level, worst

_STYLES = {
    Level.OK: "green",
    Level.WARNING: "yellow",
    Level.CRITICAL: "bold red",
    Level.UNKNOWN: "magenta",
    Level.SKIPPED: "dim",
}

#: Figures by batch id: in a monitoring system each would become a series of its own.
_BY_BATCH = frozenset({"stuck_batches", "stalled_batches"})


def overall(results: Sequence[CheckResult]) -> Level:
    """Return the worst level; unknown if all checks were skipped."""
    return worst(result.level for result in results)


def results_table(results: Sequence[CheckResult]) -> RenderableType:
    """Lay out results, each with the advice below it."""
    headings = ("check", "level", "finding and remedy")
    table = make_table(*headings, no_wrap=("check", "level"), is_ruled=False)
    for result in results:
        style = _STYLES[result.level]
        words = Text(printable(result.what))
        if result.what_to_do:
            words.append("\n-> " + printable(result.what_to_do), style="bold")
        table.add_row(result.check, Text(result.level.value, style=style), words)
    level = overall(results)
    return Group(table, "", Text(f"overall: {level.value}", style=_STYLES[level]))


def checks_table(checks: Sequence[Check]) -> Table:
    """Lay out the checks, and what each needs."""
    headings = ("check", "looks at", "needs", "skipped unless one is set")
    table = make_table(*headings, no_wrap=("check",), is_ruled=False)
    for check in checks:
        table.add_row(check.name, check.about, check.needs, ", ".join(check.settings))
    return table


def plugin_line(results: Sequence[CheckResult]) -> str:
    """Write the line of a monitoring plugin: level, problems, and figures.

    Source: Monitoring Plugins' development guidelines, "Plugin Output for Nagios".
    """
    level = overall(results)
    wrong = [
        f"{result.check}: {result.what}"
        for result in results
        if result.level not in {Level.OK, Level.SKIPPED}
    ]
    looked = sum(result.level is not Level.SKIPPED for result in results)
    figures = " ".join(
        f"'{name}'={_decimal(value)}"
        for result in results
        for name, value in _numbers(result.check, result.figures)
    )
    line = plugin_words(level, "; ".join(wrong) or f"{looked} checks")
    return line + (f" | {figures}" if figures else "")


def plugin_words(level: Level, words: str) -> str:
    """Write a monitoring plugin's line without figures."""
    # In a plugin's output, a bar begins the figures.
    return f"DROPSCRIBE {level.value.upper()} - " + printable(words).replace("|", "/")


def _decimal(value: float) -> str:
    """Write a number as the guidelines require: digits and a point, without exponent."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.6f}".rstrip("0").rstrip(".") if isfinite(value) else "U"


def _numbers(name: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Return all numbers, each named by its path."""
    for part, value in figures.items():
        if part in _BY_BATCH:
            continue
        here = f"{name}_{part}"
        if isinstance(value, Mapping):
            yield from _numbers(here, value)
        elif isinstance(value, bool):
            yield here, int(value)
        elif isinstance(value, int | float):
            yield here, value
