"""Members of an archive: as JSON, as a table, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO, Any

import msgspec
from rich.table import Table
from rich.text import Text

from consumers.documents.csv_cell import csv_cell
from consumers.documents.manifest import ManifestEntry
from events.keys import AudioId, BatchId
from ops.cli.output import make_table, printable
from ops.cli.render.notes import note_as_text, notes_as_lines, tags_as_text

_COLUMNS = (
    *("ordinal", "audio_id", "path", "size", "outcome", "reason", "duration"),
    *("notes", "tags", "text"),
)


def member_as_json(batch: BatchId, entry: ManifestEntry) -> dict[str, Any]:
    """Return the JSON object of a member; one that is no recording has no ``audio_id``."""
    return {
        "ordinal": entry.ordinal,
        "audio_id": _audio_id(batch, entry),
        "path": entry.path,
        "size": entry.size,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "duration": entry.facts.duration if entry.facts else None,
        "notes": msgspec.to_builtins(entry.notes),
        "tags": entry.tags,
        "text": entry.text,
    }


def members_table(entries: Iterable[ManifestEntry]) -> Table:
    """Lay out members. Paths and words are shown as they are, never as markup."""
    table = make_table("member", "outcome", "size", "why, and notes")
    for entry in entries:
        lines = [*([entry.reason] if entry.reason else []), *notes_as_lines(entry.notes)]
        table.add_row(Text(entry.path), entry.outcome, str(entry.size), Text("\n".join(lines)))
    return table


def write_members(batch: BatchId, entries: Iterable[ManifestEntry], file: IO[str]) -> int:
    """Write CSV with a line per member, and return their number.

    A cell that a spreadsheet would execute as a formula begins with an apostrophe.
    """
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    number = 0
    for entry in entries:
        shown = {
            **member_as_json(batch, entry),
            "notes": "; ".join(map(note_as_text, entry.notes)),
            "tags": tags_as_text(entry.tags),
            "text": printable(entry.text or ""),
        }
        writer.writerow([csv_cell(shown[name]) for name in _COLUMNS])
        number += 1
    return number


def _audio_id(batch: BatchId, entry: ManifestEntry) -> str | None:
    return None if entry.outcome == "ignored" else str(AudioId(batch, entry.ordinal))
