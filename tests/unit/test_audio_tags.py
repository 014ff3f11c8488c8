"""Tags and chapters of a recording are kept, and a child's answer is bounded and not trusted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from fractions import Fraction

import av
import pytest

from consumers.audio.media import Transcoded
from consumers.audio.notelog import MOST_OTHERS, MOST_PASSAGES, NoteLog
from consumers.audio.tags import LONGEST_TEXT, MOST_TAGS, Chapter, bounded_tags
from consumers.documents.note import Note, NoteCode
from tests.harness.samples.sounds import Recipe, chunk, made, transcoded_here, voice, wav

MESSAGE_BYTES = 1 << 16
FACTS = Transcoded(
    duration=1.0,
    codec="mp3",
    sample_rate=44_100,
    channels=2,
    loudness_dbfs=-20.0,
    peak_dbfs=-3.0,
    loudest_dbfs=-18.0,
    silent=False,
    damaged=0,
    size=100,
    layout="stereo",
    notes=(Note(NoteCode.GAP, "a gap", 1.0, 2.0),),
    tags={"title": "A title"},
    chapters=(Chapter(0.0, 1.0, "One"),),
)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("mp3", "libmp3lame"),
        Recipe("ogg", "flac"),
        Recipe("flac", "flac"),
        Recipe("matroska", "flac"),
        Recipe("ipod", "aac"),
        Recipe("wav", "pcm_s16le"),
    ],
    ids=lambda recipe: recipe.format,
)
def test_tags_of_every_container_are_kept(recipe: Recipe) -> None:
    tagged = replace(recipe, tags={"title": "Zoë's interview", "artist": "A. N. Other"})

    facts, _ = transcoded_here(made(tagged, voice(1, recipe.rate)))

    tags = {name.lower(): value for name, value in facts.tags.items()}
    assert (tags["title"], tags["artist"]) == ("Zoë's interview", "A. N. Other")


def test_a_recorder_is_known_by_its_chunk_of_a_broadcast_wave() -> None:
    bext = b"Interview".ljust(256, b"\0") + b"Zoom H5".ljust(32, b"\0") + bytes(32)
    bext += b"2025-06-22" + b"14:30:52" + bytes(8 + 2 + 254)

    facts, _ = transcoded_here(wav(voice(1), before=chunk(b"bext", bext)))

    assert facts.tags["comment"] == "Interview"
    assert facts.tags["encoded_by"] == "Zoom H5"
    assert (facts.tags["date"], facts.tags["creation_time"]) == ("2025-06-22", "14:30:52")


def test_chapters_are_kept() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("flac", rate=16_000)
        stream.codec_context.layout, stream.codec_context.format = "mono", "s16"
        container.set_chapters(
            [
                {
                    "id": 1,
                    "start": 0,
                    "end": 500,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "Greeting"},
                }
            ]
        )
        frame = av.AudioFrame.from_ndarray((voice(1) * 32767).astype("int16")[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    facts, _ = transcoded_here(file.getvalue())

    assert facts.chapters == (Chapter(0.0, 0.5, "Greeting"),)


def test_hostile_tags_are_bounded_data() -> None:
    kept = bounded_tags((f"name {number}", "\x1b[2J\0" + "ä" * 5_000) for number in range(500))

    assert 0 < len(kept) <= MOST_TAGS
    assert all(len(value.encode()) <= LONGEST_TEXT for value in kept.values())
    assert all("\0" not in value and value.startswith("\x1b[2J") for value in kept.values())
    assert len(json.dumps(kept)) < MESSAGE_BYTES / 3


def test_a_thousand_gaps_are_few_notes_of_all_the_silence() -> None:
    log = NoteLog()
    for number in range(1_000):
        log.silence(NoteCode.GAP, number * 10.0, number * 10.0 + 1)
        log.add(Note(NoteCode.UNREAD, f"part {number} \N{SNOWMAN}" * 100))

    notes = log.result()

    gaps = [note for note in notes if note.code == NoteCode.GAP]
    assert len(gaps) <= MOST_PASSAGES
    assert (gaps[0].start, gaps[-1].end) == (0, 9_991)
    silence = [float(note.text.split(" s;")[0].rpartition(" ")[2]) for note in gaps]
    assert sum(silence) == pytest.approx(1_000)
    assert notes[MOST_OTHERS].text == f"{1_000 - MOST_OTHERS} more notes are left out"
    assert len(json.dumps(replace(FACTS, notes=notes).to_message())) < MESSAGE_BYTES / 3


def test_an_answer_survives_its_message() -> None:
    message = json.loads(json.dumps(FACTS.to_message()))
    assert Transcoded.from_message(message, 1_000) == FACTS


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 1_001},
        {"notes": [{"code": "made up", "text": "x"}]},
        {"notes": [{"code": "gap"}]},
        {"notes": [{"code": "gap", "text": "x", "from": -1}]},
        {"notes": "x"},
        {"tags": ["x"]},
        {"tags": {"title": 1}},
        {"chapters": [{"start": 0, "end": 1}]},
        {"chapters": [{"start": "0", "end": 1, "title": "x"}]},
        {"layout": None},
        {"output_channels": None},
    ],
)
def test_an_answer_is_not_trusted(wrong: dict[str, object]) -> None:
    message = json.loads(json.dumps(FACTS.to_message()))
    with pytest.raises(ValueError, match=r"."):
        Transcoded.from_message({**message, **wrong}, 1_000)


def test_texts_of_a_child_are_made_printable() -> None:
    message = json.loads(json.dumps(FACTS.to_message()))
    message["notes"] = [{"code": "gap", "text": "\x1b[2J" + "x" * 999}]

    (note,) = Transcoded.from_message(message, 1_000).notes

    assert note.text.isprintable()
    assert len(note.text) == 300
