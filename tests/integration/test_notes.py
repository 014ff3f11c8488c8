"""What one stage notes about a recording is never lost by the next one, or by a crash."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import pytest

from consumers.database.rows import Recording
from consumers.documents.completion import BatchCompletion
from consumers.documents.manifest import ManifestEntry, ManifestHead, read_manifest
from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import Transcript
from consumers.errors import BusyError
from consumers.speech.recogniser import Recognition, Waveform
from consumers.stages.transcribe import Transcribe
from consumers.store.scratch import Scratch
from events.keys import AudioId, BatchId
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_rebuilder
from tests.harness.deployment.stand_ins import LengthRecogniser
from tests.harness.samples.archives import tar_of
from tests.harness.samples.sounds import Recipe, made
from tests.integration.conftest import Pipeline, Run, printed
from tests.integration.damage import dropped, execute, rows, transcribed, unpacked
from tests.integration.test_pipeline import event_for
from tests.samples import WAV

TAGGED = made(Recipe("mp3", "libmp3lame", tags={"title": "Interview", "artist": "Zoë"}))

#: A recording that breaks off, one with tags, and one with nothing to note.
MEMBERS = {"cut.wav": WAV[: len(WAV) // 2], "tagged.mp3": TAGGED, "whole.wav": WAV}


class NotingRecogniser(LengthRecogniser):
    """Its transcripts carry a note of their own."""

    NOTE = Note(NoteCode.NO_WORD_TIMES, "segment times only")

    def _outcome(self, waveform: Waveform) -> Recognition:
        outcome = super()._outcome(waveform)
        assert isinstance(outcome, Transcript)
        return msgspec.structs.replace(outcome, notes=(self.NOTE,))


@pytest.fixture
def batch(pipeline: Pipeline, tmp_path: Path) -> BatchId:
    pipeline.recogniser = NotingRecogniser()
    return unpacked(pipeline, tmp_path, tar_of(MEMBERS))


def manifest(pipeline: Pipeline, batch: BatchId) -> tuple[ManifestHead, list[ManifestEntry]]:
    head, entries = read_manifest(io.BytesIO(pipeline.store.read(batch.manifest_key)))
    return head, list(entries)


def recordings(pipeline: Pipeline, batch: BatchId) -> list[Recording]:
    return pipeline.database.recordings(batch)


def codes(notes: tuple[Note, ...]) -> list[NoteCode]:
    return [note.code for note in notes]


def test_notes_and_tags_go_from_the_archive_to_the_batchs_end(
    pipeline: Pipeline, batch: BatchId
) -> None:
    transcribed(pipeline, batch, range(3))
    _, (cut, tagged, whole) = manifest(pipeline, batch)
    assert codes(cut.notes) == [NoteCode.BREAKS_OFF]
    assert (cut.reason, tagged.reason, whole.reason) == (None, None, None)
    assert (tagged.tags["title"], tagged.tags["artist"]) == ("Interview", "Zoë")
    for row, entry in zip(recordings(pipeline, batch), (cut, tagged, whole), strict=True):
        assert (row.notes, row.tags, row.reason) == (entry.notes, entry.tags, None)
        assert row.all_notes == (*entry.notes, NotingRecogniser.NOTE)
    key = AudioId(batch, 0).transcript_key
    transcript = Transcript.from_json(pipeline.store.read(key))
    assert codes(transcript.notes) == [NoteCode.BREAKS_OFF, NoteCode.NO_WORD_TIMES]
    completion = BatchCompletion.from_json(pipeline.store.read(batch.complete_key))
    assert (completion.with_losses, completion.notes) == (1, {"breaks_off": 1, "no_word_times": 3})


def test_a_transcript_that_comes_before_the_conversions_row_costs_no_notes(
    pipeline: Pipeline, batch: BatchId
) -> None:
    """The object is announced before its row is written."""
    before = rows(pipeline.database)["recordings"]
    execute(pipeline.database, "UPDATE batches SET sealed_at = NULL")
    execute(pipeline.database, "DELETE FROM recordings")
    pipeline.store.delete(batch.manifest_key)
    transcribed(pipeline, batch, [1])
    assert recordings(pipeline, batch)[0].tags is None
    assert pipeline.unpack().handle([event_for(pipeline, batch.archive_key)]) == [None]
    after = rows(pipeline.database)["recordings"]
    for row in (*before, *after):
        for name in ("state", "transcript_key", "transcript_notes", "duration", "loudness_dbfs"):
            del row[name]
    assert after == before


@pytest.mark.parametrize("lost", ["nothing", "the rows"])
def test_an_interrupted_unpack_loses_neither_notes_nor_tags(
    pipeline: Pipeline, batch: BatchId, lost: str
) -> None:
    head, entries = manifest(pipeline, batch)
    stored = pipeline.store.head(AudioId(batch, 1).opus_key)
    assert stored is not None
    pipeline.store.delete(batch.manifest_key)
    execute(pipeline.database, "UPDATE batches SET sealed_at = NULL")
    if lost == "the rows":
        execute(pipeline.database, "DELETE FROM recordings WHERE ordinal < 2")
    assert pipeline.unpack().handle([event_for(pipeline, batch.archive_key)]) == [None]
    again, found = manifest(pipeline, batch)
    assert [(each.notes, each.tags) for each in found] == [
        (each.notes, each.tags) for each in entries
    ]
    assert again.totals == head.totals
    if lost == "nothing":
        assert pipeline.store.head(AudioId(batch, 1).opus_key) == stored


def test_rebuild_restores_notes_and_tags(pipeline: Pipeline, batch: BatchId) -> None:
    transcribed(pipeline, batch, range(3))
    before = rows(pipeline.database)
    execute(pipeline.database, "DELETE FROM batches")
    with open_rebuilder(pipeline.environment, quiet_log()) as rebuilder:
        rebuilder.rebuild(batch)
    assert rows(pipeline.database) == before


def test_documents_from_before_there_were_notes_are_still_read(
    pipeline: Pipeline, batch: BatchId
) -> None:
    transcribed(pipeline, batch, range(3))
    for key in (AudioId(batch, 0).transcript_key, batch.complete_key):
        document = json.loads(pipeline.store.read(key))
        del document["notes"]
        pipeline.store.write(key, json.dumps(document).encode(), content_type="application/json")
    with open_rebuilder(pipeline.environment, quiet_log()) as rebuilder:
        assert rebuilder.rebuild(batch).state == "complete"
    assert recordings(pipeline, batch)[0].transcript_notes == ()


def test_a_row_without_tags_does_not_replace_notes(pipeline: Pipeline, batch: BatchId) -> None:
    """An object's metadata holds fewer of them."""
    before = recordings(pipeline, batch)[0]
    pipeline.database.put_recording(replace(before, notes=(), tags=None))
    assert recordings(pipeline, batch)[0] == before


def test_notes_are_shown(pipeline: Pipeline, batch: BatchId, run: Run, tmp_path: Path) -> None:
    transcribed(pipeline, batch, range(3))
    shown = printed(run("status", str(batch), "--json"))["recordings"]
    (note, of_words) = shown[0]["notes"]
    assert (note["code"], of_words["code"]) == ("breaks_off", "no_word_times")
    assert shown[1]["tags"]["artist"] == "Zoë"
    assert "missing: " in run("status", str(batch)).stdout
    members = printed(run("status", str(batch), "--members", "--json"))["members"]
    assert [each["path"] for each in members] == list(MEMBERS)
    assert members[0]["notes"] == [note]
    assert "cut.wav" in run("status", str(batch), "--members").stdout
    assert run("status", str(batch), "--out", str(tmp_path / "out")).exit_code == 0
    assert "Interview" in (tmp_path / "out" / "members.csv").read_text()
    transcript = json.loads(
        run("transcripts", str(batch), "--format", "json").stdout.splitlines()[0]
    )
    assert transcript["notes"][0]["code"] == "breaks_off"


def test_members_of_an_unread_archive_are_unknown(run: Run, pipeline: Pipeline) -> None:
    result = run("status", "20250622-143052-a1b2c3", "--members")
    assert result.exit_code == 1
    assert "not known before its archive is read" in result.stderr
    assert run("status", "--members").exit_code == 2


def duplicates(entries: list[ManifestEntry]) -> list[str]:
    return [note.text for each in entries for note in each.notes if note.code == NoteCode.DUPLICATE]


def test_the_same_bytes_are_noted_with_where_they_were(pipeline: Pipeline, tmp_path: Path) -> None:
    """In one archive, where the first may still be in work, and in an earlier one."""
    first = unpacked(pipeline, tmp_path, tar_of({"a.wav": WAV, "b.wav": WAV, "c.mp3": TAGGED}))
    second = unpacked(pipeline, tmp_path, tar_of({"again.mp3": TAGGED}))
    assert duplicates(manifest(pipeline, first)[1]) == [f"the same bytes as {first}-0000000, a.wav"]
    assert duplicates(manifest(pipeline, second)[1]) == [
        f"the same bytes as {first}-0000002, c.mp3"
    ]


def test_of_two_batches_the_one_unpacked_later_has_the_note(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Their archives may be unpacked in another order than they were dropped in."""
    batches = [dropped(pipeline, tmp_path, tar_of({"a.mp3": TAGGED})) for _ in range(2)]
    unpacked_last, unpacked_first = sorted(batches, key=str)
    for batch in (unpacked_first, unpacked_last):
        pipeline.unpack().handle([event_for(pipeline, batch.archive_key)])
    assert duplicates(manifest(pipeline, unpacked_first)[1]) == []
    assert duplicates(manifest(pipeline, unpacked_last)[1]) == [
        f"the same bytes as {unpacked_first}-0000000, a.mp3"
    ]


def skipping(pipeline: Pipeline) -> Transcribe:
    return Transcribe(
        pipeline.context,
        recogniser=pipeline.recogniser,
        scratch=Scratch(pipeline.scratch_root),
        group=8,
        skips_duplicates=True,
    )


def test_duplicates_are_transcribed_once_by_a_setting(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.recogniser = NotingRecogniser()
    batch = unpacked(pipeline, tmp_path, tar_of({"a.wav": WAV, "b.wav": WAV}))
    events = [event_for(pipeline, AudioId(batch, ordinal).opus_key) for ordinal in (0, 1)]
    handler = skipping(pipeline)
    first, second = handler.handle(events)
    assert first is None
    assert isinstance(second, BusyError)
    assert handler.handle(events[1:]) == [None]
    assert pipeline.recogniser.groups == [1]
    one, two = (
        Transcript.from_json(pipeline.store.read(AudioId(batch, ordinal).transcript_key))
        for ordinal in (0, 1)
    )
    assert (two.text, two.state, two.audio_id) == (one.text, "transcribed", f"{batch}-0000001")
    assert codes(two.notes) == [NoteCode.DUPLICATE, NoteCode.NO_WORD_TIMES, NoteCode.DUPLICATE]
    assert [each.state for each in recordings(pipeline, batch)] == ["transcribed"] * 2


@pytest.mark.parametrize(
    "fate",
    [
        "state = 'rejected'",
        "stalled = 'the model is not there'",
        "created_at = now() - interval '7 h'",
    ],
)
def test_a_duplicate_is_not_lost_with_the_first(
    pipeline: Pipeline, tmp_path: Path, fate: str
) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of({"a.wav": WAV, "b.wav": WAV}))
    execute(pipeline.database, f"UPDATE recordings SET {fate} WHERE ordinal = 0")  # noqa: S608
    event = event_for(pipeline, AudioId(batch, 1).opus_key)
    assert skipping(pipeline).handle([event]) == [None]
    assert recordings(pipeline, batch)[1].text == "2 seconds of sound"


def test_a_transcript_that_is_gone_is_made_again(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of({"a.wav": WAV, "b.wav": WAV}))
    transcribed(pipeline, batch, [0])
    pipeline.store.delete(AudioId(batch, 0).transcript_key)
    event = event_for(pipeline, AudioId(batch, 1).opus_key)
    assert skipping(pipeline).handle([event]) == [None]
    assert pipeline.recogniser.groups == [1, 1]


def test_recordings_are_found_by_their_tags(pipeline: Pipeline, batch: BatchId, run: Run) -> None:
    transcribed(pipeline, batch, [0, 1])
    (hit,) = printed(run("search", "zoë -harbour", "--json"))["hits"]
    assert hit["path"] == "tagged.mp3"
    assert "artist: [Zoë]" in hit["passage"]
    # What matches twice is found once, by its words.
    both = printed(run("search", "seconds or interview", "--json"))["hits"]
    assert [each["path"] for each in both] == ["cut.wav", "tagged.mp3"]
    assert all("[seconds]" in each["passage"] for each in both)
    assert run("search", "aubergine").exit_code == 1


def test_hostile_tags_are_searched_and_shown_as_text(
    pipeline: Pipeline, run: Run, tmp_path: Path
) -> None:
    tags = {"title": "\x1b[2J harbour \x07[bold]", "'); DROP TABLE recordings; --": "x"}
    hostile = made(Recipe("mp3", "libmp3lame", tags=tags))
    unpacked(pipeline, tmp_path, tar_of({"a.mp3": hostile}))
    shown = run("search", "harbour", COLUMNS="200").stdout
    # A headline ends with a word.
    assert "[bold" in shown
    assert not any(each in shown for each in "\x1b\x07")


#: Before and behind their recordings, in another case, in a folder, and of no recording.
SIDECARS = {
    "day/a.json": b'{"place": "harbour", "by": "Zo\xc3\xab"}',
    "day/a.wav": WAV,
    "day/B.WAV": WAV,
    "day/b.wav.txt": b"\xff\xfe" + "lighthouse \0\x1b[2J".encode("utf-16-le"),
    "day/a.txt": b"harbour, and a bell",
    "a.txt": b"harbour: of no recording in this folder",
    "README": b"harbour",
    "long.txt": b"harbour " * 10_000,
}


def test_recordings_are_found_by_the_texts_beside_them(
    pipeline: Pipeline, run: Run, tmp_path: Path
) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of(SIDECARS))
    _, entries = manifest(pipeline, batch)
    texts = {entry.path: entry.text for entry in entries if entry.text is not None}
    assert list(texts) == ["day/a.json", "day/b.wav.txt", "day/a.txt", "a.txt"]
    assert texts["day/b.wav.txt"] == "lighthouse \0\x1b[2J"
    assert entries[-1].reason == "text: more than 64 KiB, so its content is not kept"
    (hit,) = printed(run("search", "harbour", "--json"))["hits"]
    assert (hit["path"], hit["passage"].partition(":")[0]) == ("day/a.wav", "day/a.json")
    assert "[harbour]" in hit["passage"]
    (hit,) = printed(run("search", "bell", "--json"))["hits"]
    assert hit["path"] == "day/a.wav"
    shown = run("search", "lighthouse", COLUMNS="200").stdout
    assert "day/B.WAV" in shown
    assert "\x1b" not in shown
    # What matches twice is found once, by its words.
    transcribed(pipeline, batch, [1])
    hits = printed(run("search", "seconds or harbour", "--json"))["hits"]
    assert [each["path"] for each in hits] == ["day/a.wav"]
    assert "[seconds]" in hits[0]["passage"]
    members = printed(run("status", str(batch), "--members", "--json"))["members"]
    assert members[0]["text"] == texts["day/a.json"]


@pytest.mark.parametrize("lost", ["the manifest", "the rows", "all rows"])
def test_sidecars_outlast_crashes_and_rebuilds(
    pipeline: Pipeline, tmp_path: Path, lost: str
) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of(SIDECARS))
    before = rows(pipeline.database)["sidecars"]
    assert len(before) == 4
    if lost == "all rows":
        execute(pipeline.database, "DELETE FROM batches")
        with open_rebuilder(pipeline.environment, quiet_log()) as rebuilder:
            rebuilder.rebuild(batch)
    else:
        execute(pipeline.database, "UPDATE batches SET sealed_at = NULL")
        if lost == "the manifest":
            pipeline.store.delete(batch.manifest_key)
        else:
            execute(pipeline.database, "DELETE FROM sidecars")
        assert pipeline.unpack().handle([event_for(pipeline, batch.archive_key)]) == [None]
    assert rows(pipeline.database)["sidecars"] == before


def with_chapters(*chapters: tuple[int, int, str]) -> bytes:
    """Make a recording of three seconds; times are in milliseconds."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000)
        stream.codec_context.layout = "mono"
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": start,
                    "end": end,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title} if title else {},
                }
                for number, (start, end, title) in enumerate(chapters, 1)
            ]
        )
        frame = av.AudioFrame(format="s16", layout="mono", samples=48_000)
        frame.sample_rate = 16_000
        frame.planes[0].update(bytes(96_000))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def test_chapters_are_tags(pipeline: Pipeline, run: Run, tmp_path: Path) -> None:
    recording = with_chapters((0, 1000, "Prologue \x1b[2J"), (1000, 2500, ""))
    batch = unpacked(pipeline, tmp_path, tar_of({"a.mkv": recording}))
    _, (entry,) = manifest(pipeline, batch)
    assert entry.tags["chapter 1"] == "0.000 to 1.000 s: Prologue \x1b[2J"
    assert entry.tags["chapter 2"] == "1.000 to 2.500 s"
    (hit,) = printed(run("search", "prologue", "--json"))["hits"]
    assert hit["path"] == "a.mkv"
