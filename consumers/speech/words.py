"""What is said in windows of sound: features, encoder and decoder, several batches at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.speech.libraries import Libraries

Sound: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a window, and the mean logarithm of its tokens' probabilities."""

    words: str
    avg_logprob: float


class Writer:
    """WhisperX's model, on windows of any number of recordings.

    WhisperX's pipeline makes the features of a batch, then waits for the model, and
    so on. Here one batch's features are made while the model has another.
    """

    def __init__(
        self,
        pipeline: Any,
        libraries: Libraries,
        executor: Executor,
        *,
        batch_size: int,
        portions: int,
    ) -> None:
        """Take the pipeline over.

        Args:
            pipeline: WhisperX's.
            libraries: PyTorch, and the model's tokenizer.
            executor: whose threads prepare and wait.
            batch_size: windows that go through the model at once.
            portions: into which a batch is divided, which go through it side by side.
        """
        self._pipeline = pipeline
        self._libraries = libraries
        self._executor = executor
        self._batch_size = batch_size
        self._portions = portions

    def write(self, sounds: Sequence[Sound], language: str) -> list[Written]:
        """What is said in each window, in order.

        Args:
            sounds: float32 at 16 kHz, mono, of up to 30 seconds each.
            language: in which all of it is said, as Whisper calls it.
        """
        whisper = self._pipeline.model
        tokenizer = self._libraries.tokenizer(
            whisper.hf_tokenizer,
            whisper.model.is_multilingual,
            task="transcribe",
            language=language,
        )
        # A batch is decoded until its longest text is whole.
        order = sorted(range(len(sounds)), key=lambda n: -len(sounds[n]))
        portions = list(_portions(order, self._batch_size, self._portions))
        batches = ([sounds[n] for n in portion] for portion in portions)
        written: dict[int, Written] = {}
        results = self._executor.map(partial(self._written, tokenizer=tokenizer), batches)
        for portion, result in zip(portions, results, strict=True):
            written.update(zip(portion, result, strict=True))
        return [written[n] for n in range(len(sounds))]

    def _written(self, sounds: Sequence[Sound], tokenizer: Any) -> list[Written]:
        pipeline = self._pipeline
        features = [pipeline.preprocess({"inputs": sound})["inputs"] for sound in sounds]
        output = pipeline.model.generate_segment_batched(
            self._libraries.torch.stack(features), tokenizer, pipeline.options
        )
        # PostgreSQL's text and jsonb cannot hold NUL, which is one of Whisper's tokens.
        return [
            Written(text.replace("\0", "").strip(), float(avg_logprob))
            for text, avg_logprob in zip(output["text"], output["avg_logprob"], strict=True)
        ]


def _portions(order: Sequence[int], batch_size: int, portions: int) -> Iterator[Sequence[int]]:
    """Divide windows into batches, and each of those as evenly as can be."""
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        # Neighbours are about as long: each portion gets as much of the long ones.
        yield from filter(None, (batch[n::portions] for n in range(portions)))
