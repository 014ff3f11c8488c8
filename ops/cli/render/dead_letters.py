"""What commands show of dead letters, which may say anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from consumers.broker.dead_letters import StoredDeadLetter


def letter_as_json(letter: StoredDeadLetter) -> dict[str, Any]:
    """Give what ``--json`` says of a letter, without its body."""
    return {
        "id": letter.id,
        "route": letter.route.name,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "dead_at": letter.dead_at.isoformat() if letter.dead_at else None,
        "batches": [str(batch) for batch in letter.batches],
        "keys": list(letter.keys),
    }


def letters_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Lay out what `letter_as_json` gave of letters."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("id", "when (UTC)", "route", "reason", "batch", "key", "error"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for row in rows:
        table.add_row(
            row["id"],
            _minute(row["dead_at"]),
            row["route"],
            Text(printable(row["reason"])),
            _first(row["batches"]),
            Text(printable(_first(row["keys"]))),
            Text(printable(row["error"])),
        )
    return table


def letter_in_full(letter: StoredDeadLetter) -> str:
    """Write down all that is known of a letter, its body at the end."""
    lines = []
    for name, value in letter_as_json(letter).items():
        shown = ", ".join(value) if isinstance(value, list) else value
        lines.append(f"{name + ':':<10}{'' if shown is None else printable(str(shown))}")
    return "\n".join([*lines, "", _pretty(letter.text)])


def printable(text: str) -> str:
    """Replace what a terminal would take for a command."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _first(values: Sequence[str]) -> str:
    if len(values) < 2:  # noqa: PLR2004
        return "".join(values)
    return f"{values[0]} (+{len(values) - 1})"


def _minute(time: str | None) -> str:
    """Shorten an ISO 8601 time, as far as the eye needs it."""
    return "" if time is None else time[:16].replace("T", " ")


def _pretty(body: str) -> str:
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        text = body
    return "\n".join(printable(line) for line in text.splitlines())
