"""Transcribes windows of sound: features, encoder and decoder, several batches at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from consumers.documents.transcript.repetition import compression_ratio
from consumers.speech.libraries import SpeechLibraries
from consumers.speech.recogniser import SAMPLE_RATE, SampleArray

# Bytes of UTF-8 per second of sound: speech has ten to twenty in any script. A long window with
# fewer may lack a part of its speech.
_SPARSE_BYTES = 6.0
_LONG_SECONDS = 10.0
# Whisper's own thresholds for distrust (``logprob_threshold``, ``compression_ratio_threshold``):
# a lower mean probability, and more repetition.
_LEAST_LOGPROB = -1.0
_MOST_REPETITION = 2.4
# A window is divided in the middle of its quietest interval of this length.
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WindowText:
    """The text of a window, and the mean log probability of its tokens."""

    words: str
    avg_logprob: float

    @property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return len(self.words.encode())

    def followed_by(self, other: WindowText) -> WindowText:
        """Join two texts, weighting their probabilities by size."""
        if not (self.words and other.words):
            return self if self.words else other
        size = self.size + other.size
        return WindowText(
            f"{self.words} {other.words}",
            (self.avg_logprob * self.size + other.avg_logprob * other.size) / size,
        )


_Transcribe: TypeAlias = Callable[[Sequence[SampleArray]], list[WindowText]]


class WindowTranscriber:
    """WhisperX's model on windows of any number of recordings.

    WhisperX's pipeline computes the features of a batch, then waits for the model. Here the
    features of one batch are computed while the model works on another.

    Occasionally Whisper omits most of a window's speech, and is confident of the rest. A window
    with so little text is transcribed again in two halves, whose text replaces it if it is as
    long as speech usually is.
    """

    def __init__(
        self,
        pipeline: Any,
        libraries: SpeechLibraries,
        executor: Executor,
        *,
        batch_size: int,
        portions: int,
    ) -> None:
        """Use a pipeline of WhisperX.

        Args:
            pipeline: a ``FasterWhisperPipeline``.
            libraries: PyTorch and the model's tokenizer.
            executor: its threads compute features and wait for the model.
            batch_size: windows per batch.
            portions: parts of a batch, processed in parallel.
        """
        self._pipeline = pipeline
        self._libraries = libraries
        self._executor = executor
        self._batch_size = batch_size
        self._portions = portions

    def write(self, sounds: Sequence[SampleArray], language: str) -> list[WindowText]:
        """Transcribe windows, in order.

        Args:
            sounds: mono at 16 kHz, up to 30 seconds each.
            language: Whisper's code of their language.
        """
        whisper = self._pipeline.model
        tokenizer = self._libraries.tokenizer(
            whisper.hf_tokenizer,
            whisper.model.is_multilingual,
            task="transcribe",
            language=language,
        )
        return self._with_halves(sounds, partial(self._batch, tokenizer=tokenizer))

    def _with_halves(
        self, sounds: Sequence[SampleArray], transcribe: _Transcribe
    ) -> list[WindowText]:
        """Transcribe windows, those with too little text also in halves."""
        written = self._in_batches(sounds, transcribe)
        sparse = [
            n for n, each in enumerate(written) if _is_sparse(each, len(sounds[n]) / SAMPLE_RATE)
        ]
        if sparse:
            halves = iter(
                self._with_halves([half for n in sparse for half in _halves(sounds[n])], transcribe)
            )
            for n in sparse:
                whole = next(halves).followed_by(next(halves))
                if _is_speech(whole, len(sounds[n]) / SAMPLE_RATE):
                    written[n] = whole
        return written

    def _in_batches(
        self, sounds: Sequence[SampleArray], transcribe: _Transcribe
    ) -> list[WindowText]:
        # The longest text of a batch decides how long its decoding takes.
        order = sorted(range(len(sounds)), key=lambda n: -len(sounds[n]))
        portions = list(_portions(order, self._batch_size, self._portions))
        batches = ([sounds[n] for n in portion] for portion in portions)
        written: dict[int, WindowText] = {}
        for portion, result in zip(portions, self._executor.map(transcribe, batches), strict=True):
            written.update(zip(portion, result, strict=True))
        return [written[n] for n in range(len(sounds))]

    def _batch(self, sounds: Sequence[SampleArray], tokenizer: Any) -> list[WindowText]:
        pipeline = self._pipeline
        features = [pipeline.preprocess({"inputs": sound})["inputs"] for sound in sounds]
        output = pipeline.model.generate_segment_batched(
            self._libraries.torch.stack(features), tokenizer, pipeline.options
        )
        # NUL is one of Whisper's tokens, and PostgreSQL's text and jsonb cannot hold it.
        return [
            WindowText(text.replace("\0", "").strip(), float(avg_logprob))
            for text, avg_logprob in zip(output["text"], output["avg_logprob"], strict=True)
        ]


def _is_sparse(written: WindowText, seconds: float) -> bool:
    return seconds >= _LONG_SECONDS and written.size < _SPARSE_BYTES * seconds


def _is_speech(written: WindowText, seconds: float) -> bool:
    """Whether it is speech, not text invented over noise: that is short or improbable."""
    return (
        not _is_sparse(written, seconds)
        and written.avg_logprob >= _LEAST_LOGPROB
        and compression_ratio(written.words) <= _MOST_REPETITION
    )


def _halves(sound: SampleArray) -> tuple[SampleArray, SampleArray]:
    """Divide a window where it is quietest, at least a quarter from either end."""
    frame = round(_PAUSE_SECONDS * SAMPLE_RATE)
    middle = sound[len(sound) // 4 : -(len(sound) // 4)]
    frames = middle[: len(middle) // frame * frame].reshape(-1, frame)
    quietest = int(np.square(frames).mean(axis=1).argmin())
    cut = len(sound) // 4 + quietest * frame + frame // 2
    return sound[:cut], sound[cut:]


def _portions(order: Sequence[int], batch_size: int, portions: int) -> Iterator[Sequence[int]]:
    """Divide windows into batches, and those into even portions."""
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        # Neighbours have similar lengths: each portion gets its share of the long ones.
        yield from filter(None, (batch[n::portions] for n in range(portions)))
