"""Where in a recording somebody speaks, in stretches that Whisper can hear at once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.speech.recogniser import SAMPLE_RATE

# Start and end in seconds from the recording's start.
Stretch: TypeAlias = tuple[float, float]

# Whisper hears 30 seconds at a time.
STRETCH_SECONDS = 30
# Detection needs some 6 MB for a minute of sound: ten hours go through in parts.
WINDOW_SECONDS = 30 * 60
# Speech that ends so near a window's end may go on behind it.
EDGE_SECONDS = 1.0
# WhisperX's defaults: speech begins above the one and ends below the other.
VAD_ONSET = 0.500
VAD_OFFSET = 0.363


def find_speech(
    vad: Any, samples: NDArray[np.float32], window_seconds: float = WINDOW_SECONDS
) -> list[Stretch]:
    """Stretches of speech of up to 30 seconds, in order.

    A stretch that reaches a window's end is heard again from its start, at the
    beginning of the next window, so that no word is cut there.

    Args:
        vad: WhisperX's voice detection.
        samples: float32 at 16 kHz, mono.
        window_seconds: how much to look at in one go; more than 31.
    """
    found: list[Stretch] = []
    size = round(window_seconds * SAMPLE_RATE)
    start = 0
    while start < len(samples):
        stretches = _detect(vad, samples[start : start + size], start / SAMPLE_RATE)
        end = start + size
        if end < len(samples) and stretches and stretches[-1][1] > end / SAMPLE_RATE - EDGE_SECONDS:
            end = int(stretches.pop()[0] * SAMPLE_RATE)
        found += stretches
        start = end
    return found


def _detect(vad: Any, samples: NDArray[np.float32], offset: float) -> list[Stretch]:
    scores = vad({"waveform": vad.preprocess_audio(samples), "sample_rate": SAMPLE_RATE})
    merged = vad.merge_chunks(scores, STRETCH_SECONDS, onset=VAD_ONSET, offset=VAD_OFFSET)
    end = offset + len(samples) / SAMPLE_RATE
    return [
        (round(offset + chunk["start"], 3), min(round(offset + chunk["end"], 3), end))
        for chunk in merged
    ]
