"""MP3 recordings for benchmarks: the same bytes wherever they are made."""

from __future__ import annotations

import io
import random
import wave
from collections.abc import Sequence

from consumers.errors import ConfigurationError
from ops.sample.make_sample import SpokenRecording, encode, speak
from tests.harness.servers.process import require

#: The shortest and longest clip in seconds, and the words for about that time.
SECONDS = (5.0, 15.0)
_WORDS = (16, 34)

#: Hz. Like most MP3 files of speech, clips have 64 kbit/s and joint stereo.
_RATE = 44_100

_WHO = ("my sister", "the old farmer", "our teacher", "a young doctor", "the captain", "nobody")
_DID = ("found", "carried", "remembered", "painted", "sold", "forgot", "opened", "wanted")
_WHAT = ("the letter", "a wooden box", "seven apples", "the blue bicycle", "a map", "some bread")
_WHERE = ("behind the house", "near the river", "at the station", "in the garden", "on the hill")
_WHEN = ("on Monday", "before breakfast", "last winter", "every evening", "after the storm")
_WHY = ("because it was raining", "and then went home", "without saying a word", "for her brother")


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
    return [_clip(random.Random(number)) for number in range(count)]


def mp3_recording(seconds: float) -> bytes:
    """Make one MP3 file of at least this duration.

    Raises:
        ConfigurationError: espeak-ng is not installed.
    """
    require_speech()
    dice = random.Random(0)
    wavs, spoken = [], 0.0
    while spoken < seconds:
        wavs.append(speak(_text(dice, 100)))
        spoken += _seconds(wavs[-1])
    return _encoded(_joined(wavs))


def _clip(dice: random.Random) -> bytes:
    words = _text(dice, dice.randint(*_WORDS))
    wav = speak(words)
    seconds = _seconds(wav)
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise ConfigurationError(f"espeak-ng takes {seconds:.1f} s for {words!r}")
    return _encoded(wav)


def _text(dice: random.Random, words: int) -> str:
    """Make a text of this many words; the last sentence may break off."""
    said: list[str] = []
    while len(said) < words:
        parts = (_WHO, _DID, _WHAT, _WHERE, _WHEN, _WHY)
        chosen = " ".join(dice.choice(each) for each in parts)
        said += f"{chosen[0].upper()}{chosen[1:]}.".split()
    return " ".join(said[:words])


def _seconds(wav: bytes) -> float:
    rate, content = _sound(wav)
    return len(content) / 2 / rate


def _sound(wav: bytes) -> tuple[int, bytes]:
    """Read rate and samples; on a pipe, espeak-ng's header has no length."""
    with wave.open(io.BytesIO(wav)) as file:
        return file.getframerate(), file.readframes(len(wav))


def _joined(wavs: Sequence[bytes]) -> bytes:
    sounds = [_sound(wav) for wav in wavs]
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, sounds[0][0], 0, "NONE", ""))
        for _, content in sounds:
            file.writeframes(content)
    return target.getvalue()


def _encoded(wav: bytes) -> bytes:
    return encode(wav, SpokenRecording("clip.mp3", _RATE, "stereo", ""))
