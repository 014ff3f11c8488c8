"""How commands print and ask: JSON for programs; tables, bars and questions for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table


def print_json(document: Any) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_error(message: object) -> None:
    """Print an error, as click prints its own, and go on."""
    click.echo(f"Error: {message}", err=True)


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_more(limit: int) -> None:
    """Say that a list was cut off."""
    click.echo(f"There are more than these {limit}: see --limit, or choose by --batch.")


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def make_table(*headings: str, no_wrap: tuple[str, ...] = (), is_ruled: bool = True) -> Table:
    """Make a table whose columns fold; a text in it may be markup, so wrap it in `Text`."""
    table = Table(show_edge=False, pad_edge=False)
    if not is_ruled:
        table.box = None
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in no_wrap)
    return table


def confirm(question: Callable[[], str], *, yes: bool) -> None:
    """Ask for confirmation, unless --yes gave it.

    The question goes to standard error, as standard output may be JSON for a program.

    Raises:
        UsageError: Standard input is not a terminal.
        Abort: The answer is no.
    """
    if yes:
        return
    if not _is_terminal():
        raise click.UsageError("standard input is not a terminal, so --yes is required")
    click.confirm(question(), abort=True, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


@contextmanager
def waiting_for(activity: str) -> Iterator[None]:
    """Show a spinner on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(activity):
        yield


@contextmanager
def progress_bars(*columns: ProgressColumn, transient: bool = True) -> Iterator[Progress]:
    """Show progress bars on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=transient
    ) as bars:
        yield bars


@contextmanager
def byte_bars(*columns: ProgressColumn, transient: bool = True) -> Iterator[Progress]:
    """Show progress bars whose totals are bytes."""
    shown = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), *columns)
    with progress_bars(*shown, transient=transient) as bars:
        yield bars
