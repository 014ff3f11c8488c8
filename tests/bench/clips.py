"""Speech for benchmarks, as MP3 and as Opus: the same bytes wherever it is made."""

from __future__ import annotations

import io
import random
import wave
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from consumers.audio.decode import decode_channels
from consumers.errors import ConfigurationError
from consumers.speech.recogniser import SAMPLE_RATE
from ops.sample.make_sample import SpokenRecording, encode, speak
from tests.harness.servers.process import require

#: The shortest and longest clip in seconds, and the words for about that time.
_SECONDS = (5.0, 15.0)
_MP3_WORDS = (16, 34)

#: Hz. Like most MP3 files of speech, clips have 64 kbit/s and joint stereo.
_RATE = 44_100

_TALES = (
    ("my sister", "the old farmer", "our teacher", "a young doctor", "the captain", "nobody"),
    ("found", "carried", "remembered", "painted", "sold", "forgot", "opened", "wanted"),
    ("the letter", "a wooden box", "seven apples", "the blue bicycle", "a map", "some bread"),
    ("behind the house", "near the river", "at the station", "in the garden", "on the hill"),
    ("on Monday", "before breakfast", "last winter", "every evening", "after the storm"),
    ("because it was raining", "and then went home", "without saying a word", "for her brother"),
)


def require_speech() -> None:
    """Make sure that espeak-ng is installed.

    Raises:
        ConfigurationError: espeak-ng is not installed.
    """
    require(["espeak-ng"], "apt-get install --no-install-recommends espeak-ng")


def mp3_clips(count: int) -> list[bytes]:
    """Make clips of 5 to 15 seconds, each with words of its own.

    Raises:
        ConfigurationError: espeak-ng is not installed, or speaks at another pace.
    """
    require_speech()
    return [_mp3_clip(random.Random(number)) for number in range(count)]


def mp3_recording(seconds: float) -> bytes:
    """Make one MP3 file of at least this duration.

    Raises:
        ConfigurationError: espeak-ng is not installed.
    """
    require_speech()
    dice = random.Random(0)
    wavs, spoken = [], 0.0
    while spoken < seconds:
        wavs.append(speak(_mp3_text(dice, 100)))
        spoken += _seconds(wavs[-1])
    return _mp3(_joined_wavs(wavs))


def _mp3_clip(dice: random.Random) -> bytes:
    words = _mp3_text(dice, dice.randint(*_MP3_WORDS))
    wav = speak(words)
    seconds = _seconds(wav)
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise ConfigurationError(f"espeak-ng takes {seconds:.1f} s for {words!r}")
    return _mp3(wav)


def _mp3_text(dice: random.Random, words: int) -> str:
    """Make a text of this many words; the last sentence may break off."""
    said: list[str] = []
    while len(said) < words:
        said += _sentence(dice, _TALES)
    return " ".join(said[:words])


def _sentence(dice: random.Random, parts: Sequence[Sequence[str]]) -> list[str]:
    """Choose one of each part."""
    chosen = " ".join(dice.choice(each) for each in parts)
    return f"{chosen[0].upper()}{chosen[1:]}.".split()


def _seconds(wav: bytes) -> float:
    rate, content = _sound(wav)
    return len(content) / 2 / rate


def _sound(wav: bytes) -> tuple[int, bytes]:
    """Read rate and samples; on a pipe, espeak-ng's header has no length."""
    with wave.open(io.BytesIO(wav)) as file:
        return file.getframerate(), file.readframes(len(wav))


def _joined_wavs(wavs: Sequence[bytes]) -> bytes:
    sounds = [_sound(wav) for wav in wavs]
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, sounds[0][0], 0, "NONE", ""))
        for _, content in sounds:
            file.writeframes(content)
    return target.getvalue()


def _mp3(wav: bytes) -> bytes:
    return encode(wav, SpokenRecording("clip.mp3", _RATE, "stereo", ""))


#: Words of a clip, for 2 to 15 seconds of espeak-ng.
_OPUS_WORDS = (5, 34)
_FEW = 7

#: Seconds between a long recording's clips.
_PAUSE = (0.5, 2.0)

#: kbit/s, as recordings are kept.
_BIT_RATE = 24_000

_STORIES: Sequence[Sequence[str]] = (
    ("My grandfather", "The old farmer", "Our teacher", "A young doctor", "The captain", "She"),
    ("found", "carried", "remembered", "painted", "sold", "opened", "wanted", "brought"),
    ("the letter", "a wooden box", "seven apples", "the blue bicycle", "some bread", "a map"),
    ("behind the house", "near the river", "at the station", "in the garden", "on the table"),
    ("on Monday", "before breakfast", "last winter", "every evening", "after lunch"),
    (
        "because it was raining",
        "and then walked home along the water",
        "without saying a word",
        "with heavy rain in the afternoon",
        "for many years",
    ),
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
    return [_opus_clip(random.Random(number), f"clip-{number:03}") for number in range(count)]


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
        words = _opus_text(dice)
        pause = np.zeros(round(dice.uniform(*_PAUSE) * SAMPLE_RATE), np.float32)
        parts += [_spoken(words), pause]
        said.append(words)
        size += len(parts[-2]) + len(parts[-1])
    return _kept("recording", np.concatenate(parts), " ".join(said))


def _opus_clip(dice: random.Random, name: str) -> SpeechSample:
    words = _opus_text(dice)
    return _kept(name, _spoken(words), words)


def _opus_text(dice: random.Random) -> str:
    """Make whole sentences with about a random number of words."""
    least = dice.randint(*_OPUS_WORDS)
    said: list[str] = []
    while len(said) < least:
        # A short clip is a short sentence.
        said += _sentence(dice, _STORIES[: 3 if least - len(said) <= _FEW else None])
    return " ".join(said)


def _spoken(words: str) -> NDArray[np.float32]:
    """Synthesise samples at 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(io.BytesIO(speak(words)), "r") as source:
        frames = [f for frame in source.decode(audio=0) for f in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def _kept(name: str, samples: NDArray[np.float32], words: str) -> SpeechSample:
    """Encode a recording, and decode it again, so that all recognisers get the same samples."""
    opus = _opus(samples)
    (samples,) = decode_channels(io.BytesIO(opus))
    return SpeechSample(name, samples, opus, words)


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
