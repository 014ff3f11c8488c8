"""Where in recordings somebody speaks, in stretches that Whisper can hear at once.

pyannote's network looks at windows of five seconds, and each moment's score is what the
windows around it give together. WhisperX asks it for one recording at a time, with windows
half a second apart. Here the windows of many recordings fill its batches, which several
threads work on, and they are farther apart: with the same step, the scores are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.speech.libraries import SpeechLibraries
from consumers.speech.recogniser import SAMPLE_RATE

# Start and end in seconds from the recording's start.
Stretch: TypeAlias = tuple[float, float]

# Whisper hears 30 seconds at a time.
STRETCH_SECONDS = 30
# A part's scores are kept until it is whole: ten hours go through in parts.
PART_SECONDS = 30 * 60
# Speech that ends so near a part's end may go on behind it.
EDGE_SECONDS = 1.0
# WhisperX's defaults: speech begins above the one and ends below the other.
VAD_ONSET = 0.500
VAD_OFFSET = 0.363
# Between windows. With pyannote's half second, the network looks at each moment ten times,
# and misses hardly less of speech (`voice` in `tests/bench/RESULTS.md`).
STEP_SECONDS = 2.0
# A window takes 2.6 MB in the network's first layer: what fits a cache is fast on a
# CPU, and a GPU is to be filled.
BATCH = {"cpu": 16, "cuda": 256}


@dataclass(slots=True)
class _Search:
    """A recording on the way: what was found before the sample ``start``."""

    samples: NDArray[np.float32]
    start: int = 0
    found: list[Stretch] = field(default_factory=list)


class VoiceDetector:
    """WhisperX's voice detection, for many recordings at a time."""

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
        """Take it over.

        Args:
            vad: WhisperX's ``Pyannote``.
            libraries: PyTorch, and pyannote's sliding windows.
            executor: whose threads run the network.
            batch_size: windows that go through it at once.
            step_seconds: from a window's start to the next one's.
            part_seconds: how much of a recording to look at in one go; more than 31.
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
        # On a GPU, scores are not to be of less precision than on a CPU.
        libraries.fix_reproducibility(self._inference.device)

    def find_speech(self, sounds: Sequence[NDArray[np.float32]]) -> list[list[Stretch]]:
        """Stretches of speech of up to 30 seconds, in order, for each sound.

        A stretch that reaches a part's end is heard again from its start, at the
        beginning of the next part, so that no word is cut there.

        Args:
            sounds: each float32 at 16 kHz, mono, and not empty.
        """
        searches = [_Search(samples) for samples in sounds]
        going = searches
        while going:
            parts = [search.samples[search.start :][: self._part] for search in going]
            for search, part, scores in zip(going, parts, self._scores(parts), strict=True):
                self._advance(search, len(part), scores)
            going = [search for search in going if search.start < len(search.samples)]
        return [search.found for search in searches]

    def _advance(self, search: _Search, size: int, scores: Any) -> None:
        """Take over what a part's scores say, and go on behind it."""
        begin, end = search.start / SAMPLE_RATE, (search.start + size) / SAMPLE_RATE
        merged = self._merge_chunks(scores, STRETCH_SECONDS, onset=VAD_ONSET, offset=VAD_OFFSET)
        stretches = [
            (round(begin + chunk["start"], 3), min(round(begin + chunk["end"], 3), end))
            for chunk in merged
        ]
        search.start += size
        if (
            search.start < len(search.samples)
            and stretches
            and stretches[-1][1] > end - EDGE_SECONDS
        ):
            search.start = int(stretches.pop()[0] * SAMPLE_RATE)
        search.found += stretches

    def _scores(self, parts: Sequence[NDArray[np.float32]]) -> Iterator[Any]:
        """Each part's scores over time, as pyannote's ``Inference.slide`` gives them."""
        counts = [self._windows_of(len(part)) for part in parts]
        places = [
            (part, n) for part, count in zip(parts, counts, strict=True) for n in range(count)
        ]
        batches = [
            places[begin : begin + self._batch_size]
            for begin in range(0, len(places), self._batch_size)
        ]
        outputs = np.concatenate(list(self._executor.map(self._infer, batches)))
        begin = 0
        for part, count in zip(parts, counts, strict=True):
            yield self._aggregated(outputs[begin : begin + count], len(part))
            begin += count

    def _windows_of(self, size: int) -> int:
        """How many windows cover so many samples; the last may reach beyond them."""
        behind_the_first: int = -((self._window - size) // self._step)
        return 1 + max(0, behind_the_first)

    def _infer(self, places: Sequence[tuple[NDArray[np.float32], int]]) -> NDArray[np.float32]:
        """The network's output for windows, of shape (windows, frames, classes)."""
        windows = np.zeros((len(places), 1, self._window), np.float32)
        for window, (part, number) in zip(windows, places, strict=True):
            samples = part[number * self._step :][: self._window]
            window[0, : len(samples)] = samples
        output: NDArray[np.float32] = self._inference.infer(
            self._libraries.torch.from_numpy(windows)
        )
        return output

    def _aggregated(self, outputs: NDArray[np.float32], size: int) -> Any:
        """One score for each frame of so many samples, from all windows that hold it."""
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
            # What stands for the padding of the last window.
            scores.data = scores.crop(core.Segment(0.0, size / SAMPLE_RATE), mode="loose")
        return scores
