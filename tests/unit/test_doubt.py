"""Doubtful passages: their signs, times and reasons."""

from __future__ import annotations

import textwrap
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from consumers.documents.transcript import (
    Doubt,
    DoubtLimits,
    Segment,
    Transcript,
    Word,
    doubts,
    with_loudness,
)
from consumers.documents.transcript.repetition import compression_ratio
from tests.harness.samples.sounds import silence, voice

LIMITS = DoubtLimits()

#: Said once, by a person: a sentence a segment, four seconds each.
SENTENCES = (
    "The river was very quiet this morning, and we walked home along the water.",
    "My grandfather worked on the railway for many years.",
    "Please call me after lunch.",
    "I would like to change my appointment.",
    "Tomorrow will be cold and windy, with heavy rain in the afternoon.",
    "The coffee is on the table.",
    "She asked whether anybody had seen the keys to the old house.",
    "We are going to need a bigger ladder.",
)

HINDI = (
    "आज सुबह नदी बहुत शांत थी और हम पानी के किनारे चलते हुए घर लौटे। मेरे दादाजी कई साल "
    "तक रेलवे में काम करते थे। कृपया दोपहर के भोजन के बाद मुझे फोन करें। मैं अपनी नियुक्ति का "
    "समय बदलना चाहता हूँ। कल ठंड और तेज हवा होगी, दोपहर में भारी बारिश होने की संभावना है। "
    "बच्चे स्कूल से लौटकर मैदान में खेलने गए और शाम को सबने मिलकर खाना खाया।"
)
RUSSIAN = (
    "Сегодня утром река была очень спокойной, и мы шли домой вдоль воды. Мой дедушка "
    "много лет работал на железной дороге. Пожалуйста, позвоните мне после обеда."
)
LICENCE = Path(__file__).parents[2] / "LICENSE"


def transcript(*segments: Segment, duration: float | None = None) -> Transcript:
    end = max((segment.end for segment in segments), default=0.0)
    return Transcript(
        "20250622-143052-a1b2c3-0000007",
        "transcribed",
        None,
        end if duration is None else duration,
        "en",
        0.98,
        "tiny.en",
        None,
        segments,
    )


def segment(
    start: float,
    end: float,
    text: str = "Hello there.",
    logprob: float | None = -0.2,
    loudness: float | None = -20.0,
) -> Segment:
    return Segment(start, end, text, logprob, (), loudness)


def spoken(*texts: str, seconds: float = 4.0) -> tuple[Segment, ...]:
    return tuple(
        segment(n * seconds, (n + 1) * seconds - 0.5, text) for n, text in enumerate(texts)
    )


def found(*segments: Segment) -> list[Doubt]:
    return doubts(transcript(*segments), LIMITS)


def test_clear_speech_is_not_doubtful() -> None:
    assert found(*spoken(*SENTENCES)) == []
    assert found() == []


class TestUnsure:
    def test_a_segment_of_low_probability_is_doubtful(self) -> None:
        (doubt,) = found(segment(0, 4), segment(10, 14, logprob=-1.42), segment(20, 24))

        assert doubt == Doubt(
            "unsure", 10, 14, "low confidence: mean log probability -1.42 (below -1.0)"
        )

    def test_adjacent_segments_are_one_passage_with_their_weighted_mean(self) -> None:
        (doubt,) = found(segment(0, 9, logprob=-1.1), segment(9.5, 12.5, logprob=-2.1))

        assert (doubt.start, doubt.end) == (0, 12.5)
        assert "-1.35 (" in doubt.reason

    def test_distant_doubts_are_two_passages(self) -> None:
        first, second = found(segment(0, 9, logprob=-1.1), segment(30, 33, logprob=-1.1))
        assert (first.end, second.start) == (9, 30)

    def test_a_probability_that_is_not_known_raises_no_doubt(self) -> None:
        assert found(segment(0, 9, logprob=None)) == []

    def test_a_segment_without_words_has_none_to_doubt(self) -> None:
        assert found(segment(0, 9, " ", logprob=-3, loudness=-90)) == []


class TestLoop:
    def test_words_that_are_repeated_in_one_segment_are_found_where_they_are(self) -> None:
        loop = " ".join(["able to be"] * 8)
        words = ("It", "was", "said", *loop.split(), "and", "so", "on")
        times = tuple(Word(w, 10 + n / 2, 10.4 + n / 2, 0.9) for n, w in enumerate(words))
        aligned = structs.replace(segment(10, 25, " ".join(words)), words=times)

        (doubt,) = doubts(transcript(aligned), replace(LIMITS, compression=99))

        assert (doubt.start, doubt.end) == (11.5, 23.4)
        assert doubt.reason == "repetitive text: the same 3 words 8 times in a row"

    def test_without_times_of_words_their_place_is_told_by_their_length(self) -> None:
        text = SENTENCES[0] + " no" * 40

        (doubt,) = doubts(transcript(segment(0, 20, text)), replace(LIMITS, compression=99))

        # 59 letters come before its 80.
        assert doubt.start == pytest.approx(20 * 59 / 139)
        assert doubt.end == pytest.approx(20)
        assert "the same word 40 times" in doubt.reason

    def test_a_loop_over_many_segments_is_one_passage(
        self,
    ) -> None:
        loop = ["Thank you for watching."] * 6
        (doubt,) = found(*spoken(*SENTENCES[:4], *loop, *SENTENCES[4:]))

        assert (doubt.kind, doubt.start, doubt.end) == ("loop", 16, 39.5)
        assert "the same 4 words 6 times in a row, compression ratio" in doubt.reason

    def test_case_and_punctuation_make_no_difference(self) -> None:
        (doubt,) = found(*spoken("Oh, no!", "oh no", "OH NO...", "Oh - no", "“Oh, no.”"))
        assert "the same 2 words 5 times" in doubt.reason

    def test_a_loop_that_is_not_exact_is_found_by_its_compression(self) -> None:
        texts = [f"This is what we're talking about, number {n}." for n in range(6)]
        (doubt,) = found(*spoken(*SENTENCES[:3], *texts, *SENTENCES[3:]))

        assert doubt.start >= 12 - 4
        assert doubt.end <= 36 + 4
        assert "times" not in doubt.reason
        assert "(above 2.4)" in doubt.reason

    @pytest.mark.parametrize(
        "text",
        [
            "No, no, no, no!",
            "One two three four five six seven eight nine ten. " * 2,
            "Yes. Yes, yes. I see.",
            "Bye. Bye. Bye-bye.",
        ],
    )
    def test_people_repeat_themselves_a_little(self, text: str) -> None:
        assert found(segment(0, 10, text)) == []

    def test_a_long_text_is_no_loop_however_well_it_compresses(self) -> None:
        text = LICENCE.read_text(encoding="utf-8")
        # Read out at 15 characters a second.
        read_out = spoken(*textwrap.wrap(" ".join(text.split()), 60))

        assert compression_ratio(transcript(*read_out).text) > LIMITS.compression
        assert found(*read_out) == []

    def test_a_script_without_spaces_goes_in_circles_as_well(self) -> None:
        (doubt,) = found(segment(0, 10, "ご視聴ありがとうございました" * 5))
        assert "5 times in a row" in doubt.reason

    @pytest.mark.parametrize(
        "text",
        [HINDI, RUSSIAN],
        ids=["Hindi", "Russian"],
    )
    def test_scripts_whose_bytes_compress_well_are_not_loops_for_that(self, text: str) -> None:
        assert compression_ratio(text) < 1.6
        assert found(segment(0, 30, text)) == []


class TestSilence:
    def test_words_over_silence_are_doubtful(self) -> None:
        sound = np.concatenate([voice(4), silence(4), voice(4, level_dbfs=-65)])
        three = transcript(
            segment(0, 4, loudness=None), segment(4, 8, "you"), segment(11, 12, "Thanks.")
        )
        measured = with_loudness(three, sound.astype(np.float32), 16_000)

        digital, quiet = doubts(measured, LIMITS)

        reason = "words over silence: "
        assert digital == Doubt("silence", 4, 8, f"{reason}digital silence (below -60.0 dBFS)")
        assert (quiet.kind, quiet.start, quiet.end) == ("silence", 11, 12)
        assert quiet.reason.startswith(f"{reason}-65.")

    def test_unmeasured_segments_are_not_doubtful(self) -> None:
        assert found(segment(0, 9, loudness=None)) == []


def test_one_passage_can_be_doubtful_in_every_way() -> None:
    every = found(segment(0, 9, "you " * 30, logprob=-1.5, loudness=-80))
    assert {(doubt.start, doubt.end) for doubt in every} == {(0, 9)}
    assert [doubt.kind for doubt in every] == ["loop", "silence", "unsure"]


def test_a_long_passage_is_cut_and_its_reason_has_the_length() -> None:
    long = [segment(n * 10, n * 10 + 9, SENTENCES[n % 8], logprob=-1.5) for n in range(12)]

    (doubt,) = found(*long)

    assert (doubt.start, doubt.end) == (0, 60)
    assert doubt.reason.endswith("; it goes on for 119 s, and this is its beginning")


def test_times_beyond_the_recording_are_clamped() -> None:
    (doubt,) = doubts(transcript(segment(8, 11.2, logprob=-2), duration=10), LIMITS)
    assert (doubt.start, doubt.end) == (8, 10)


TEXTS = st.one_of(
    st.text(max_size=200),
    st.sampled_from(SENTENCES),
    st.builds(lambda text, n: f"{text} " * n, st.text(max_size=12), st.integers(1, 40)),
)
TIMES = st.floats(-10, 4000)
WORDS = st.builds(Word, st.text(max_size=10), st.none() | TIMES, st.none() | TIMES, st.none())
SEGMENTS = st.builds(
    Segment,
    TIMES,
    TIMES,
    TEXTS,
    st.none() | st.floats(-5, 0),
    st.lists(WORDS, max_size=30).map(tuple),
    st.none() | st.floats(-100, 0),
)
TRANSCRIPTS = st.builds(
    lambda segments, duration: transcript(*segments, duration=duration),
    st.lists(SEGMENTS, max_size=12),
    st.floats(0, 4000),
)

#: A long unsure passage, a loop, and words over silence.
EVERY_SIGN = transcript(
    segment(0, 45, logprob=-2),
    segment(46, 120, logprob=-2),
    segment(130, 160, "Thank you. " * 20),
    segment(170, 174, loudness=-80),
)


def test_the_example_has_every_sign() -> None:
    assert {each.kind for each in doubts(EVERY_SIGN, LIMITS)} == {"unsure", "loop", "silence"}


@example(EVERY_SIGN)
@given(TRANSCRIPTS)
def test_passages_lie_in_the_recording_can_be_heard_and_do_not_overlap(given: Transcript) -> None:
    passages = doubts(given, LIMITS)

    assert [each.start for each in passages] == sorted(each.start for each in passages)
    for kind in ("unsure", "loop", "silence"):
        end = -1.0
        for passage in (each for each in passages if each.kind == kind):
            assert 0 <= passage.start <= passage.end <= given.duration
            assert passage.end - passage.start <= LIMITS.passage + 1e-6
            assert end < passage.start
            end = passage.end


@example(EVERY_SIGN)
@given(TRANSCRIPTS)
def test_every_sign_lies_in_a_passage_or_in_the_rest_of_a_long_one(given: Transcript) -> None:
    passages = doubts(given, replace(LIMITS, passage=1e9))

    for each in given.segments:
        if not each.text.strip():
            continue
        start = min(max(0.0, each.start), given.duration)
        kinds = {p.kind for p in passages if p.start <= start <= p.end}
        if each.avg_logprob is not None and each.avg_logprob < LIMITS.logprob:
            assert "unsure" in kinds
        if each.loudness_dbfs is not None and each.loudness_dbfs < LIMITS.silence_dbfs:
            assert "silence" in kinds


@given(
    st.lists(st.sampled_from(SENTENCES), unique=True, max_size=8),
    st.lists(st.sampled_from(SENTENCES), unique=True, max_size=8),
    st.text("abcdefghij", min_size=3, max_size=12),
    st.integers(12, 30),
)
def test_a_loop_is_found_wherever_it_is(
    before: list[str], after: list[str], word: str, times: int
) -> None:
    segments = spoken(*before, *[word] * times, *after)

    (doubt,) = doubts(transcript(*segments), replace(LIMITS, passage=1e9))

    assert doubt.kind == "loop"
    assert doubt.start == pytest.approx(len(before) * 4)
    assert doubt.end == pytest.approx((len(before) + times) * 4 - 0.5)


@given(st.text("abcdefghijklmnopqrstuvwxyz ,.", max_size=400))
def test_a_ratio_is_whispers_for_ascii(text: str) -> None:
    data = text.encode()
    assert compression_ratio(text) == len(data) / len(zlib.compress(data))


def test_one_doubtful_minute_of_ten_hours_is_found() -> None:
    dice = np.random.default_rng(1)
    words = [" ".join(map(str, row)) for row in dice.integers(0, 3000, (12_000, 8))]
    words[6000:6010] = ["Thank you."] * 10

    (doubt,) = found(*spoken(*words, seconds=3))

    assert (doubt.start, doubt.end) == (18_000, 18_029.5)
