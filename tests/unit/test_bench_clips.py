"""What recognition is measured with: the same clips of speech wherever they are made."""

from __future__ import annotations

import numpy as np

from consumers.speech.recogniser import SAMPLE_RATE
from tests.bench.clips import opus_clips, opus_recording


def test_clips_are_short_and_each_says_something_else() -> None:
    clips = opus_clips(4)
    assert all(2 <= clip.seconds <= 15 for clip in clips)
    assert all(np.abs(clip.samples).max() > 0.1 for clip in clips)
    assert len({clip.words for clip in clips}) == 4


def test_clips_are_the_same_each_time() -> None:
    (first,), (again,) = opus_clips(1), opus_clips(1)
    assert first.words == again.words
    assert np.array_equal(first.samples, again.samples)


def test_a_long_recording_has_the_requested_length() -> None:
    recording = opus_recording(20)
    assert len(recording.samples) >= 20 * SAMPLE_RATE
    assert len(recording.words.split()) > 20
