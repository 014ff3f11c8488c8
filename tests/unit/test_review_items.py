"""Review items and decisions: their ids and documents."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.documents.codec import MalformedDocumentError, decode
from consumers.documents.review.decision import (
    Correction,
    Decision,
    WrongWordError,
)
from consumers.documents.review.item import ITEM_KINDS, ReviewItem, make_item_id
from consumers.documents.review.item_list import ItemListWriter, read_items
from events.keys import AudioId, BatchId, DecisionKey, parse_key
from tests.harness.samples.reviews import BATCH, NOW, item

TIMES = st.integers(0, 86_400_000).map(lambda ms: ms / 1000)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(
    audio=st.builds(AudioId, st.just(BATCH), st.integers(0, 9_999_999)),
    kind=st.sampled_from(ITEM_KINDS),
    start=TIMES,
    end=TIMES,
)
def test_an_id_is_its_recordings_and_twelve_digits(
    audio: AudioId, kind: str, start: float, end: float
) -> None:
    item_id = make_item_id(audio, kind, start, end, text="a")  # type: ignore[arg-type]
    recording, _, digits = item_id.rpartition("-")
    assert AudioId.parse(recording) == audio
    assert len(digits) == 12
    int(digits, 16)
    assert make_item_id(audio, kind, start, end, text="a") == item_id  # type: ignore[arg-type]
    # Other words at the same place are another finding.
    assert make_item_id(audio, kind, start, end, text="b") != item_id  # type: ignore[arg-type]


def test_an_id_is_the_same_in_every_version_of_dropscribe() -> None:
    """Reviewers' decisions refer to it."""
    assert item().item_id == "20250622-143052-a1b2c3-0000001-ad293d9991f0"


@pytest.mark.parametrize(
    "other",
    [
        item(4.001),
        item(4.0, 6.6),
        item(policy="harassment"),
        item(version="fedcba9876543210"),
        item(kind="doubtful"),
        item(kind="sample"),
    ],
)
def test_another_finding_has_another_id(other: ReviewItem) -> None:
    assert other.item_id != item().item_id


@given(text=TEXTS, path=TEXTS)
def test_a_list_gives_back_the_same_items(text: str, path: str) -> None:
    items = [item(text=text, path=path), item(kind="sample", text="]}")]
    file = io.BytesIO()
    writer = ItemListWriter(file, BATCH)
    for each in items:
        writer.add(each)
    writer.finish()
    assert list(read_items(file)) == items
    document = json.loads(file.getvalue())
    assert document["version"] == 1
    assert document["batch_id"] == str(BATCH)
    assert [each["item_id"] for each in document["items"]] == [each.item_id for each in items]


def test_a_list_can_be_empty() -> None:
    file = io.BytesIO()
    ItemListWriter(file, BATCH).finish()
    assert list(read_items(file)) == []
    assert json.loads(file.getvalue())["items"] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"version": 2, "batch_id": "b", "items": [\n]}\n',
        b'{"version": 1, "batch_id": "b", "items": [\n',
        b'{"version": 1, "batch_id": "b", "items": [\n{}\n]}\n',
        b'{"version": 1, "batch_id": "b", "items": [\n\xff\n]}\n',
    ],
)
def test_an_invalid_item_list_is_reported(data: bytes) -> None:
    with pytest.raises(MalformedDocumentError):
        list(read_items(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audio_id", "x"),
        ("kind", "funny"),
        ("policy", None),
        ("score", "high"),
        ("start", True),
        ("end", float("inf")),
        ("text", "half \ud800"),
        ("text", "nul \x00"),
        ("clip_key", 3),
    ],
)
def test_an_item_with_an_invalid_field_is_refused(field: str, value: object) -> None:
    document = json.dumps({**item().to_document(), field: value})
    with pytest.raises(MalformedDocumentError):
        decode(document.encode(), ReviewItem, "the item")


@given(note=st.none() | TEXTS, reviewer=TEXTS, words=st.dictionaries(st.integers(1, 5), TEXTS))
def test_json_gives_back_the_same_decision(
    note: str | None, reviewer: str, words: dict[int, str]
) -> None:
    decision = Decision.new(
        item(), "uphold", reviewer=reviewer, now=NOW, token=b"\x01\x02\x03", note=note, words=words
    )
    assert Decision.from_json(decision.to_json()) == decision


def test_a_decisions_key_holds_its_batch_and_its_id() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-5)))
    decision = Decision.new(item(), "reject", reviewer="Ada", now=elsewhere, token=b"\x01\x02\x03")
    assert decision.key == (
        "processed/2025-06-22/20250622-143052-a1b2c3.20250622150000123456-010203.decision.json"
    )
    assert parse_key(decision.key) == DecisionKey(BATCH, decision.review_id)


def test_words_are_corrected_by_number() -> None:
    words = {1: "some", 5: " ver  min ", 3: ""}
    decision = Decision.new(item(), "uphold", reviewer="A", now=NOW, token=b"abc", words=words)
    assert decision.corrections == (
        Correction(1, "all", "some"),
        Correction(3, "them", ""),
        Correction(5, "vermin", "ver min"),
    )
    assert decision.corrected_text == "some of are ver min"


@pytest.mark.parametrize("number", [0, 6])
def test_a_missing_word_cannot_be_corrected(number: int) -> None:
    with pytest.raises(WrongWordError, match="numbered from 1 to 5"):
        Decision.new(item(), "uphold", reviewer="A", now=NOW, token=b"abc", words={number: "x"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("decision", "maybe"),
        ("decided_at", "2025-06-22T15:00:00"),
        ("decided_at", "2025-06-22T15:00:00+00:00"),
        ("review_id", "../../x"),
        ("corrections", [{"word": 0, "was": "a", "is": "b"}]),
        ("item", {}),
    ],
)
def test_an_invalid_decision_is_reported(field: str, value: object) -> None:
    decision = Decision.new(item(), "unsure", reviewer="A", now=NOW, token=b"abc")
    document = {**json.loads(decision.to_json()), field: value}
    with pytest.raises(MalformedDocumentError):
        Decision.from_json(json.dumps(document).encode())


def test_only_flagged_items_have_a_policy() -> None:
    with pytest.raises(ValueError, match="only if"):
        replace(item(), kind="sample")


def test_ids_sort_as_recordings_do() -> None:
    """Tables page by them."""
    audios = [AudioId(BatchId(f"2025062{day}-143052-a1b2c3"), n) for day in (1, 2) for n in (2, 10)]
    assert sorted(item(audio=audio).item_id for audio in reversed(audios)) == [
        item(audio=audio).item_id for audio in audios
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"vermin", b"vermi\xff"),
        lambda data: data.replace(b'"all of them are vermin"', b'["all of them are vermin"]'),
        lambda data: data.replace(b'"start"', b'"begin"'),
        lambda data: data[:-20],
    ],
    ids=["not UTF-8", "a list for a text", "a field less", "cut off"],
)
def test_an_error_does_not_quote_the_transcript(damage: Callable[[bytes], bytes]) -> None:
    file = io.BytesIO()
    writer = ItemListWriter(file, BATCH)
    writer.add(item())
    writer.finish()
    damaged = damage(file.getvalue())
    assert damaged != file.getvalue()
    with pytest.raises(MalformedDocumentError) as caught:
        list(read_items(io.BytesIO(damaged)))
    assert "vermi" not in str(caught.value)
    assert caught.value.__cause__ is None
