"""What is said in windows of sound: features, encoder and decoder, several batches at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.documents.transcript.repetition import compression_ratio
from consumers.speech.libraries import SpeechLibraries
from consumers.speech.recogniser import SAMPLE_RATE

SampleArray: TypeAlias = NDArray[np.float32]

# Of UTF-8 for a second of sound: speech is ten to twenty in any script. What has fewer, and
# is long enough to be told by, may be a part of what is said.
_FEW_BYTES = 6.0
_LONG_SECONDS = 10.0
# What Whisper itself distrusts (``logprob_threshold``, ``compression_ratio_threshold``): text of
# which it is less sure, and text that goes in circles.
_SURE = -1.0
_CIRCLES = 2.4
# Where to divide a window: in the middle of the quietest so many seconds.
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WindowText:
    """The text of a window, and the mean logarithm of its tokens' probabilities."""

    words: str
    avg_logprob: float

    @property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return len(self.words.encode())

    def followed_by(self, other: WindowText) -> WindowText:
        """Both as one text."""
        if not (self.words and other.words):
            return self if self.words else other
        size = self.size + other.size
        return WindowText(
            f"{self.words} {other.words}",
            (self.avg_logprob * self.size + other.avg_logprob * other.size) / size,
        )


_Hear: TypeAlias = Callable[[Sequence[SampleArray]], list[WindowText]]


class WindowTranscriber:
    """WhisperX's model, on windows of any number of recordings.

    WhisperX's pipeline makes the features of a batch, then waits for the model, and
    so on. Here one batch's features are made while the model has another.

    Now and then Whisper leaves out most of what is said in a window, and is sure of the
    rest. What says so little is heard again as two halves, which count if they say as much
    as speech does.
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

    def write(self, sounds: Sequence[SampleArray], language: str) -> list[WindowText]:
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
        return self._heard(sounds, partial(self._written, tokenizer=tokenizer))

    def _heard(self, sounds: Sequence[SampleArray], hear: _Hear) -> list[WindowText]:
        """Hear windows; those of which too little is written as halves, too."""
        written = self._in_batches(sounds, hear)
        sparse = [
            n for n, each in enumerate(written) if _is_sparse(each, len(sounds[n]) / SAMPLE_RATE)
        ]
        if sparse:
            halves = iter(self._heard([half for n in sparse for half in _halves(sounds[n])], hear))
            for n in sparse:
                whole = next(halves).followed_by(next(halves))
                if _is_speech(whole, len(sounds[n]) / SAMPLE_RATE):
                    written[n] = whole
        return written

    def _in_batches(self, sounds: Sequence[SampleArray], hear: _Hear) -> list[WindowText]:
        # A batch is decoded until its longest text is whole.
        order = sorted(range(len(sounds)), key=lambda n: -len(sounds[n]))
        portions = list(_portions(order, self._batch_size, self._portions))
        batches = ([sounds[n] for n in portion] for portion in portions)
        written: dict[int, WindowText] = {}
        for portion, result in zip(portions, self._executor.map(hear, batches), strict=True):
            written.update(zip(portion, result, strict=True))
        return [written[n] for n in range(len(sounds))]

    def _written(self, sounds: Sequence[SampleArray], tokenizer: Any) -> list[WindowText]:
        pipeline = self._pipeline
        features = [pipeline.preprocess({"inputs": sound})["inputs"] for sound in sounds]
        output = pipeline.model.generate_segment_batched(
            self._libraries.torch.stack(features), tokenizer, pipeline.options
        )
        # PostgreSQL's text and jsonb cannot hold NUL, which is one of Whisper's tokens.
        return [
            WindowText(text.replace("\0", "").strip(), float(avg_logprob))
            for text, avg_logprob in zip(output["text"], output["avg_logprob"], strict=True)
        ]


def _is_sparse(written: WindowText, seconds: float) -> bool:
    return seconds >= _LONG_SECONDS and written.size < _FEW_BYTES * seconds


def _is_speech(written: WindowText, seconds: float) -> bool:
    """Tell what was said from what is made up over noise: that says little, or is unsure of it."""
    return (
        not _is_sparse(written, seconds)
        and written.avg_logprob >= _SURE
        and compression_ratio(written.words) <= _CIRCLES
    )


def _halves(sound: SampleArray) -> tuple[SampleArray, SampleArray]:
    """Divide a window where it is quietest, a quarter or more from either end."""
    frame = round(_PAUSE_SECONDS * SAMPLE_RATE)
    middle = sound[len(sound) // 4 : -(len(sound) // 4)]
    frames = middle[: len(middle) // frame * frame].reshape(-1, frame)
    quietest = int(np.square(frames).mean(axis=1).argmin())
    cut = len(sound) // 4 + quietest * frame + frame // 2
    return sound[:cut], sound[cut:]


def _portions(order: Sequence[int], batch_size: int, portions: int) -> Iterator[Sequence[int]]:
    """Divide windows into batches, and each of those as evenly as can be."""
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        # Neighbours are about as long: each portion gets as much of the long ones.
        yield from filter(None, (batch[n::portions] for n in range(portions)))
