"""Each segment gets the level of the sound under it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.documents.transcript import QUIETEST_DBFS, Segment, Transcript, with_loudness
from tests.harness.samples.archives import peak_memory
from tests.harness.samples.sounds import Signal, silence, voice

RATE = 16_000
MIB = 1 << 20


def transcript(*times: tuple[float, float]) -> Transcript:
    segments = tuple(Segment(start, end, "Hello.", None, ()) for start, end in times)
    return Transcript("a", "transcribed", None, 9.0, "en", None, "m", None, segments)


def levels(sound: Signal, *times: tuple[float, float]) -> list[float | None]:
    measured = with_loudness(transcript(*times), sound, RATE)
    return [segment.loudness_dbfs for segment in measured.segments]


def test_each_segment_has_its_own_level() -> None:
    sound = np.concatenate([voice(3, level_dbfs=-20), voice(3, level_dbfs=-70), silence(3)])

    assert levels(sound, (0, 3), (3, 6), (6, 9)) == [
        pytest.approx(-20, abs=0.1),
        pytest.approx(-70, abs=0.1),
        QUIETEST_DBFS,
    ]


def test_a_segment_half_in_silence_is_three_decibels_quieter() -> None:
    sound = np.concatenate([voice(3, level_dbfs=-20), silence(3)])
    assert levels(sound, (0, 6)) == [pytest.approx(-23, abs=0.1)]


def test_sound_below_a_16_bit_step_counts_as_silence() -> None:
    assert levels(voice(2, level_dbfs=-120), (0, 2)) == [QUIETEST_DBFS]


def test_a_segment_that_goes_beyond_the_end_is_measured_to_the_end() -> None:
    assert levels(voice(2, level_dbfs=-20), (1, 60)) == [pytest.approx(-20, abs=0.2)]


@pytest.mark.parametrize("times", [(2.5, 3.0), (1.0, 1.0), (1.5, 1.0)])
def test_silence_has_no_loudness(times: tuple[float, float]) -> None:
    assert levels(voice(2), times) == [None]


def test_other_fields_stay_unchanged() -> None:
    before = transcript((0, 1))
    (segment,) = before.segments
    after = with_loudness(before, silence(1), RATE)
    assert after == replace(before, segments=(replace(segment, loudness_dbfs=QUIETEST_DBFS),))


def test_an_hour_is_measured_without_a_copy_of_it() -> None:
    hour = np.full(3600 * RATE, 0.1, np.float32)

    with peak_memory() as peak:
        (level,) = levels(hour, (0, 3600))

    assert level == pytest.approx(-20, abs=0.01)
    assert peak.value < MIB


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1, 1))
def test_any_times_and_samples_give_a_level_or_none(start: float, end: float, value: float) -> None:
    (level,) = levels(np.full(RATE, value, np.float32), (start, end))
    assert level is None or QUIETEST_DBFS <= level <= 0.01
