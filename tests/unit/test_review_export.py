"""Exports of items and decisions."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.documents.review.decision import Decision
from consumers.documents.review.export import write_csv, write_jsonl
from consumers.documents.review.reviewed_item import ReviewedItem
from tests.harness.samples.reviews import NOW, decided, item


def exported(*reviewed: ReviewedItem) -> list[dict[str, str]]:
    file = io.StringIO(newline="")
    write_csv(reviewed, file)
    return list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))


def test_csv_has_a_line_per_decision_and_undecided_item() -> None:
    twice = decided(item(1), ("Ada", "uphold"), ("Bob", "reject"))
    one, two, three = exported(twice, decided(item(2)))
    assert [each["reviewer"] for each in (one, two, three)] == ["Ada", "Bob", ""]
    assert one["item_id"] == two["item_id"] == item(1).item_id
    assert (one["decision"], two["decision"], three["decision"]) == ("uphold", "reject", "")
    assert one["score"] == "0.93"
    assert one["decided_at"] == NOW.isoformat()


@pytest.mark.parametrize(
    "text", ["=1+2", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\n=1", "\uff1d1", '=HYPERLINK("x")']
)
def test_csv_has_no_formulas(text: str) -> None:
    decision = Decision.new(
        item(text="a b", path=text), "uphold", reviewer="A", now=NOW, token=b"abc", note=text
    )
    (row,) = exported(ReviewedItem(decision.item, "decided", (decision,)))
    assert row["path"] == row["note"] == f"'{text}"
    assert row["text"] == "a b"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_csv_gives_back_every_text(text: str) -> None:
    """But for the apostrophe, and carriage returns, which readers may take for line ends."""
    (row,) = exported(decided(item(path=text.replace("\r", ""))))
    shown = row["path"].removeprefix("'") if not text.startswith("'") else row["path"]
    assert shown == text.replace("\r", "")
    assert not row["path"].lstrip().startswith(("=", "+", "-", "@"))


def test_json_lines_change_nothing() -> None:
    of = item(text="-the harber", path="=1.wav")
    decision = Decision.new(
        of, "uphold", reviewer="Ada", now=NOW, token=b"abc", note="-", words={2: "harbour"}
    )
    file = io.StringIO()
    write_jsonl([ReviewedItem(of, "decided", (decision,)), decided(item(2))], file)
    first, second = map(json.loads, file.getvalue().splitlines())
    assert (first["path"], first["text"]) == ("=1.wav", "-the harber")
    (made,) = first["decisions"]
    assert made["note"] == "-"
    assert made["corrections"] == [{"word": 2, "was": "harber", "is": "harbour"}]
    assert made["corrected_text"] == "-the harbour"
    assert second["decisions"] == []
