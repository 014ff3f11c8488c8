"""Recordings with several channels: one transcript of them, its captions and its doubts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import (
    DoubtLimits,
    Segment,
    Transcript,
    doubts,
    join_channels,
    render,
)
from consumers.documents.transcript.captions import cues
from consumers.documents.transcript.timing import text_between

ID = "20250622-143052-a1b2c3-0000007"


def said(start: float, end: float, text: str = "Hello.", logprob: float = -0.2) -> Segment:
    return Segment(start, end, text, logprob, (), -20.0)


def channel(*segments: Segment, **fields: Any) -> Transcript:
    transcript = Transcript(
        f"{ID} (channel)", "transcribed", None, 30.0, "en", 0.9, "m", "align/en", segments
    )
    return replace(transcript, **fields)


ANNA = channel(said(0, 3, "Who is there?"), said(6, 9, "Come in."))
BEN = channel(said(2.5, 5, "It's me."), said(6, 7, "Thanks."), duration=30.5)
BOTH = join_channels(ID, {1: ANNA, 2: BEN})


def test_the_words_of_each_channel_are_in_time_order_with_its_number() -> None:
    assert [(each.channel, each.text) for each in BOTH.segments] == [
        (1, "Who is there?"),
        (2, "It's me."),
        (1, "Come in."),
        (2, "Thanks."),
    ]
    assert BOTH.text == "Who is there? It's me. Come in. Thanks."
    assert (BOTH.audio_id, BOTH.duration, BOTH.alignment) == (ID, 30.5, "align/en")
    assert Transcript.from_json(BOTH.to_json()) == BOTH


def test_channels_in_one_language_do_not_repeat_it() -> None:
    assert BOTH.language == "en"
    assert {each.language for each in BOTH.segments} == {None}


def test_where_channels_differ_in_language_each_segment_has_its_own() -> None:
    german = replace(BEN, language="de", language_probability=0.7, alignment="align/de")
    joined = join_channels(ID, {1: ANNA, 2: german})
    assert (joined.language, joined.language_probability) == ("en", 0.9)
    assert [each.language for each in joined.segments] == ["en", "de", "en", "de"]
    assert joined.alignment == "align/en, align/de"


def test_a_channel_without_words_has_no_say_in_the_language() -> None:
    nothing = channel(language=None, language_probability=None, alignment=None)
    joined = join_channels(ID, {1: nothing, 2: BEN})
    assert (joined.language, joined.alignment) == ("en", "align/en")
    assert {(each.channel, each.language) for each in joined.segments} == {(2, None)}


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (None, None, None),
        ("no speech found", "no speech found", "no speech found"),
        (None, "no speech found", "channel 2: no speech found"),
        ("a", "b", "channel 1: a; channel 2: b"),
    ],
)
def test_reasons_name_their_channel(
    first: str | None, second: str | None, reason: str | None
) -> None:
    joined = join_channels(ID, {1: replace(ANNA, reason=first), 2: replace(BEN, reason=second)})
    assert joined.reason == reason


def test_a_note_on_all_channels_is_said_once() -> None:
    note = Note(NoteCode.NO_WORD_TIMES, "segment times only")
    own = Note(NoteCode.WORDLESS, "1 caption without a letter or a digit left out")
    both = {1: replace(ANNA, notes=(note,)), 2: replace(BEN, notes=(own, note))}
    assert join_channels(ID, both).notes == (note, replace(own, text=f"channel 2: {own.text}"))


def test_notes_name_their_channel() -> None:
    note = Note(NoteCode.WORDLESS, "1 caption without a letter or a digit left out")
    (found,) = join_channels(ID, {1: ANNA, 2: replace(BEN, notes=(note,))}).notes
    assert found == replace(note, text=f"channel 2: {note.text}")


def test_captions_name_the_channel_and_keep_their_times_where_people_talk_at_once() -> None:
    assert render(BOTH, "srt").split("\n\n")[:2] == [
        "1\n00:00:00,000 --> 00:00:03,000\n[channel 1] Who is there?",
        "2\n00:00:02,500 --> 00:00:05,000\n[channel 2] It's me.",
    ]
    assert render(BOTH, "vtt").split("\n\n")[1:3] == [
        "00:00:00.000 --> 00:00:03.000\n<v Channel 1>Who is there?",
        "00:00:02.500 --> 00:00:05.000\n<v Channel 2>It's me.",
    ]
    assert render(BOTH, "txt").splitlines()[:2] == [
        "[channel 1] Who is there?",
        "[channel 2] It's me.",
    ]


def test_captions_of_one_channel_name_none() -> None:
    for form in ("srt", "vtt", "txt"):
        assert "hannel" not in render(replace(ANNA, audio_id=ID), form)


def test_a_label_counts_towards_the_length_of_a_line() -> None:
    text = "word " * 30
    joined = join_channels(ID, {1: channel(said(0, 20, text)), 2: BEN})
    lines = [line for line in render(joined, "srt").splitlines() if "word" in line]
    assert max(map(len, lines)) <= 42
    assert " ".join(lines).replace("[channel 1] ", "").split() == text.split()


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 40), st.integers(1, 4), st.text(max_size=120)),
        max_size=12,
    )
)
def test_cues_are_in_order_and_overlap_only_between_channels(
    spans: list[tuple[float, float, int, str]],
) -> None:
    segments = [
        replace(said(start, start + length, text), channel=number)
        for start, length, number, text in sorted(spans)
    ]
    found = list(cues(segments))
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)
    for number in range(1, 5):
        clock = 0
        for cue in found:
            if cue.channel == number:
                assert clock <= cue.start < cue.end
                clock = cue.end


def test_the_text_of_a_passage_can_be_that_of_one_channel() -> None:
    assert text_between(BOTH, 0, 30) == "Who is there? It's me. Come in. Thanks."
    assert text_between(BOTH, 0, 30, 2) == "It's me. Thanks."


def test_two_people_who_agree_are_no_loop() -> None:
    yes = [said(n, n + 0.9, "Yes, yes, yes.") for n in range(2)]
    joined = join_channels(ID, {1: channel(*yes), 2: channel(*yes)})
    assert doubts(joined, DoubtLimits()) == []


def test_doubts_are_of_a_channel_and_do_not_join_those_of_another() -> None:
    joined = join_channels(
        ID,
        {
            1: channel(said(0, 4, logprob=-1.2), said(10, 12)),
            2: channel(said(3, 8, logprob=-1.4)),
        },
    )
    found = doubts(joined, DoubtLimits())
    assert [(each.channel, each.start, each.end) for each in found] == [(1, 0, 4), (2, 3, 8)]
    assert "-1.20 (" in found[0].reason


@pytest.mark.parametrize("text", ["a", "7", "ß", "港", "ไทย", "- yes -"])
def test_a_letter_or_a_digit_makes_words(text: str) -> None:
    assert said(0, 1, text).has_words


@pytest.mark.parametrize("text", ["", " ", ". .", "...", "♪♪", "-", "…", "?!", "🎵"])
def test_a_caption_of_other_characters_has_no_words(text: str) -> None:
    assert not said(0, 1, text).has_words
