"""Notes and tags, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumers.documents.note import Note
from ops.cli.output import printable
from ops.durations import clock_time_to_tenths

#: Notes and tags shown in a cell of a table; the rest is counted.
_MOST = 5


def note_as_text(note: Note) -> str:
    """Write a note with its times, such as ``0:00:04.7 to 0:00:11.0: ...``."""
    text = printable(note.text)
    if note.start is None:
        return text
    times = clock_time_to_tenths(note.start)
    if note.end is not None:
        times += f" to {clock_time_to_tenths(note.end)}"
    return f"{times}: {text}"


def notes_as_lines(notes: Sequence[Note]) -> list[str]:
    """Write a line for each of the first notes, those about missing sound before others."""
    shown = sorted(notes, key=lambda note: not note.is_loss)
    lines = [
        f"{'missing' if note.is_loss else 'note'}: {note_as_text(note)}" for note in shown[:_MOST]
    ]
    return lines + ([f"and {len(notes) - _MOST} more notes"] if len(notes) > _MOST else [])


def tags_as_text(tags: Mapping[str, str]) -> str:
    """Write all tags in one line; control characters, which a terminal would obey, are replaced."""
    return "; ".join(f"{printable(name)}: {printable(value)}" for name, value in tags.items())
