"""A recogniser and a judge without models, for tests of everything around them.

They keep the same contracts as the real ones (`tests/contracts/recogniser.py` and
`tests/contracts/judge.py` run against all of them). The recogniser knows of a recording
nothing but its length, and the judge of a policy nothing but its last word.
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


class WordJudge:
    """Flags content that holds the policy's last word."""

    model = "word"
    adapter = None

    def __init__(self, context: int = 8192) -> None:
        self.context = context

    def prompt_tokens(self, policy: str) -> int:
        """Count the policy's words."""
        return len(policy.split())

    def content_tokens(self, content: str) -> int:
        """Count the content's words."""
        return len(content.split())

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score content with the word 0.9, and other content 0.1."""
        forbidden = policy.rsplit(maxsplit=1)[-1].casefold()
        return [0.9 if forbidden in content.casefold().split() else 0.1 for content in contents]
