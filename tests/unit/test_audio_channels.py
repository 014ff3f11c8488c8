"""Which channels hold the same sound, judged on synthetic voices; on human ones by a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from consumers.audio.channels import (
    MOST_OUTPUTS,
    ChannelJudge,
    ChannelLabel,
    ChannelPlan,
    ChannelSetting,
)
from consumers.audio.resample import Planes, distinct, samples
from consumers.documents.note import NoteCode

pytestmark = pytest.mark.sound

RATE = 16_000
SECONDS = 24

Sound = NDArray[np.float32]


def voice(seed: int, *turns: tuple[float, float], level: float = 0.2) -> Sound:
    """Make noise with the rhythm of speech: syllables of 0.1 to 0.3 s, in the given turns only."""
    random = np.random.default_rng(seed)
    sound = np.zeros(SECONDS * RATE, np.float32)
    for start, end in turns or ((0, SECONDS),):
        at = int(start * RATE)
        while at < end * RATE:
            length = int(random.uniform(0.1, 0.3) * RATE)
            syllable = random.standard_normal(length) * np.hanning(length) * random.uniform(0.4, 1)
            stop = min(at + length, int(end * RATE))
            sound[at:stop] += level * syllable[: stop - at].astype(np.float32)
            at += length + int(random.exponential(0.12) * RATE)
    return sound


def noise(seed: int, dbfs: float) -> Sound:
    random = np.random.default_rng(seed)
    return (random.standard_normal(SECONDS * RATE) * 10 ** (dbfs / 20)).astype(np.float32)


def late(sound: Sound, seconds: float) -> Sound:
    return np.roll(sound, int(seconds * RATE))


def judged(
    *channels: Sound,
    setting: ChannelSetting = "auto",
    tracks: Sequence[int] | None = None,
    given_as: Callable[[Planes], Planes] = distinct,
) -> ChannelPlan:
    numbers = tracks or [1] * len(channels)
    labels = [
        ChannelLabel(track, numbers[: index + 1].count(track))
        for index, track in enumerate(numbers)
    ]
    judge = ChannelJudge(labels, RATE, -60.0, setting)
    sound = samples(np.stack(channels))
    for start in range(0, sound.shape[1], RATE):
        judge.add(given_as(sound[:, start : start + RATE]))
    return judge.plan()


def codes(plan: ChannelPlan) -> list[NoteCode]:
    return [note.code for note in plan.notes]


ANNA = voice(1, (0, 5), (10, 15), (20, 24))
BEN = voice(2, (5, 10), (15, 20))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(ANNA, BEN, id="one rests while the other speaks"),
        pytest.param(ANNA + 0.1 * late(BEN, 0.002), BEN + 0.1 * late(ANNA, 0.002), id="crosstalk"),
        pytest.param(ANNA + 0.15 * late(BEN, 0.2), BEN + 0.15 * late(ANNA, 0.2), id="echo"),
        pytest.param(ANNA, 0.05 * BEN, id="one is 26 dB quieter"),
        pytest.param(voice(1), voice(2), id="both speak all the time"),
        pytest.param(ANNA + noise(3, -34), BEN + noise(4, -34), id="in noise"),
        pytest.param(voice(1, (0, 21)), voice(2, (21, 24)), id="one says little"),
    ],
)
def test_different_voices_are_kept_apart(left: Sound, right: Sound) -> None:
    plan = judged(left, right)
    assert plan.outputs == (((0, 1.0),), ((1, 1.0),))
    assert codes(plan) == [NoteCode.CHANNELS_SPLIT]


BOTH = ANNA + BEN


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(BOTH, BOTH, id="dual mono"),
        pytest.param(BOTH, 0.1 * BOTH, id="dual mono, 20 dB apart"),
        pytest.param(BOTH, late(BOTH, 0.02), id="dual mono with a lag"),
        pytest.param(BOTH, -BOTH, id="opposite phase"),
        pytest.param(BOTH, 0.2 * late(BOTH, 0.25), id="a voice and its echo"),
        pytest.param(ANNA + 0.5 * BEN, BEN + 0.5 * ANNA, id="panned by 6 dB"),
        pytest.param(BOTH, noise(5, -50), id="the other is only noise"),
        pytest.param(BOTH, 0 * BOTH, id="the other is digital silence"),
        pytest.param(ANNA + BEN, ANNA - BEN, id="mid and side"),
        pytest.param(
            BOTH + 0.3 * noise(6, -20), BOTH + 0.3 * noise(7, -20), id="a voice in wide stereo"
        ),
    ],
)
def test_the_same_sound_becomes_one_channel_in_which_nothing_cancels(
    left: Sound, right: Sound
) -> None:
    plan = judged(left, right)
    assert len(plan.outputs) == 1
    mixed = plan.apply(np.stack([left, right]))[0]
    for speaker in (ANNA, BEN):
        alone = np.abs(speaker) > 0.05
        assert np.abs(mixed[alone]).mean() > 0.4 * np.abs(BOTH[alone]).mean()


@pytest.mark.parametrize(
    ("right", "code"),
    [
        (-BOTH, NoteCode.OPPOSITE_PHASE),
        (late(BOTH, 0.02), NoteCode.DUPLICATE_CHANNEL),
        (0 * BOTH, NoteCode.SILENT_CHANNEL),
    ],
)
def test_a_channel_that_is_left_out_is_noted(right: Sound, code: NoteCode) -> None:
    assert codes(judged(BOTH, right)) == [code]


def test_dual_mono_is_so_common_that_it_gets_no_note() -> None:
    assert judged(BOTH, BOTH).notes == ()


def test_a_track_that_repeats_another_is_noted() -> None:
    (note,) = judged(BOTH, BOTH, tracks=[1, 2]).notes
    assert (note.code, note.text) == (
        NoteCode.DUPLICATE_CHANNEL,
        "track 2 repeats track 1: left out",
    )


@pytest.mark.parametrize("setting", ["auto", "mix", "split"])
@pytest.mark.parametrize("tracks", [[1, 1], [1, 2]])
@pytest.mark.parametrize("right", [ANNA, ANNA + voice(8, (20, 21.4)), ANNA + BEN])
def test_copies_are_judged_alike_whether_one_is_given_or_all(
    right: Sound, tracks: Sequence[int], setting: ChannelSetting
) -> None:
    """Throughout, or before a passage in which they differ."""
    one = judged(ANNA, right, setting=setting, tracks=tracks)
    assert one == judged(ANNA, right, setting=setting, tracks=tracks, given_as=lambda all_: all_)


def test_a_copy_with_a_passage_of_its_own_is_not_left_out() -> None:
    own = voice(8, (20, 21.4))
    quiet_then = BOTH.copy()
    quiet_then[20 * RATE : 22 * RATE] = 0
    plan = judged(quiet_then, quiet_then + own)
    used = {channel for output in plan.outputs for channel, _ in output}
    assert used == {0, 1}


def test_a_quiet_microphone_among_silent_ones_keeps_its_level() -> None:
    quiet = voice(9, level=0.004)
    channels = [np.zeros_like(quiet) for _ in range(7)]
    plan = judged(*channels, quiet)
    assert plan.outputs == (((7, 1.0),),)
    assert codes(plan) == [NoteCode.SILENT_CHANNEL]


def test_three_people_on_sixteen_channels_become_three_outputs() -> None:
    people = [voice(seed, (start, start + 8)) for seed, start in ((11, 0), (12, 8), (13, 16))]
    plan = judged(*(people[index % 3] for index in range(16)))
    assert len(plan.outputs) == 3


def test_more_voices_than_an_opus_object_holds_share_the_last_channel() -> None:
    plan = judged(*(voice(seed, (2 * seed, 2 * seed + 2)) for seed in range(11)))
    assert len(plan.outputs) == MOST_OUTPUTS
    assert len(plan.outputs[-1]) == 11 - MOST_OUTPUTS + 1
    assert codes(plan)[:2] == [NoteCode.CHANNELS_SPLIT, NoteCode.CHANNELS_MIXED]


def test_silence_is_one_silent_channel() -> None:
    assert judged(0 * BOTH, 0 * BOTH).outputs == (((0, 1.0),),)


@pytest.mark.parametrize(("setting", "outputs"), [("mix", 1), ("split", 2)])
def test_a_setting_overrules_the_judgement(setting: ChannelSetting, outputs: int) -> None:
    assert len(judged(ANNA, BEN, setting=setting).outputs) == outputs
    assert len(judged(BOTH, late(BOTH, 0.001) + noise(3, -30), setting=setting).outputs) == outputs


def test_a_recording_shorter_than_a_level_is_judged() -> None:
    word = BOTH[: RATE // 10]
    assert len(judged(word, -word).outputs) == 1


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([ANNA, BEN, BOTH]), st.floats(-1, 1), st.floats(0, 0.3)),
        min_size=1,
        max_size=12,
    )
)
def test_no_mix_overloads_and_every_channel_is_used_or_noted(
    parts: list[tuple[Sound, float, float]],
) -> None:
    channels = [gain * late(sound, lag) for sound, gain, lag in parts]
    assume(max(abs(gain) for _, gain, _ in parts) > 0.1)
    plan = judged(*channels, tracks=list(range(1, len(channels) + 1)))
    used = {channel for output in plan.outputs for channel, _ in output}
    for channel in set(range(len(channels))) - used:
        assert any(f"track {channel + 1}" in note.text for note in plan.notes)
    peak = max(float(np.abs(each).max()) for each in channels)
    assert float(np.abs(plan.apply(np.stack(channels))).max()) <= 1.5 * peak + 1e-6
