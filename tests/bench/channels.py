"""`channels`: whether voices on channels of their own are told from one sound on several.

A wrong split doubles the text, a wrong mix loses a voice. The scenes are mixed of prompts that
people spoke; each kind is a case, and its value is the processor time of the judgement.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from consumers.audio.channels import ChannelJudge, ChannelLabel
from consumers.audio.resample import samples
from consumers.speech.recogniser import SAMPLE_RATE
from tests.bench.benchmark import Case, Conditions, PreparedBenchmark, Sample, benchmark
from tests.bench.prompts import Samples
from tests.bench.scenes import SCENE_KINDS, PromptLibrary, SceneKind

#: Scenes of a kind.
_SCENES = 10

_SILENCE_DBFS = -60.0


@benchmark(
    "channels",
    "which channels hold voices of their own, in scenes of 60 s of prompts in five languages",
)
def channels(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    library = PromptLibrary.of(conditions.prompts)
    count = conditions.scaled(_SCENES)
    yield PreparedBenchmark(
        "CPU s per minute of sound",
        [Case(kind.name, partial(_judged, kind, library, count)) for kind in SCENE_KINDS],
        packages=("numpy",),
        rounds=1,
        warms_up=False,
    )


def _judged(kind: SceneKind, library: PromptLibrary, count: int) -> Sample:
    right, seconds = 0, 0.0
    for number in range(count):
        scene = kind.scene(library, number)
        begin = time.process_time()
        outputs = count_outputs(scene)
        seconds += time.process_time() - begin
        right += outputs == kind.voices
    minutes = count * kind.seconds / 60
    facts = {"channels aimed at": kind.voices, "right": right, "of": count}
    return Sample(seconds / minutes, facts)


def count_outputs(scene: Samples) -> int:
    """Judge the channels of a scene, shape ``(channels, samples)``; count those that are kept."""
    labels = [ChannelLabel(1, number) for number in range(1, len(scene) + 1)]
    judge = ChannelJudge(labels, SAMPLE_RATE, _SILENCE_DBFS)
    for start in range(0, scene.shape[1], SAMPLE_RATE):
        judge.add(samples(scene[:, start : start + SAMPLE_RATE]))
    return len(judge.plan().outputs)
