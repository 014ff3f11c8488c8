"""Manifests, and the metadata of Opus objects, are read back as they were written."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.documents.audio_properties import AudioProperties
from consumers.documents.manifest import Archive, ManifestEntry, ManifestWriter, read_manifest
from consumers.errors import PermanentError
from consumers.store import encoded_metadata
from events.keys import BatchId

BATCH = BatchId("20250622-143052-a1b2c3")
ARCHIVE = Archive(
    BATCH, BATCH.archive_key, "336311a0", 10, "Tonbänder.tar", datetime(2025, 6, 22, tzinfo=UTC)
)

paths = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
facts = st.builds(
    AudioProperties,
    duration=st.floats(0, 86400).map(lambda seconds: round(seconds, 3)),
    codec=st.sampled_from(["mp3", "pcm_s16le"]),
    sample_rate=st.integers(8000, 96000),
    channels=st.integers(1, 8),
    loudness_dbfs=st.none() | st.floats(-100, 0).map(lambda level: round(level, 1)),
    silent=st.booleans(),
    damaged=st.integers(0, 99),
    source_sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
entries = st.one_of(
    st.builds(
        ManifestEntry,
        ordinal=st.integers(0, 9_999_999),
        path=paths,
        size=st.integers(0),
        outcome=st.just("accepted"),
        reason=st.none() | paths,
        facts=facts,
    ),
    st.builds(
        ManifestEntry,
        ordinal=st.integers(0, 9_999_999),
        path=paths,
        size=st.integers(0),
        outcome=st.sampled_from(["rejected", "ignored"]),
        reason=paths,
    ),
)


def written(lines: list[ManifestEntry], failure: str | None = None) -> io.BytesIO:
    writer = ManifestWriter(io.BytesIO())
    for line in lines:
        writer.add(line)
    whole = io.BytesIO()
    writer.finish(ARCHIVE, failure, whole)
    return whole


@given(st.lists(entries), st.none() | paths)
def test_a_manifest_can_be_read_back(lines: list[ManifestEntry], failure: str | None) -> None:
    head, read = read_manifest(written(lines, failure))
    assert list(read) == lines
    assert head.archive == ARCHIVE
    assert head.failure == failure
    assert sum(head.totals.values()) == len(lines)


@given(st.lists(entries, min_size=1), st.data())
def test_a_manifest_that_was_cut_is_refused(
    lines: list[ManifestEntry], data: st.DataObject
) -> None:
    content = written(lines).getvalue()
    cut = data.draw(st.integers(0, len(content) - 2))
    complete = content[:cut].count(b"\n") - 1
    is_cut_within_a_line = content[cut - 1 : cut] != b"\n" and content[cut : cut + 1] != b"\n"
    if is_cut_within_a_line:
        with pytest.raises(PermanentError, match="manifest"):
            list(read_manifest(io.BytesIO(content[:cut]))[1])
    else:
        read = list(read_manifest(io.BytesIO(content[:cut]))[1])
        assert read == lines[: len(read)]
        # The last newline alone is no loss.
        assert len(read) in {complete, complete + 1}


@given(facts, paths)
def test_metadata_gives_back_the_same_properties(known: AudioProperties, path: str) -> None:
    metadata = known.to_metadata(path)
    assert AudioProperties.from_metadata(metadata) == known
    assert path.startswith(metadata["path"])


@given(facts, st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1000, max_size=5000))
def test_metadata_stays_within_the_limit_of_s3(known: AudioProperties, path: str) -> None:
    encoded = encoded_metadata(known.to_metadata(path))
    assert sum(len(name) + len(value) for name, value in encoded.items()) < 2048


@pytest.mark.parametrize("metadata", [{}, {"duration": "long"}])
def test_a_foreign_object_is_reported(metadata: dict[str, str]) -> None:
    with pytest.raises(PermanentError, match="not dropscribe's"):
        AudioProperties.from_metadata(metadata)
