"""Loudness and silence, judged by the loudest second."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.audio.loudness import Loudness, LoudnessMeter
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from tests.harness.samples.sounds import Signal, dbfs, silence, stereo, transcoded, voice, wav

pytestmark = pytest.mark.sound

RATE = 16_000


@pytest.fixture(scope="module")
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), MediaLimits(), silence_dbfs=-60.0) as pool:
        yield pool


def measured(sound: Signal, block: int = 1000) -> Loudness:
    meter = LoudnessMeter(RATE)
    pcm = (sound * 32767).astype(np.int16).tobytes()
    for start in range(0, len(pcm), block * 2):
        meter.add(pcm[start : start + block * 2])
    return meter.result()


def test_levels_are_those_of_the_sound() -> None:
    sound = voice(5.5, level_dbfs=-23.0)

    loudness = measured(sound)

    assert loudness.overall == pytest.approx(-23.0, abs=0.1)
    assert loudness.peak == pytest.approx(20 * np.log10(np.abs(sound).max()), abs=0.1)
    assert loudness.loudest == pytest.approx(-23.0, abs=0.1)


def test_the_loudest_second_is_found_among_quiet_ones() -> None:
    loudness = measured(np.concatenate([silence(3), voice(1, level_dbfs=-20), silence(4)]))

    assert loudness.loudest == pytest.approx(-20.0, abs=0.1)
    assert loudness.overall == pytest.approx(-20.0 - 10 * np.log10(8), abs=0.1)


def test_a_click_in_a_short_rest_weighs_as_it_does_in_a_second() -> None:
    click = np.full(16, 0.5, np.float32)

    loudness = measured(np.concatenate([silence(2.001), click]))

    assert loudness.loudest == pytest.approx(dbfs(np.concatenate([silence(0.999), click])), abs=0.5)


def test_sound_of_less_than_a_second_is_judged_as_it_is() -> None:
    assert measured(voice(0.25)).loudest == pytest.approx(dbfs(voice(0.25)), abs=0.1)


def test_digital_silence_has_the_lowest_loudness() -> None:
    nothing = Loudness(None, None, None)
    assert measured(silence(3)) == measured(silence(0)) == nothing
    assert nothing.is_silent(-100.0)


@given(st.integers(1, 40_000), st.integers(0, 3 * RATE))
def test_the_block_size_does_not_change_the_loudness(block: int, samples: int) -> None:
    sound = voice(3)[:samples]
    assert measured(sound, block) == measured(sound, RATE)


@pytest.mark.parametrize(
    ("sound", "silent"),
    [
        (silence(3), True),
        (voice(3, level_dbfs=-70), True),
        (voice(3, level_dbfs=-50), False),
        (np.concatenate([silence(30), voice(1, level_dbfs=-50), silence(30)]), False),
    ],
    ids=["digital silence", "a hiss", "a whisper", "a whisper in a quiet minute"],
)
def test_a_recording_is_silent_if_no_second_of_it_is_not(
    pool: TranscoderPool, sound: Signal, *, silent: bool
) -> None:
    facts, _ = transcoded(pool, wav(sound))
    assert facts.silent is silent


def test_digital_silence_has_no_level(pool: TranscoderPool) -> None:
    facts, _ = transcoded(pool, wav(silence()))
    assert (facts.loudness_dbfs, facts.peak_dbfs, facts.loudest_dbfs) == (None, None, None)
    assert facts.duration == 2.0


def test_a_channel_that_is_a_copy_at_first_is_measured_on_its_own_then(
    pool: TranscoderPool,
) -> None:
    left = voice(6, level_dbfs=-40)
    right = np.concatenate([left[: 3 * RATE], voice(3, level_dbfs=-20)])
    facts, _ = transcoded(pool, stereo(left, right))
    assert facts.loudest_dbfs == pytest.approx(-20.0, abs=0.5)
