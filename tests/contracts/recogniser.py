"""The contract of `consumers.speech.recogniser.Recogniser`."""

from __future__ import annotations

import numpy as np

from consumers.documents.transcript import Transcript
from consumers.errors import PermanentError
from consumers.speech.recogniser import SAMPLE_RATE, Recogniser, Waveform


def tone(audio_id: str, seconds: float) -> Waveform:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return Waveform(audio_id, (0.2 * np.sin(2 * np.pi * 220 * time)).astype(np.float32))


class RecogniserContract:
    """Inherit it, and give a fixture ``recogniser``."""

    def test_each_recording_has_one_outcome_in_order(self, recogniser: Recogniser) -> None:
        group = [tone(f"tone-{n}", 1.0 + n) for n in range(3)]
        outcomes = recogniser.transcribe(group)
        assert [
            outcome.audio_id if isinstance(outcome, Transcript) else None for outcome in outcomes
        ] == ["tone-0", "tone-1", "tone-2"]

    def test_a_transcript_has_its_recordings_duration_and_the_models_name(
        self, recogniser: Recogniser
    ) -> None:
        (outcome,) = recogniser.transcribe([tone("a", 2.5)])
        assert isinstance(outcome, Transcript)
        assert outcome.state == "transcribed"
        assert outcome.duration == 2.5
        assert outcome.model == recogniser.name
        assert all(0 <= each.start <= each.end <= 2.5 + 0.1 for each in outcome.segments)

    def test_a_bad_recording_costs_itself_only(self, recogniser: Recogniser) -> None:
        bad = Waveform("bad", np.full(SAMPLE_RATE, np.nan, np.float32))
        empty = Waveform("empty", np.zeros(0, np.float32))
        outcomes = recogniser.transcribe([tone("a", 1), bad, empty, tone("b", 1)])
        assert [type(outcome) is Transcript for outcome in outcomes] == [True, False, False, True]
        assert all(isinstance(outcome, PermanentError) for outcome in outcomes[1:3])

    def test_an_empty_group_has_no_outcome(self, recogniser: Recogniser) -> None:
        assert list(recogniser.transcribe([])) == []
