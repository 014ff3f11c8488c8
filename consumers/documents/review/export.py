"""Exports of items and decisions: CSV and JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import IO, Literal, get_args

from consumers.documents.csv_cell import csv_cell
from consumers.documents.review.decision import Decision
from consumers.documents.review.reviewed_item import ReviewedItem

ExportFormat = Literal["csv", "jsonl"]

EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

COLUMNS = (
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
    of_item = {**reviewed.item.to_document(), "state": reviewed.state}
    for of_decision in map(_columns, reviewed.decisions) if reviewed.decisions else ({},):
        row = of_item | of_decision
        yield [csv_cell(row.get(name)) for name in COLUMNS]


def _columns(decision: Decision) -> dict[str, str | None]:
    corrections = (f"{each.word}: {each.was} -> {each.right}" for each in decision.corrections)
    return {
        **decision.to_document(),
        "corrections": "; ".join(corrections),
        "corrected_text": decision.corrected_text,
    }
