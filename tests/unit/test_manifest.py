"""Manifests, and the metadata of Opus objects, are read back as they were written."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.documents.audio_properties import AudioProperties, notes_of_metadata
from consumers.documents.manifest import Archive, ManifestEntry, ManifestWriter, read_manifest
from consumers.documents.note import Note, NoteCode
from consumers.errors import PermanentError
from consumers.store import encoded_metadata
from events.keys import BatchId

BATCH = BatchId("20250622-143052-a1b2c3")
ARCHIVE = Archive(
    BATCH, BATCH.archive_key, "336311a0", 10, "Tonbänder.tar", datetime(2025, 6, 22, tzinfo=UTC)
)

notes = st.lists(
    st.builds(
        Note,
        code=st.sampled_from([code for code in NoteCode if code != NoteCode.NOTES_LEFT_OUT]),
        text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400),
        start=st.none() | st.floats(0, 86400).map(lambda seconds: round(seconds, 3)),
        end=st.none() | st.floats(0, 86400).map(lambda seconds: round(seconds, 3)),
    ),
    max_size=60,
).map(tuple)
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
    output_channels=st.integers(1, 8),
    layout=st.sampled_from(["", "stereo", "mono + 5.1(side)"]),
)
entries = st.one_of(
    st.builds(
        ManifestEntry,
        ordinal=st.integers(0, 9_999_999),
        path=paths,
        size=st.integers(0),
        outcome=st.just("accepted"),
        facts=facts,
        notes=notes,
        tags=st.dictionaries(paths, paths, max_size=3),
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


@given(
    facts,
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1000, max_size=5000),
    notes,
)
def test_metadata_stays_within_the_limit_of_s3(
    known: AudioProperties, path: str, told: tuple[Note, ...]
) -> None:
    encoded = encoded_metadata(known.to_metadata(path, told))
    assert sum(len("x-amz-meta-" + name + value) for name, value in encoded.items()) < 2048


@given(facts, notes)
def test_metadata_keeps_codes_and_times_of_notes_longer_than_texts(
    known: AudioProperties, told: tuple[Note, ...]
) -> None:
    """A loss that is left out would be a recording that looks whole."""
    kept = list(notes_of_metadata(known.to_metadata("a.wav", told)))
    left_out = sum(
        int(note.text.split()[0]) for note in kept if note.code == NoteCode.NOTES_LEFT_OUT
    )
    kept = [note for note in kept if note.code != NoteCode.NOTES_LEFT_OUT]
    expected = sorted(told, key=lambda note: not note.is_loss)[: len(kept)]
    assert [(note.code, note.start, note.end) for note in kept] == [
        (note.code, note.start, note.end) for note in expected
    ]
    assert len(kept) + left_out == len(told)


def test_short_notes_are_kept_whole() -> None:
    told = (
        Note(NoteCode.GAP, "no sound; for 10 s", 4.25, 14.25),
        Note(NoteCode.NAME, "Zoë's name is not UTF-8"),
    )
    known = AudioProperties(1.0, "mp3", 8000, 1, None, silent=False, damaged=0, source_sha256="")
    assert notes_of_metadata(known.to_metadata("a.wav", told)) == told


def test_early_entries_have_the_note_in_the_reason() -> None:
    head, entries = read_manifest(
        io.BytesIO(
            written([]).getvalue()
            + b'{"n":0,"path":"a.wav","size":9,"outcome":"accepted","reason":"its name is empty"}'
        )
    )
    (entry,) = entries
    assert (entry.reason, entry.notes, head.notes) == ("its name is empty", (), ())


@pytest.mark.parametrize("metadata", [{}, {"duration": "long"}])
def test_a_foreign_object_is_reported(metadata: dict[str, str]) -> None:
    with pytest.raises(PermanentError, match="not dropscribe's"):
        AudioProperties.from_metadata(metadata)
