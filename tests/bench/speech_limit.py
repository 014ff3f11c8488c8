"""What the model alone takes: CTranslate2's encoder and decoder on features that lie ready."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.speech.libraries import import_libraries
from consumers.speech.pipeline import Engine, load_pipeline
from consumers.speech.recogniser import SAMPLE_RATE
from consumers.speech.weights import PACKAGED, find_whisper
from tests.bench.benchmark import Conditions
from tests.bench.speech_peers import BATCH, Texts

#: A clip's number, its samples, and where in it (seconds) the window begins and ends.
AudioWindow = tuple[int, NDArray[np.float32], float, float]


class Limit:
    """Windows that others found, in full batches; or in portions, as dropscribe has them."""

    def __init__(
        self,
        windows: Sequence[AudioWindow],
        clips: int,
        conditions: Conditions,
        *,
        threads: int,
        side_by_side: bool,
    ) -> None:
        """Load the model, and compute all features.

        Args:
            side_by_side: divide each batch among the CPU's threads.
        """
        libraries = import_libraries()
        engine = Engine.chosen(conditions.device, None, threads, libraries)
        weights = find_whisper(PACKAGED, conditions.folder)
        self._pipeline = load_pipeline(libraries, weights, conditions.folder, engine)
        if not side_by_side:
            self._pipeline.model = libraries.asr.WhisperModel(
                weights.source,
                device=engine.device,
                compute_type=engine.compute_type,
                cpu_threads=threads,
                local_files_only=True,
            )
        workers = engine.workers if side_by_side else 1
        size = -(-BATCH // workers)
        self._executor = ThreadPoolExecutor(workers)
        self._tokenizer = libraries.tokenizer(
            self._pipeline.model.hf_tokenizer,
            multilingual=False,
            task="transcribe",
            language="en",
        )
        self._clips = clips
        # Equal lengths together, as the decoder goes on until the longest text is whole.
        order = sorted(windows, key=lambda window: window[2] - window[3])
        self._numbers = [number for number, *_ in order]
        features = [self._features(*window[1:]) for window in order]
        self._batches = [
            libraries.torch.stack(features[begin : begin + size])
            for begin in range(0, len(features), size)
        ]

    def texts(self) -> Texts:
        """Run the model on everything."""
        said: list[list[str]] = [[] for _ in range(self._clips)]
        found = [
            text for texts in self._executor.map(self._generated, self._batches) for text in texts
        ]
        for number, text in zip(self._numbers, found, strict=True):
            said[number].append(text.strip())
        return [" ".join(texts) for texts in said]

    def _features(self, samples: NDArray[np.float32], start: float, end: float) -> Any:
        window = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        return self._pipeline.preprocess({"inputs": window})["inputs"]

    def _generated(self, features: Any) -> list[str]:
        texts: list[str] = self._pipeline.model.generate_segment_batched(
            features, self._tokenizer, self._pipeline.options
        )["text"]
        return texts
