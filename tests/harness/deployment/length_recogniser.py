"""A recogniser without a model, for tests of everything around it.

It keeps the same contract as WhisperX (`tests/contracts/recogniser.py` runs
against both), and hears nothing but how long a recording is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from consumers.documents.transcript import Segment, Transcript
from consumers.errors import PermanentError
from consumers.speech.recogniser import SAMPLE_RATE, Recognition, Waveform

#: Seconds of a segment.
_MINUTE = 60.0


class LengthRecogniser:
    """Says of each recording how many seconds it lasts: of each minute, and of the rest."""

    name = "length"

    def __init__(self) -> None:
        self.groups: list[int] = []

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Recognition]:
        """Give one outcome per recording, in the group's order."""
        self.groups.append(len(group))
        return [self._outcome(waveform) for waveform in group]

    def _outcome(self, waveform: Waveform) -> Recognition:
        samples = waveform.samples
        if not len(samples) or not np.isfinite(samples).all():
            return PermanentError("the samples are not sound")
        duration = len(samples) / SAMPLE_RATE
        return Transcript(
            audio_id=waveform.audio_id,
            state="transcribed",
            reason=None,
            duration=duration,
            language="en",
            language_probability=None,
            model=self.name,
            alignment=None,
            segments=tuple(_segments(duration)),
        )


def _segments(duration: float) -> Iterator[Segment]:
    start = 0.0
    while start < duration:
        end = min(start + _MINUTE, duration)
        yield Segment(start, end, f"{round(end - start)} seconds of sound", None, ())
        start = end
