"""Voice detection: finds stretches of speech that fit Whisper's window.

pyannote's network scores windows of five seconds, and the score of each moment is aggregated
from the windows around it. WhisperX processes one recording at a time, with windows half a
second apart. Here the windows of many recordings fill the batches, several threads work on
those, and the windows are farther apart: with the same step, the scores are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from consumers.portions import portions
from consumers.speech.libraries import SpeechLibraries
from consumers.speech.recogniser import SAMPLE_RATE, SampleArray

# Start and end in seconds from the recording's start.
Stretch: TypeAlias = tuple[float, float]

# Whisper's window.
STRETCH_SECONDS = 30
# Scores stay in memory until a part is complete, so long recordings are processed in parts.
PART_SECONDS = 30 * 60
# Speech that ends this close to a part's end may continue in the next.
EDGE_SECONDS = 1.0
# WhisperX's defaults: speech begins above the onset and ends below the offset.
VAD_ONSET = 0.500
VAD_OFFSET = 0.363
# Between windows. With pyannote's half second, the network sees each moment ten times, and
# misses hardly less speech (`voice` in `tests/bench/RESULTS.md`).
STEP_SECONDS = 2.0
# A window takes 2.6 MB in the network's first layer: on a CPU a batch should fit the cache,
# on a GPU it should fill it.
BATCH = {"cpu": 16, "cuda": 256}


@dataclass(slots=True)
class _Search:
    """A recording in progress: the stretches found before the sample ``start``."""

    samples: SampleArray
    pause: float | None
    start: int = 0
    found: list[Stretch] = field(default_factory=list)


class VoiceDetector:
    """WhisperX's voice detection on many recordings at a time."""

    def __init__(
        self,
        vad: Any,
        libraries: SpeechLibraries,
        executor: Executor,
        *,
        batch_size: int,
        step_seconds: float = STEP_SECONDS,
        part_seconds: float = PART_SECONDS,
    ) -> None:
        """Use a voice detection of WhisperX.

        Args:
            vad: WhisperX's ``Pyannote``.
            libraries: PyTorch, and pyannote's sliding windows.
            executor: its threads run the network.
            batch_size: windows per batch.
            step_seconds: from one window's start to the next.
            part_seconds: of a recording processed at once; more than 31.
        """
        self._merge_chunks = vad.merge_chunks
        self._inference = vad.vad_pipeline._segmentation  # noqa: SLF001
        self._libraries = libraries
        self._executor = executor
        self._batch_size = batch_size
        self._part = round(part_seconds * SAMPLE_RATE)
        self._window: int = self._inference.model.audio.get_num_samples(self._inference.duration)
        self._step_seconds = step_seconds
        self._step = round(step_seconds * SAMPLE_RATE)
        # It turns TF32 off, so that a GPU's scores are as precise as a CPU's.
        libraries.fix_reproducibility(self._inference.device)

    def find_speech(
        self, sounds: Sequence[SampleArray], pauses: Sequence[float | None] | None = None
    ) -> list[list[Stretch]]:
        """Find the stretches of speech, up to 30 seconds each, of every sound, in order.

        The next part begins at the start of a stretch that reaches a part's end, so that no
        word is cut.

        Args:
            sounds: mono at 16 kHz, not empty.
            pauses: of each sound, the seconds without speech that end a stretch; None, and by
                default, stretches are as long as the window allows.
        """
        pauses = pauses or [None] * len(sounds)
        searches = [_Search(samples, pause) for samples, pause in zip(sounds, pauses, strict=True)]
        going = searches
        while going:
            parts = [search.samples[search.start :][: self._part] for search in going]
            for search, part, scores in zip(going, parts, self._scores(parts), strict=True):
                self._advance(search, len(part), scores)
            going = [search for search in going if search.start < len(search.samples)]
        return [search.found for search in searches]

    def _advance(self, search: _Search, size: int, scores: Any) -> None:
        """Add the stretches of a part, and move on to the next."""
        begin, end = search.start / SAMPLE_RATE, (search.start + size) / SAMPLE_RATE
        merged = self._merge_chunks(scores, STRETCH_SECONDS, onset=VAD_ONSET, offset=VAD_OFFSET)
        stretches = [
            (round(begin + first, 3), min(round(begin + last, 3), end))
            for chunk in merged
            for first, last in divide_at_pauses(chunk, search.pause)
        ]
        search.start += size
        if (
            search.start < len(search.samples)
            and stretches
            and stretches[-1][1] > end - EDGE_SECONDS
        ):
            search.start = int(stretches.pop()[0] * SAMPLE_RATE)
        search.found += stretches

    def _scores(self, parts: Sequence[SampleArray]) -> Iterator[Any]:
        """Yield each part's scores over time, as pyannote's ``Inference.slide`` would."""
        counts = [self._windows_of(len(part)) for part in parts]
        places = [
            (part, n) for part, count in zip(parts, counts, strict=True) for n in range(count)
        ]
        batches = portions(places, self._batch_size)
        outputs = np.concatenate(list(self._executor.map(self._infer, batches)))
        begin = 0
        for part, count in zip(parts, counts, strict=True):
            yield self._aggregated(outputs[begin : begin + count], len(part))
            begin += count

    def _windows_of(self, size: int) -> int:
        """Return how many windows cover ``size`` samples; the last may reach beyond them."""
        behind_the_first: int = -((self._window - size) // self._step)
        return 1 + max(0, behind_the_first)

    def _infer(self, places: Sequence[tuple[SampleArray, int]]) -> SampleArray:
        """Return the network's output for windows: (windows, frames, classes)."""
        windows = np.zeros((len(places), 1, self._window), np.float32)
        for window, (part, number) in zip(windows, places, strict=True):
            samples = part[number * self._step :][: self._window]
            window[0, : len(samples)] = samples
        output: SampleArray = self._inference.infer(self._libraries.torch.from_numpy(windows))
        return output

    def _aggregated(self, outputs: SampleArray, size: int) -> Any:
        """Aggregate one score for each frame of ``size`` samples from its windows."""
        inference, core = self._inference, self._libraries.pyannote_core
        if inference.pre_aggregation_hook is not None:
            outputs = inference.pre_aggregation_hook(outputs)
        scores = inference.aggregate(
            core.SlidingWindowFeature(
                outputs,
                core.SlidingWindow(inference.duration, self._step_seconds, start=0.0),
            ),
            inference.model.receptive_field,
            warm_up=inference.warm_up,
            hamming=True,
            missing=0.0,
        )
        if size != self._window + (self._windows_of(size) - 1) * self._step:
            # Without the padding of the last window.
            scores.data = scores.crop(core.Segment(0.0, size / SAMPLE_RATE), mode="loose")
        return scores


def merge_stretches(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Join stretches that follow each other, as long as they fit Whisper's window together."""
    merged: list[Stretch] = []
    for start, end in stretches:
        if merged and end - merged[-1][0] <= STRETCH_SECONDS:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def divide_at_pauses(chunk: Mapping[str, Any], pause: float | None) -> Iterator[Stretch]:
    """Divide one of WhisperX's chunks at pauses of at least this many seconds."""
    start, end = chunk["start"], chunk["end"]
    if pause is not None:
        last = start
        for first, behind in chunk["segments"]:
            if first - last >= pause and last > start:
                yield start, last
                start = first
            last = behind
    yield start, end
