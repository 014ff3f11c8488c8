"""Dead letters as JSON and as text. Whatever they hold is untrusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from consumers.broker.dead_letters import StoredDeadLetter
from ops.cli.output import make_table, printable


def letter_as_json(letter: StoredDeadLetter) -> dict[str, Any]:
    """Return the JSON object of a letter, without its body."""
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
    """Lay out letters, each as `letter_as_json` gives it."""
    headings = ("id", "when (UTC)", "route", "reason", "batch", "key", "error")
    table = make_table(*headings, no_wrap=("id",))
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
    """Write all fields of a letter, and its body."""
    lines = []
    for name, value in letter_as_json(letter).items():
        shown = ", ".join(value) if isinstance(value, list) else value
        lines.append(f"{name + ':':<10}{'' if shown is None else printable(str(shown))}")
    return "\n".join([*lines, "", _pretty(letter.text)])


def _first(values: Sequence[str]) -> str:
    if len(values) < 2:  # noqa: PLR2004
        return "".join(values)
    return f"{values[0]} (+{len(values) - 1})"


def _minute(time: str | None) -> str:
    """Shorten an ISO 8601 time to the minute."""
    return "" if time is None else time[:16].replace("T", " ")


def _pretty(body: str) -> str:
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        text = body
    return "\n".join(printable(line) for line in text.splitlines())
