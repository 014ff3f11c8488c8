"""A listing is cut into recordings and batches, wherever its pages end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from consumers.database.sweep import LAST_ID
from consumers.store import ListedObject
from events.keys import (
    AudioId,
    BatchId,
    MalformedKeyError,
    parse_key,
)
from ops.recovery.sweep.listing import ListingChunk, ListingParser

NOW = datetime(2026, 11, 22, tzinfo=UTC)

batches = st.builds(
    BatchId.new,
    st.datetimes(datetime(2025, 6, 1), datetime(2025, 6, 3), timezones=st.just(UTC)),  # noqa: DTZ001
    st.binary(min_size=3, max_size=3),
)
recordings = st.builds(AudioId, batches, st.integers(0, 3))
own_keys = st.one_of(
    st.builds(lambda audio: audio.opus_key, recordings),
    st.builds(lambda audio: audio.transcript_key, recordings),
    st.builds(lambda batch: batch.manifest_key, batches),
    st.builds(lambda batch: batch.complete_key, batches),
)
foreign_keys = st.one_of(
    st.builds(lambda key, rest: key + rest, own_keys, st.text("a.-/0", min_size=1, max_size=3)),
    st.builds(lambda batch: batch.prefix + "-notes.opus", batches),
    st.builds(lambda batch: f"processed/2024-01-01/{batch}.manifest.jsonl", batches),
    st.text(max_size=60).map(lambda text: f"processed/{text}"),
    st.just("processed/2025-13-45/20251345-143052-a1b2c3.manifest.jsonl"),
)


@st.composite
def listings(draw: st.DrawFn) -> list[str]:
    """Keys, many of them of the same few batches, in a store's order."""
    keys = draw(st.sets(st.one_of(own_keys, foreign_keys), max_size=12))
    for audio in draw(st.lists(recordings, max_size=3)):
        whole = {audio.opus_key, audio.transcript_key, audio.batch.manifest_key}
        keys |= draw(st.sets(st.sampled_from(sorted(whole))))
    return sorted(keys, key=lambda key: key.encode("utf-8", "surrogatepass"))


def pages(keys: Sequence[str], size: int) -> Iterable[list[ListedObject]]:
    for begin in range(0, len(keys), size):
        yield [ListedObject(key, 1, "e", NOW) for key in keys[begin : begin + size]]


def chunks(keys: Sequence[str], size: int) -> list[ListingChunk]:
    parser = ListingParser()
    return [*(parser.add(page) for page in pages(keys, size)), parser.finish()]


def is_ours(key: str) -> bool:
    try:
        parse_key(key)
    except MalformedKeyError:
        return False
    return True


@given(listings(), st.integers(1, 7))
def test_no_key_is_lost_doubled_or_mistaken(keys: list[str], size: int) -> None:
    again = []
    found = chunks(keys, size)
    for chunk in found:
        for recording in chunk.recordings:
            audio = AudioId(BatchId(recording.position[0]), recording.position[1])
            again += [audio.opus_key] * (recording.opus is not None)
            again += [audio.transcript_key] * (recording.transcript is not None)
        for batch in chunk.batches:
            again += [BatchId(batch.batch_id).complete_key] * (batch.complete is not None)
            again += [BatchId(batch.batch_id).manifest_key] * (batch.manifest is not None)
    assert sorted(again) == sorted(key for key in keys if is_ours(key))
    foreign = [key for chunk in found for key in chunk.foreign]
    assert sorted(foreign) == sorted(key for key in keys if not is_ours(key))


@given(listings(), st.integers(1, 7))
def test_chunks_follow_each_other_without_a_gap(keys: list[str], size: int) -> None:
    """So every row falls into the range of one chunk, and into that where its objects are."""
    found = chunks(keys, size)
    assert (found[0].after, found[0].after_batch) == (("", -1), "")
    assert (found[-1].upto[0], found[-1].upto_batch) == (LAST_ID, LAST_ID)
    for first, second in pairwise(found):
        assert (first.upto, first.upto_batch) == (second.after, second.after_batch)
    for chunk in found:
        positions = [recording.position for recording in chunk.recordings]
        assert positions == sorted(set(positions))
        assert all(chunk.after < position <= chunk.upto for position in positions)
        ids = [batch.batch_id for batch in chunk.batches]
        assert ids == sorted(set(ids))
        assert all(chunk.after_batch < batch <= chunk.upto_batch for batch in ids)


@given(listings(), st.integers(1, 7), st.integers(1, 7))
def test_page_boundaries_do_not_matter(keys: list[str], size: int, other: int) -> None:
    def all_of(found: list[ListingChunk]) -> list[object]:
        return [
            *(recording for chunk in found for recording in chunk.recordings),
            *(batch for chunk in found for batch in chunk.batches),
        ]

    assert all_of(chunks(keys, size)) == all_of(chunks(keys, other))


def test_an_empty_bucket_is_one_chunk_that_reaches_over_all() -> None:
    (chunk,) = chunks([], 1)
    assert not chunk.recordings
    assert chunk.upto == (LAST_ID, -1)
