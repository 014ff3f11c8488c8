"""Exports of items and decisions: CSV and JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, Literal, get_args

from consumers.documents.review.decision import Correction, Decision
from consumers.documents.review.reviewed_item import ReviewedItem

ExportFormat = Literal["csv", "jsonl"]

EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

#: The beginnings of a cell that make it a formula, East Asian forms included; see OWASP,
#: "CSV Injection".
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")

_OF_ITEM = (
    "item_id",
    "audio_id",
    "path",
    "kind",
    "policy",
    "version",
    "score",
    "reason",
    "start",
    "end",
    "text",
    "clip_key",
    "clip_start",
)
COLUMNS = (
    *_OF_ITEM,
    "state",
    "review_id",
    "decision",
    "reviewer",
    "decided_at",
    "note",
    "corrections",
    "corrected_text",
)


def write_csv(reviewed: Iterable[ReviewedItem], file: IO[str]) -> None:
    """Write a heading, and a line per decision or undecided item.

    A cell that a spreadsheet would execute as a formula begins with an apostrophe, which
    marks it as text. `write_jsonl` changes nothing.
    """
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for each in reviewed:
        writer.writerows(_cells(each))


def write_jsonl(reviewed: Iterable[ReviewedItem], file: IO[str]) -> None:
    """Write a line per item with its decisions."""
    for each in reviewed:
        document = each.to_document()
        for made, decision in zip(document["decisions"], each.decisions, strict=True):
            made["corrected_text"] = decision.corrected_text
        file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _cells(reviewed: ReviewedItem) -> Iterator[list[str]]:
    document = reviewed.item.to_document()
    of_item = [*(document[name] for name in _OF_ITEM), reviewed.state]
    for decision in reviewed.decisions or (None,):
        of_decision = [None] * (len(COLUMNS) - len(of_item))
        yield [_cell(value) for value in (*of_item, *(_columns(decision) or of_decision))]


def _columns(decision: Decision | None) -> list[str | None]:
    if decision is None:
        return []
    return [
        decision.review_id,
        decision.decision,
        decision.reviewer,
        decision.decided_at.isoformat(),
        decision.note,
        "; ".join(map(_shown, decision.corrections)),
        decision.corrected_text,
    ]


def _shown(correction: Correction) -> str:
    return f"{correction.word}: {correction.was} -> {correction.right}"


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    is_formula = value.lstrip().startswith(_FORMULA) or value.startswith(("\t", "\r", "\n"))
    return f"'{value}" if is_formula else value
