"""Speech clips with their text, as Opus and as samples for the recogniser."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from consumers.audio.decode import decode_opus
from consumers.speech.recogniser import SAMPLE_RATE
from ops.sample.make_sample import speak
from tests.bench.mp3_clips import require_speech

#: Words of a clip, for 2 to 15 seconds of espeak-ng.
_WORDS = (5, 34)
_FEW = 7

#: Seconds between a long recording's clips.
_PAUSE = (0.5, 2.0)

#: kbit/s, as recordings are kept.
_BIT_RATE = 24_000

_WHO = ("My grandfather", "The old farmer", "Our teacher", "A young doctor", "The captain", "She")
_DID = ("found", "carried", "remembered", "painted", "sold", "opened", "wanted", "brought")
_WHAT = ("the letter", "a wooden box", "seven apples", "the blue bicycle", "some bread", "a map")
_WHERE = ("behind the house", "near the river", "at the station", "in the garden", "on the table")
_WHEN = ("on Monday", "before breakfast", "last winter", "every evening", "after lunch")
_THEN = (
    "because it was raining",
    "and then walked home along the water",
    "without saying a word",
    "with heavy rain in the afternoon",
    "for many years",
)


@dataclass(frozen=True, slots=True, eq=False)
class SpeechSample:
    """A recording of speech: float32 samples at 16 kHz, its Opus object and its text."""

    name: str
    samples: NDArray[np.float32]
    opus: bytes
    words: str

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SAMPLE_RATE


def opus_clips(count: int) -> list[SpeechSample]:
    """Make clips of 2 to 15 seconds, each with words of its own; always the same.

    Raises:
        ConfigurationError: espeak-ng is not installed.
    """
    require_speech()
    return [_clip(random.Random(number), f"clip-{number:03}") for number in range(count)]


def opus_recording(seconds: float) -> SpeechSample:
    """Make one recording of at least this duration: clips with pauses between them.

    Raises:
        ConfigurationError: espeak-ng is not installed.
    """
    require_speech()
    dice = random.Random(0)
    parts: list[NDArray[np.float32]] = []
    said: list[str] = []
    size = 0
    while size < seconds * SAMPLE_RATE:
        words = _text(dice)
        pause = np.zeros(round(dice.uniform(*_PAUSE) * SAMPLE_RATE), np.float32)
        parts += [_heard(words), pause]
        said.append(words)
        size += len(parts[-2]) + len(parts[-1])
    return _kept("recording", np.concatenate(parts), " ".join(said))


def _clip(dice: random.Random, name: str) -> SpeechSample:
    words = _text(dice)
    return _kept(name, _heard(words), words)


def _text(dice: random.Random) -> str:
    """Make whole sentences with about a random number of words."""
    least = dice.randint(*_WORDS)
    said: list[str] = []
    while len(said) < least:
        parts: Sequence[Sequence[str]] = (_WHO, _DID, _WHAT, _WHERE, _WHEN, _THEN)
        # A short clip is a short sentence.
        parts = parts[: 3 if least - len(said) <= _FEW else len(parts)]
        said += f"{' '.join(dice.choice(each) for each in parts)}.".split()
    return " ".join(said)


def _heard(words: str) -> NDArray[np.float32]:
    """Synthesise samples at 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(io.BytesIO(speak(words)), "r") as source:
        frames = [f for frame in source.decode(audio=0) for f in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def _kept(name: str, samples: NDArray[np.float32], words: str) -> SpeechSample:
    """Encode a recording, and decode it again, so that all recognisers get the same samples."""
    opus = _opus(samples)
    return SpeechSample(name, decode_opus(io.BytesIO(opus)), opus, words)


def _opus(samples: NDArray[np.float32]) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="ogg") as sink:
        stream = sink.add_stream("libopus", rate=SAMPLE_RATE)
        stream.layout = "mono"
        stream.bit_rate = _BIT_RATE
        pcm = np.clip(samples * 32767, -32768, 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(
            stream.format, "mono", SAMPLE_RATE, frame_size=SAMPLE_RATE // 50
        )
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            sink.mux(stream.encode(piece))
        sink.mux(stream.encode(None))
    return target.getvalue()
