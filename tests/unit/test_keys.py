"""Ids and keys: each is a pure function of the other."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.keys import (
    COMPLETE,
    MANIFEST,
    MAX_ORDINAL,
    OPUS,
    REVIEW,
    TRANSCRIPT,
    VERDICT,
    ArchiveKey,
    AudioId,
    BatchId,
    BatchKey,
    ClipKey,
    DecisionKey,
    MalformedKeyError,
    RecordingKey,
    batch_of,
    parse_key,
)

BATCH = BatchId("20250622-143052-a1b2c3")

times = st.datetimes(timezones=st.just(UTC))
batches = st.builds(BatchId.new, times, st.binary(min_size=3, max_size=3))
recordings = st.builds(AudioId, batches, st.integers(0, MAX_ORDINAL))


def test_keys_of_a_batch() -> None:
    assert BATCH.archive_key == "archives/20250622-143052-a1b2c3.tar"
    assert BATCH.manifest_key == "processed/2025-06-22/20250622-143052-a1b2c3.manifest.jsonl"
    assert BATCH.complete_key == "processed/2025-06-22/20250622-143052-a1b2c3.complete.json"


def test_keys_of_a_recording() -> None:
    audio = AudioId(BATCH, 41)
    assert str(audio) == "20250622-143052-a1b2c3-0000041"
    assert audio.opus_key == "processed/2025-06-22/20250622-143052-a1b2c3-0000041.opus"
    assert audio.transcript_key == (
        "processed/2025-06-22/20250622-143052-a1b2c3-0000041.transcript.json"
    )


@given(batches)
def test_every_key_parses_back_to_its_batch_id(batch: BatchId) -> None:
    assert parse_key(batch.archive_key) == ArchiveKey(batch.archive_key, batch)
    assert parse_key(batch.manifest_key) == BatchKey(batch, MANIFEST)
    assert parse_key(batch.complete_key) == BatchKey(batch, COMPLETE)
    assert parse_key(batch.review_key) == BatchKey(batch, REVIEW)


@given(recordings, st.floats(0, 999_999.999), st.floats(0, 999_999.999))
def test_a_clip_key_parses_back_to_its_passage(audio: AudioId, one: float, other: float) -> None:
    start, end = sorted((one, other))
    key = audio.clip_key(start, end)
    assert parse_key(key) == ClipKey(audio, round(start * 1000), round(end * 1000))
    assert batch_of(key) == audio.batch


@given(recordings, st.integers(1, 255))
def test_a_clip_of_one_channel_has_its_number_in_the_key(audio: AudioId, channel: int) -> None:
    key = audio.clip_key(1.5, 3, channel)
    assert key.endswith(f".000001500-000003000-{channel}.clip.ogg")
    assert parse_key(key) == ClipKey(audio, 1500, 3000, channel)


@pytest.mark.parametrize("channel", [0, -1, 1000])
def test_no_clip_is_of_an_impossible_channel(channel: int) -> None:
    with pytest.raises(MalformedKeyError):
        AudioId(BATCH, 0).clip_key(0, 1, channel)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 1_000_000)])
def test_no_clip_goes_backward_or_beyond_all_bounds(start: float, end: float) -> None:
    with pytest.raises(MalformedKeyError):
        AudioId(BATCH, 0).clip_key(start, end)


@given(
    batches,
    times.filter(lambda time: time.year < 9999),
    st.binary(min_size=3, max_size=3),
)
def test_decisions_have_keys_of_their_own_in_the_order_of_time(
    batch: BatchId, now: datetime, token: bytes
) -> None:
    key = batch.decision_key(now, token)
    parsed = parse_key(key)
    assert isinstance(parsed, DecisionKey)
    assert parsed.batch == batch_of(key) == batch
    assert parsed.name.endswith(token.hex())
    assert key < batch.decision_key(now + timedelta(microseconds=1), b"\0\0\0")


@given(recordings)
def test_every_key_parses_back_to_its_audio_id(audio: AudioId) -> None:
    assert AudioId.parse(str(audio)) == audio
    assert parse_key(audio.opus_key) == RecordingKey(audio, OPUS)
    assert parse_key(audio.transcript_key) == RecordingKey(audio, TRANSCRIPT)
    assert parse_key(audio.verdict_key) == RecordingKey(audio, VERDICT)


@given(recordings, recordings)
def test_keys_sort_as_their_ids_do(first: AudioId, second: AudioId) -> None:
    assert (first < second) == (first.opus_key < second.opus_key)


@given(recordings)
def test_all_objects_of_a_batch_share_its_prefix(audio: AudioId) -> None:
    assert audio.opus_key.startswith(audio.batch.prefix)
    assert audio.batch.manifest_key.startswith(audio.batch.prefix)


@given(st.text() | st.from_regex(r"(archives|processed)/[0-9/.a-z-]*", fullmatch=True))
def test_no_key_raises_another_error(key: str) -> None:
    try:
        parsed = parse_key(key)
    except MalformedKeyError:
        return
    assert isinstance(parsed, ArchiveKey | RecordingKey | BatchKey | ClipKey | DecisionKey)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "archives/",
        "archives/folder/",
        "other/20250622-143052-a1b2c3.tar",
        "processed/20250622-143052-a1b2c3.opus",
        "processed/2025-06-22/20250622-143052-a1b2c3.opus",
        "processed/2025-06-22/20250622-143052-a1b2c3-41.opus",
        "processed/2025-06-22/20250622-143052-a1b2c3-0000041.mp3",
        "processed/2025-06-22/20250622-143052-A1B2C3-0000041.opus",
        "processed/2025-06-22/20250622-143052-a1b2c3-0000041.manifest.jsonl",
        "processed/2025-06-23/20250622-143052-a1b2c3-0000041.opus",
        "processed/2025-13-45/20251345-143052-a1b2c3-0000041.opus",
        "processed/2025-06-22/20250622-143052-a1b2c3-٠٠٠٠٠٤١.opus",
    ],
)
def test_a_key_that_is_not_ours_is_malformed(key: str) -> None:
    with pytest.raises(MalformedKeyError):
        parse_key(key)


@pytest.mark.parametrize("name", ["interviews.zip", "2025/calls.tar.gz", "a+b c.tar", "ü.tar"])
def test_an_archive_may_have_any_name(name: str) -> None:
    assert parse_key(f"archives/{name}") == ArchiveKey(f"archives/{name}", None)


def test_the_same_object_always_gives_the_same_derived_id() -> None:
    stored = datetime(2025, 6, 22, 14, 30, 52, 999999, tzinfo=UTC)
    batch = BatchId.derived(stored, "archives/calls.zip", "336311a0")
    assert batch == BatchId.derived(stored, "archives/calls.zip", "336311a0")
    assert batch.time == stored.replace(microsecond=0)
    assert batch != BatchId.derived(stored, "archives/calls.zip", "other")
    assert batch != BatchId.derived(stored, "archives/other.zip", "336311a0")


def test_ids_are_in_utc_wherever_they_are_made() -> None:
    summer = datetime(2025, 6, 22, 16, 30, 52, tzinfo=timezone(timedelta(hours=2)))
    assert BatchId.new(summer, b"\xa1\xb2\xc3") == BATCH


@pytest.mark.parametrize("ordinal", [-1, MAX_ORDINAL + 1])
def test_an_ordinal_fits_in_seven_digits(ordinal: int) -> None:
    with pytest.raises(MalformedKeyError):
        AudioId(BATCH, ordinal)
