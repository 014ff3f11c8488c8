"""A transcript is read back as it was written, and its captions are accepted by players."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import Segment, Transcript, Word, render
from consumers.errors import PermanentError

SPOKEN = Transcript(
    audio_id="20250622-143052-a1b2c3-0000007",
    state="transcribed",
    reason=None,
    duration=9.5,
    language="en",
    language_probability=0.98,
    model="packaged:tiny.en",
    alignment="align/en",
    segments=(
        Segment(
            0.3,
            2.1,
            "Fish & chips for 3.",
            -0.18,
            (
                Word("Fish", 0.3, 0.6, 0.91),
                Word("&", None, None, None),
                Word("chips", 1.0, 1.4, 0.88),
                Word("for", 1.4, 1.6, 0.99),
                Word("3.", 1.7, 2.1, 0.42),
            ),
        ),
        Segment(4.0, 5.25, "The answer is <yes> --> go.", None, (), -23.4),
    ),
)

times = st.none() | st.floats(0, 1e6)
words = st.builds(Word, st.text(max_size=60), times, times, st.none() | st.floats(0, 1))


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """Any text, its own words in it or others, in any order of times."""
    text = draw(st.text(max_size=300))
    own = st.sampled_from(text.split() or [""])
    own_words = st.builds(Word, own, times, times, st.none())
    return Segment(
        draw(st.floats(0, 1e6)),
        draw(st.floats(0, 1e6)),
        text,
        draw(st.none() | st.floats(-10, 0)),
        tuple(draw(st.lists(own_words | words, max_size=8))),
        draw(st.none() | st.floats(-100, 0)),
    )


transcripts = st.builds(
    Transcript,
    audio_id=st.text(),
    state=st.sampled_from(["transcribed", "silent", "rejected"]),
    reason=st.none() | st.text(),
    duration=st.floats(0, 1e6),
    language=st.none() | st.text(),
    language_probability=st.none() | st.floats(0, 1),
    model=st.none() | st.text(),
    alignment=st.none() | st.text(),
    segments=st.lists(segments(), max_size=4).map(tuple),
    notes=st.lists(
        st.builds(Note, code=st.sampled_from(NoteCode), text=st.text(), start=st.floats(0, 1e6))
    ).map(tuple),
)


def with_text(text: str, start: float = 0.0, end: float = 10.0, *words: Word) -> Transcript:
    return replace(SPOKEN, segments=(Segment(start, end, text, None, words),))


@given(transcripts)
def test_json_gives_back_the_same_transcript(transcript: Transcript) -> None:
    assert Transcript.from_json(transcript.to_json()) == transcript


def test_json_has_a_version_and_a_stable_order() -> None:
    document = json.loads(SPOKEN.to_json())

    assert list(document)[:3] == ["version", "audio_id", "state"]
    assert document["version"] == 1
    assert SPOKEN.to_json() == Transcript.from_json(SPOKEN.to_json()).to_json()


def test_fields_of_a_later_program_are_skipped() -> None:
    document = json.loads(SPOKEN.to_json())
    document["speakers"] = ["A", "B"]
    document["segments"][0]["speaker"] = "A"

    assert Transcript.from_json(json.dumps(document).encode()) == SPOKEN


def test_a_transcript_from_before_loudness_was_measured_can_be_read() -> None:
    document = json.loads(SPOKEN.to_json())
    for segment in document["segments"]:
        del segment["loudness_dbfs"]

    read = Transcript.from_json(json.dumps(document).encode())

    assert [segment.loudness_dbfs for segment in read.segments] == [None, None]
    assert read.text == SPOKEN.text


def changed(path: list[str | int], value: Any) -> bytes:
    document: Any = json.loads(SPOKEN.to_json())
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "words_of_the_error"),
    [
        (b"", "truncated"),
        (b"\xff\xfe\x00", "malformed"),
        (b"[" * 100_000, "Expected `object`"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `version`"),
        (changed(["version"], 2), "version 2"),
        (changed(["state"], "lost"), "$.state"),
        (changed(["duration"], "9.5"), "$.duration"),
        (changed(["duration"], True), "$.duration"),
        (changed(["duration"], float("nan")), "malformed"),
        (changed(["duration"], 10**400), "$.duration"),
        (SPOKEN.to_json().replace(b"9.5", b"1e999"), "$.duration"),
        (changed(["audio_id"], None), "$.audio_id"),
        (changed(["reason"], "\ud800"), "hex escape"),
        (changed(["segments", 0, "loudness_dbfs"], "loud"), "$.segments[0].loudness_dbfs"),
        (changed(["segments"], {}), "$.segments"),
        (changed(["segments", 1], "hello"), "$.segments[1]"),
        (changed(["segments", 0, "words", 2, "start"], "soon"), "words[2]"),
    ],
)
def test_an_invalid_transcript_is_refused_with_the_reason(
    data: bytes, words_of_the_error: str
) -> None:
    with pytest.raises(PermanentError, match=re.escape(words_of_the_error)):
        Transcript.from_json(data)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_any_other_bytes_are_refused(data: bytes | str) -> None:
    with pytest.raises(PermanentError):
        Transcript.from_json(data.encode() if isinstance(data, str) else data)


def test_the_text_has_all_segments_in_one_line() -> None:
    assert SPOKEN.text == "Fish & chips for 3. The answer is <yes> --> go."


def test_plain_text_has_a_segment_per_line() -> None:
    assert render(SPOKEN, "txt") == "Fish & chips for 3.\nThe answer is <yes> --> go.\n"


def test_srt() -> None:
    assert render(SPOKEN, "srt") == (
        "1\n00:00:00,300 --> 00:00:02,100\nFish & chips for 3.\n"
        "\n"
        "2\n00:00:04,000 --> 00:00:05,250\nThe answer is <yes> -> go.\n"
    )


def test_vtt_escapes_markup() -> None:
    assert render(SPOKEN, "vtt") == (
        "WEBVTT\n"
        "\n"
        "00:00:00.300 --> 00:00:02.100\nFish &amp; chips for 3.\n"
        "\n"
        "00:00:04.000 --> 00:00:05.250\nThe answer is &lt;yes&gt; --&gt; go.\n"
    )


def test_a_recording_without_speech_has_empty_captions() -> None:
    silent = replace(SPOKEN, state="silent", reason="silent throughout", segments=())

    assert render(silent, "srt") == render(silent, "txt") == ""
    assert render(silent, "vtt") == "WEBVTT\n"


def test_a_hundred_hours_are_written_out() -> None:
    late = with_text("Still here.", 360_000.0, 363_661.5)

    assert "100:00:00,000 --> 101:01:01,500" in render(late, "srt")


def cues_of(srt: str) -> list[tuple[int, int, list[str]]]:
    """Parse an SRT file: (start, end) in milliseconds, and lines."""
    cues = []
    for number, block in enumerate(srt.removesuffix("\n").split("\n\n") if srt else [], 1):
        index, stamp, *lines = block.split("\n")
        assert int(index) == number
        parts = re.fullmatch(
            r"(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})", stamp
        )
        assert parts is not None, stamp
        h1, m1, s1, t1, h2, m2, s2, t2 = map(int, parts.groups())
        start = ((h1 * 60 + m1) * 60 + s1) * 1000 + t1
        end = ((h2 * 60 + m2) * 60 + s2) * 1000 + t2
        cues.append((start, end, lines))
    return cues


@given(transcripts)
def test_cues_never_overlap_and_fit_the_screen_and_lose_no_text(transcript: Transcript) -> None:
    cues = cues_of(render(transcript, "srt"))

    clock = 0
    for start, end, lines in cues:
        assert clock <= start < end
        assert 1 <= len(lines) <= 2
        assert all(0 < len(line) <= 42 for line in lines)
        clock = end
    shown = "".join("".join(line.split()) for _, _, lines in cues for line in lines)
    said = "".join("".join(segment.text.split()) for segment in transcript.segments)
    assert shown.replace("->", "").replace("-", "") == said.replace("-->", "").replace("-", "")


LONG = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen"
)


def test_a_long_segment_is_cut_where_its_words_are() -> None:
    words = [Word(text, float(i), i + 0.5, 0.9) for i, text in enumerate(LONG.split())]

    cues = cues_of(render(with_text(LONG, 0.0, 15.5, *words), "srt"))

    assert cues == [
        (
            0,
            13_500,
            ["one two three four five six seven eight", "nine ten eleven twelve thirteen fourteen"],
        ),
        (14_000, 15_500, ["fifteen sixteen"]),
    ]


def test_without_word_times_the_cut_goes_by_length() -> None:
    (first, second) = cues_of(render(with_text(LONG, 0.0, float(len(LONG))), "srt"))

    assert first[:2] == (0, 1000 * LONG.index("fifteen"))
    assert second == (1000 * LONG.index("fifteen"), 1000 * len(LONG), ["fifteen sixteen"])


def test_a_caption_ends_at_a_long_pause() -> None:
    words = [Word("Wait.", 0.0, 0.5, 0.9), Word("Now!", 20.0, 20.5, 0.9)]

    cues = cues_of(render(with_text("Wait. Now!", 0.0, 20.5, *words), "srt"))

    assert cues == [(0, 500, ["Wait."]), (20_000, 20_500, ["Now!"])]


def test_text_without_spaces_is_joined_and_cut_at_the_line_length() -> None:
    text = "今日はとても静かな朝でした" * 8
    words = [Word(c, i / 10, (i + 1) / 10, 0.9) for i, c in enumerate(text)]

    (first, second) = cues_of(render(with_text(text, 0.0, 10.4, *words), "srt"))

    assert first == (0, 8400, [text[:42], text[42:84]])
    assert second == (8400, 10_400, [text[84:]])


def test_segments_that_overlap_are_shown_one_after_the_other() -> None:
    both = (Segment(0.0, 5.0, "First.", None, ()), Segment(4.0, 6.0, "Second.", None, ()))

    cues = cues_of(render(replace(SPOKEN, segments=both), "srt"))

    assert cues == [(0, 5000, ["First."]), (5000, 6000, ["Second."])]
