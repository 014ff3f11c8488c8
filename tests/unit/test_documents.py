"""Stored documents: earlier releases' can be read, damaged ones are refused, schemas hold."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from consumers.documents import schemas
from consumers.documents.audio_properties import AudioProperties
from consumers.documents.codec import MAX_BYTES, MAX_LINE_BYTES, Document, MalformedDocumentError
from consumers.documents.completion import BatchCompletion
from consumers.documents.manifest import ManifestWriter, read_manifest
from consumers.documents.review.decision import Decision
from consumers.documents.review.item_list import ItemListWriter, read_items
from consumers.documents.transcript import Segment, Transcript, Word
from consumers.documents.verdict import PolicyVerdict
from events.keys import BatchId
from tests.schemas import FOLDER, check_document

#: One of each document, as releases before 0.1.0 wrote them.
SAMPLES = Path(__file__).parent / "documents"

BATCH = BatchId("20250622-143052-a1b2c3")

WHOLE: dict[str, type[Document]] = {
    "transcript.json": Transcript,
    "transcript-silent.json": Transcript,
    "transcript-without-loudness.json": Transcript,
    "verdict.json": PolicyVerdict,
    "verdict-unjudged.json": PolicyVerdict,
    "complete.json": BatchCompletion,
    "complete-without-moderation.json": BatchCompletion,
    "decision.json": Decision,
    "decision-plain.json": Decision,
}

#: Fields that the earliest documents lacked; they are null or empty in a copy.
ADDED = {
    "loudness_dbfs",
    "moderated",
    "flagged",
    "with_losses",
    "notes",
    "channel",
    "language",
}


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def read(name: str) -> Callable[[bytes], object]:
    """The reader of a sample: it reads the whole document."""
    if name in WHOLE:
        return WHOLE[name].from_json
    if name.endswith(".jsonl"):
        return lambda data: list(read_manifest(io.BytesIO(data))[1])
    return lambda data: list(read_items(io.BytesIO(data)))


def without_added(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: without_added(each)
                for name, each in value.items()
                if name not in ADDED or each not in (None, [], {})
            }
        case list():
            return [without_added(each) for each in value]
    return value


@pytest.mark.parametrize("name", WHOLE)
def test_a_stored_document_is_read_and_written_with_the_same_keys_and_values(name: str) -> None:
    document = WHOLE[name].from_json(sample(name))
    written, stored = json.loads(document.to_json()), json.loads(sample(name))
    assert without_added(written) == without_added(stored)
    assert [key for key in written if key in stored] == list(stored)


def test_a_stored_manifest_is_read_and_written_with_the_same_keys_and_values() -> None:
    head, entries = read_manifest(io.BytesIO(sample("manifest.jsonl")))
    writer = ManifestWriter(io.BytesIO())
    for entry in entries:
        writer.add(entry)
    whole = io.BytesIO()
    assert writer.finish(head.archive, head.failure, whole, moderated=head.moderated) == head
    written, *lines = map(json.loads, whole)
    assert [without_added(written), *lines] == list(
        map(json.loads, sample("manifest.jsonl").split(b"\n")[:-1])
    )


@pytest.mark.parametrize("name", ["items.review.json", "items-none.review.json"])
def test_a_stored_list_of_items_is_read_and_written_with_the_same_keys_and_values(
    name: str,
) -> None:
    file = io.BytesIO()
    writer = ItemListWriter(file, BATCH)
    for item in read_items(io.BytesIO(sample(name))):
        writer.add(item)
    writer.finish()
    assert json.loads(file.read()) == json.loads(sample(name))


def test_the_metadata_of_stored_opus_objects_is_read_and_written_unchanged() -> None:
    for metadata in json.loads(sample("opus-metadata.json")).values():
        properties = AudioProperties.from_metadata(metadata)
        assert properties.to_metadata(metadata["path"]) == metadata


DAMAGED = [*WHOLE, "manifest.jsonl", "items.review.json"]


@given(name=st.sampled_from(DAMAGED), data=st.data())
def test_damage_is_refused_or_harmless(name: str, data: st.DataObject) -> None:
    content = sample(name)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    damaged = content[:start] + data.draw(st.binary(max_size=20)) + content[end:]
    with suppress(MalformedDocumentError):
        read(name)(damaged)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda parts: (
        st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=3)
    ),
    max_leaves=5,
)


@given(name=st.sampled_from(list(WHOLE)), value=any_json, data=st.data())
def test_any_value_of_a_field_is_refused_or_read(
    name: str, value: object, data: st.DataObject
) -> None:
    document = json.loads(sample(name))
    field = data.draw(st.sampled_from(list(document)))
    with suppress(MalformedDocumentError):
        WHOLE[name].from_json(json.dumps({**document, field: value}).encode())


def test_an_error_quotes_no_value_however_long() -> None:
    secret = b'"state": "' + b"secret " * 100_000 + b'"'
    damaged = sample("transcript.json").replace(b'"state": "transcribed"', secret)
    with pytest.raises(MalformedDocumentError) as caught:
        Transcript.from_json(damaged)
    assert str(caught.value) == "the transcript is invalid: Invalid enum value - at `$.state`"
    assert caught.value.__cause__ is None


HOSTILE: dict[str, bytes] = {
    "nested too deeply": b'{"version": 1, "later": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a version that is text": b'{"version": "1"}',
    "NaN": b'{"version": 1, "later": NaN}',
    "Infinity": b'{"version": 1, "duration": -Infinity}',
    "an integer of 5,000 digits": b'{"version": 1, "later": 1' + b"0" * 5000 + b"}",
    "half a surrogate pair": b'{"version": 1, "audio_id": "\\udc00"}',
    "not UTF-8": b'{"version": 1, "audio_id": "\xff"}',
    "UTF-16": '{"version": 1}'.encode("utf-16"),
    "the same key twice": b'{"version": 1, "later": {"a": 1, "a": 2}}',
    "two documents": b'{"version": 1}{"version": 1}',
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", dict.fromkeys(WHOLE.values()))
def test_a_hostile_document_is_refused_by_name(kind: type[Document], data: bytes) -> None:
    with pytest.raises(MalformedDocumentError, match=r"processed/x\.json: the .* is invalid: "):
        kind.from_json(data, "processed/x.json")


def test_a_key_that_is_repeated_in_a_complete_document_is_refused() -> None:
    repeated = sample("transcript.json").replace(
        b'"duration":', b'"d\\u0075ration": 1, "duration":'
    )
    with pytest.raises(MalformedDocumentError, match="same key twice"):
        Transcript.from_json(repeated)


def test_a_document_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(MalformedDocumentError, match="larger than 64 MiB"):
        Transcript.from_json(bytes(MAX_BYTES + 1))


@pytest.mark.parametrize("name", ["manifest.jsonl", "items.review.json"])
def test_a_line_that_never_ends_costs_a_bounded_amount_of_memory(name: str) -> None:
    endless = sample(name).splitlines(keepends=True)[0] + b" " * (16 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDocumentError, match="longer than 4 MiB"):
            read(name)(endless)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


def test_a_large_document_of_skipped_fields_costs_little_more_than_its_bytes() -> None:
    skipped = b'{"later": [' + b"[[[]]]," * 1_000_000 + b"0], "
    later = sample("transcript-silent.json").replace(b"{", skipped, 1)
    tracemalloc.start()
    try:
        assert Transcript.from_json(later).state == "silent"
        assert tracemalloc.get_traced_memory()[1] < 2 * len(later)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_not_written(number: float) -> None:
    segment = Segment(0.0, 1.0, "a", None, (Word("a", 0.0, 1.0, number),))
    transcript = Transcript("a", "transcribed", None, 1.0, "en", 1.0, "m", None, (segment,))
    with pytest.raises(ValueError, match="finite"):
        transcript.to_json()


def test_a_text_with_half_a_surrogate_pair_is_not_written() -> None:
    transcript = Transcript("a", "silent", "\ud800", 1.0, None, None, None, None, ())
    with pytest.raises(ValueError, match="surrogates"):
        transcript.to_json()


def test_times_are_written_with_their_offset() -> None:
    completed = datetime(2025, 6, 22, 15, tzinfo=UTC)
    completion = BatchCompletion(str(BATCH), "complete", None, completed, {})
    assert b'"completed_at":"2025-06-22T15:00:00+00:00"' in completion.to_json()


@pytest.mark.parametrize("name", schemas.DOCUMENTS)
def test_the_published_schemas_are_up_to_date(name: str) -> None:
    published = json.loads((FOLDER / f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(published)
    assert published == schemas.schema(schemas.DOCUMENTS[name]), (
        "run: python -m consumers.documents.schemas docs/schemas"
    )


def test_every_schema_is_of_a_document() -> None:
    published = {path.name.removesuffix(".schema.json") for path in FOLDER.glob("*.json")}
    assert published == set(schemas.DOCUMENTS)


@pytest.mark.parametrize("name", DAMAGED)
def test_stored_documents_match_the_published_schemas(name: str) -> None:
    kind = name.partition("-")[0].removesuffix(".json")
    key = f"processed/{'x.manifest.jsonl' if kind == 'manifest.jsonl' else f'x.{kind}.json'}"
    check_document(key.replace("items.review", "review"), sample(name))


def test_a_document_that_does_not_match_its_schema_is_found() -> None:
    damaged = {**json.loads(sample("decision.json")), "decision": "maybe"}
    with pytest.raises(ValidationError, match="maybe"):
        check_document("processed/x.decision.json", json.dumps(damaged).encode())
