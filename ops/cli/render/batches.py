"""Batches and their recordings: as JSON, as tables, and while they are in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from consumers.database.rows import Recording
from consumers.documents.note import Note
from ops.cli.batch_progress import BatchProgress
from ops.cli.output import byte_bars, make_table, progress_bars
from ops.cli.render.notes import note_as_text, notes_as_lines
from ops.durations import clock_time

#: The fields of a recording in ``--json``.
_SHOWN = (
    *("path", "state", "flagged", "reason", "verdict_reason", "duration", "language", "text"),
    *("opus_key", "transcript_key", "verdict_key"),
)


def recording_as_json(recording: Recording) -> dict[str, Any]:
    """Return the JSON object of a recording."""
    shown = {name: getattr(recording, name) for name in _SHOWN}
    return {
        "audio_id": str(recording.audio),
        **shown,
        "notes": msgspec.to_builtins(recording.all_notes),
        "tags": recording.tags,
    }


def progress_as_json(progress: BatchProgress) -> dict[str, Any]:
    """Return the JSON object of a batch."""
    row = progress.row
    return {
        "batch_id": str(progress.batch),
        "state": progress.state,
        "original_name": row.original_name if row else None,
        "dropped_at": row.dropped_at.isoformat() if row and row.dropped_at else None,
        "completed_at": row.completed_at.isoformat() if row and row.completed_at else None,
        "reason": (row.failure or row.stalled) if row else None,
        "notes": msgspec.to_builtins(row.notes) if row else [],
        "moderated": row.is_moderated if row else None,
        "archive_kept": row is not None and row.is_kept,
        "flagged": progress.flagged,
        "ready_for_review": row is not None and row.itemised_at is not None,
        "counts": {**progress.counts, "ignored": (row.ignored or 0) if row else 0},
    }


def recordings_table(recordings: Sequence[Recording]) -> Table:
    """Lay out a batch's recordings. Paths and words are shown as they are, never as markup.

    Notes that all transcripts have are shown once, below.
    """
    table = make_table("recording", "state", "duration", "language", "text, or why there is none")
    shared = _shared_notes(recordings)
    if shared:
        lines = [f"note on all transcripts: {note_as_text(note)}" for note in shared]
        table.caption = Text("\n".join(lines), justify="left")
    for recording in recordings:
        text = recording.text or recording.stalled or recording.reason
        notes = [note for note in recording.all_notes if note not in shared]
        lines = [*([text] if text else []), *notes_as_lines(notes)]
        table.add_row(
            Text(recording.path),
            _state(recording),
            "" if recording.duration is None else clock_time(recording.duration),
            recording.language or "",
            Text("\n".join(lines)),
        )
    return table


def _shared_notes(recordings: Sequence[Recording]) -> list[Note]:
    first, *others = [each.all_notes for each in recordings if each.text] or [()]
    shared = [note for note in first if all(note in notes for notes in others)]
    return [note for note in shared if others and not note.is_loss]


def kept_as_text(number: int) -> str:
    """Say how many archives are kept, and what to do."""
    archives = "1 archive is" if number == 1 else f"{number:,} archives are"
    return (
        f"{archives} kept, as something in it is missing from the result: "
        "'dropscribe status BATCH' says what, 'dropscribe release BATCH' lets it expire"
    )


def _state(recording: Recording) -> str:
    if recording.flagged:
        return f"{recording.state}, flagged"
    return recording.verdict_reason or recording.state


@contextmanager
def upload_bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show an upload's progress on standard error; nothing where that is no terminal."""
    with byte_bars(transient=False) as bars:
        task = bars.add_task(f"upload {Text(name).plain}", total=size)
        yield lambda sent: bars.advance(task, sent)


@contextmanager
def batch_bar() -> Iterator[Callable[[BatchProgress], None]]:
    """Show a batch's progress on standard error; nothing where that is no terminal."""
    with progress_bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.fields[of]}"),
        TimeElapsedColumn(),
        transient=False,
    ) as bars:
        unpacked = bars.add_task("unpacked", total=None, of="?")
        done = bars.add_task("done", total=None, of="?")

        def show(progress: BatchProgress) -> None:
            sealed = progress.row is not None and progress.row.sealed_at is not None
            total = progress.found if sealed else None
            of = str(progress.found) if sealed else "?"
            bars.update(unpacked, completed=progress.found, total=total, of=of)
            bars.update(done, completed=progress.finished, total=total, of=of)

        yield show
