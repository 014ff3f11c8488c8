"""Findings for people, and as a line for monitoring systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.cli.render.dead_letters import printable
from ops.observe.health.check import Check
from ops.observe.health.result import CheckResult, Level, worst

_STYLES = {
    Level.OK: "green",
    Level.WARNING: "yellow",
    Level.CRITICAL: "bold red",
    Level.UNKNOWN: "magenta",
    Level.SKIPPED: "dim",
}

#: Figures by a batch's id: each would be a series of its own, for ever.
_BY_BATCH = frozenset({"stuck_batches", "stalled_batches"})


def overall(findings: Sequence[CheckResult]) -> Level:
    """Tell the worst of findings; where all were skipped, nothing is known."""
    return worst(finding.level for finding in findings)


def findings_table(findings: Sequence[CheckResult]) -> RenderableType:
    """Lay findings out; what is to be done stands below what was found."""
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("check", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("what, and what to do", overflow="fold")
    for finding in findings:
        style = _STYLES[finding.level]
        words = Text(printable(finding.what))
        if finding.what_to_do:
            words.append("\n-> " + printable(finding.what_to_do), style="bold")
        table.add_row(finding.check, Text(finding.level.value, style=style), words)
    level = overall(findings)
    return Group(table, "", Text(f"altogether: {level.value}", style=_STYLES[level]))


def checks_table(checks: Sequence[Check]) -> Table:
    """Lay out which checks there are, and what each needs."""
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("check", no_wrap=True)
    for heading in ("looks at", "needs", "only where one is set"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        table.add_row(check.name, check.about, check.needs, ", ".join(check.settings))
    return table


def plugin_line(findings: Sequence[CheckResult]) -> str:
    """Write what a monitoring plugin prints: the state, what is wrong, and the figures.

    See Monitoring Plugins' development guidelines, "Plugin Output for Nagios".
    """
    level = overall(findings)
    wrong = [
        f"{finding.check}: {finding.what}"
        for finding in findings
        if finding.level not in {Level.OK, Level.SKIPPED}
    ]
    looked = sum(finding.level is not Level.SKIPPED for finding in findings)
    figures = " ".join(
        f"'{name}'={_decimal(value)}"
        for finding in findings
        for name, value in _numbers(finding.check, finding.figures)
    )
    line = plugin_words(level, "; ".join(wrong) or f"{looked} checks")
    return line + (f" | {figures}" if figures else "")


def plugin_words(level: Level, words: str) -> str:
    """Write a monitoring plugin's line without figures."""
    # A bar begins the figures, and a new line ends the first.
    return f"DROPSCRIBE {level.value.upper()} - " + printable(words).replace("|", "/")


def _decimal(value: float) -> str:
    """Write a number as the guidelines have it: digits and a point, no exponent."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.6f}".rstrip("0").rstrip(".") if isfinite(value) else "U"


def _numbers(name: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Give all numbers, by the names that lead to them, of which there are ever the same."""
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
