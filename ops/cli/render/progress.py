"""What commands print: JSON for programs, tables and progress for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from consumers.database.rows import Recording
from ops.cli.batch_progress import BatchProgress


def print_json(document: Any) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def recording_as_json(recording: Recording) -> dict[str, Any]:
    """Give what ``--json`` says of a recording."""
    return {
        "audio_id": str(recording.audio),
        "path": recording.path,
        "state": recording.state,
        "flagged": recording.flagged,
        "reason": recording.reason,
        "verdict_reason": recording.verdict_reason,
        "duration": recording.duration,
        "language": recording.language,
        "text": recording.text,
        "opus_key": recording.opus_key,
        "transcript_key": recording.transcript_key,
        "verdict_key": recording.verdict_key,
    }


def progress_as_json(progress: BatchProgress) -> dict[str, Any]:
    """Give what ``--json`` says of a batch."""
    row = progress.row
    return {
        "batch_id": str(progress.batch),
        "state": progress.state,
        "original_name": row.original_name if row else None,
        "dropped_at": row.dropped_at.isoformat() if row and row.dropped_at else None,
        "completed_at": row.completed_at.isoformat() if row and row.completed_at else None,
        "reason": (row.failure or row.stalled) if row else None,
        "moderated": row.is_moderated if row else None,
        "flagged": progress.flagged,
        "ready_for_review": row is not None and row.itemised_at is not None,
        "counts": {**progress.counts, "ignored": (row.ignored or 0) if row else 0},
    }


def recordings_table(recordings: Sequence[Recording]) -> Table:
    """Lay out a batch's recordings; names and words are shown as they are, never as markup."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("recording", "state", "duration", "language", "text, or why there is none"):
        table.add_column(heading, overflow="fold")
    for recording in recordings:
        table.add_row(
            Text(recording.path),
            _state(recording),
            duration(recording.duration),
            recording.language or "",
            Text(recording.text or recording.stalled or recording.reason or ""),
        )
    return table


def _state(recording: Recording) -> str:
    if recording.flagged:
        return f"{recording.state}, flagged"
    return recording.verdict_reason or recording.state


def duration(seconds: float | None) -> str:
    """Write a duration as ``h:mm:ss`` or ``m:ss``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(span: timedelta) -> str:
    """Write an age in its largest unit."""
    seconds = max(0, round(span.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@contextmanager
def upload_bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show an upload's progress on standard error; nothing where that is no terminal."""
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        disable=not Console(stderr=True).is_terminal,
    )
    with bars:
        task = bars.add_task(f"upload {Text(name).plain}", total=size)
        yield lambda sent: bars.advance(task, sent)


@contextmanager
def batch_bar() -> Iterator[Callable[[BatchProgress], None]]:
    """Show a batch's progress on standard error; nothing where that is no terminal."""
    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.fields[of]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not Console(stderr=True).is_terminal,
    )
    with bars:
        unpacked = bars.add_task("unpacked", total=None, of="?")
        done = bars.add_task("done", total=None, of="?")

        def show(progress: BatchProgress) -> None:
            sealed = progress.row is not None and progress.row.sealed_at is not None
            total = progress.found if sealed else None
            of = str(progress.found) if sealed else "?"
            bars.update(unpacked, completed=progress.found, total=total, of=of)
            bars.update(done, completed=progress.finished, total=total, of=of)

        yield show


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Show that something is awaited; nothing where standard error is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
