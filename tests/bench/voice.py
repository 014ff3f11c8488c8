"""`voice`: how much of speech is missed, and how long it takes to find it.

People speak here, in five languages, with pauses, in hiss and in music. dropscribe's voice
detection is WhisperX's but for its windows, which are farther apart; beside it stands the
same with WhisperX's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from consumers.speech.libraries import import_libraries
from consumers.speech.pipeline import Engine, load_pipeline
from consumers.speech.voice import BATCH, Stretch, VoiceDetector
from consumers.speech.weights import PACKAGED, find_whisper
from tests.bench.benchmark import (
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    benchmark,
)
from tests.bench.prompts import PromptRecording, prompt_recordings
from tests.bench.speech import threads
from tests.bench.timing import timed_case

#: The share of speech that may be missed beyond WhisperX's windows.
_MORE_MISSED = 0.002

_OURS, _NEAR = "dropscribe", "windows as WhisperX's"


@benchmark(
    "voice",
    "where people speak in prompts in five languages, with windows farther apart than WhisperX's",
)
def voice(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    recordings = prompt_recordings(conditions.prompts, min(1.0, conditions.scale))
    libraries = import_libraries()
    engine = Engine.chosen(conditions.device, None, threads(), libraries)
    weights = find_whisper(PACKAGED, conditions.folder)
    vad = load_pipeline(libraries, weights, conditions.folder, engine).vad_model
    with (
        ThreadPoolExecutor(
            threads(), initializer=libraries.torch.set_num_threads, initargs=(1,)
        ) as executor,
        warnings.catch_warnings(action="ignore"),
    ):
        detector = partial(VoiceDetector, vad, libraries, executor, batch_size=BATCH[engine.device])
        near = vad.vad_pipeline._segmentation.step
        samples = [recording.samples for recording in recordings]
        case = partial(
            timed_case,
            device=conditions.device,
            facts=lambda found: {"speech missed, s": _missed(recordings, found)},
        )
        yield PreparedBenchmark(
            "s",
            [
                case(_OURS, partial(detector().find_speech, samples)),
                case(_NEAR, partial(detector(step_seconds=near).find_speech, samples)),
            ],
            [Goal(of=_NEAR, to=_OURS, limit=2.0)],
            partial(_agree, recordings),
            ("whisperx", "pyannote-audio", "torch"),
        )


def _missed(recordings: Sequence[PromptRecording], found: Sequence[Sequence[Stretch]]) -> float:
    return sum(
        recording.missed(stretches) for recording, stretches in zip(recordings, found, strict=True)
    )


def _agree(
    recordings: Sequence[PromptRecording], outputs: Mapping[str, Any]
) -> Mapping[str, float]:
    """Make sure that hardly more speech is missed than with WhisperX's windows."""
    spoken = sum(recording.spoken for recording in recordings)
    ours, near = (_missed(recordings, outputs[name]) for name in (_OURS, _NEAR))
    if ours - near > _MORE_MISSED * spoken:
        raise DisagreementError(
            f"of {spoken:.0f} s of speech {ours:.1f} s are missed, "
            f"and {near:.1f} s with WhisperX's windows"
        )
    return {"speech, s": spoken}
