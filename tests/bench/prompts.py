"""Recordings of people with the times of speech, made of Debian's packages of prompts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from consumers.errors import ConfigurationError
from consumers.speech.recogniser import SAMPLE_RATE
from consumers.speech.voice import Stretch

Samples = NDArray[np.float32]

_INSTALL = "apt-get install --no-install-recommends asterisk-moh-opsound-g722 " + " ".join(
    f"asterisk-core-sounds-{language}-g722" for language in ("en", "es", "fr", "it", "ru")
)
#: Folders of the prompts of one person each.
SPEAKERS = (
    "en_US_f_Allison",
    "es_MX_f_Allison",
    "fr_CA_f_June",
    "it_IT_m_Carlo",
    "ru_RU_f_IvrvoiceRU",
)

#: What is no speech among the prompts.
_SOUNDS = ("beep", "tone", "silence")

#: Seconds: of a recording, and of the pauses between its prompts.
_LENGTH = 300.0
_PAUSE = (0.2, 8.0)

#: Seconds of a prompt: shorter ones are letters or digits.
_SHORTEST = 1.0

#: The background and its level below the prompts in dB; recordings take turns.
_BEHIND = (("hiss", 45), ("hiss", 10), ("music", 10), ("hiss", 5))

#: Samples of a tenth of a second, and the power of the quietest speech beside the loudest.
_TENTH = SAMPLE_RATE // 10
_QUIETEST = 10**-3


@dataclass(frozen=True, slots=True, eq=False)
class PromptRecording:
    """A recording.

    Attributes:
        samples: float32 at 16 kHz.
        is_speech: Whether each tenth of a second holds speech.
    """

    samples: Samples
    is_speech: NDArray[np.bool_]

    @property
    def spoken(self) -> float:
        """Seconds of speech."""
        return float(self.is_speech.sum()) / 10

    def missed(self, stretches: Sequence[Stretch]) -> float:
        """Count the seconds of speech outside the stretches."""
        middles = np.arange(len(self.is_speech)) / 10 + 0.05
        found = np.zeros_like(self.is_speech)
        for start, end in stretches:
            found |= (start <= middles) & (middles <= end)
        return float((self.is_speech & ~found).sum()) / 10


def prompt_recordings(root: Path, share: float) -> list[PromptRecording]:
    """Make recordings of five minutes of a share of the prompts; always the same.

    Args:
        root: The folder of Asterisk's ``sounds`` and ``moh``.
        share: Share of the prompts, above 0 and up to 1.

    Raises:
        ConfigurationError: Debian's packages of them are not installed.
    """
    dice = random.Random(0)
    paths = sorted(path for speaker in SPEAKERS for path in prompt_files(root / "sounds" / speaker))
    music = np.concatenate([read_prompt(path) for path in prompt_files(root / "moh")])
    hiss = np.random.default_rng(0).normal(0, 1, len(music)).astype(np.float32)
    behind = {"hiss": hiss, "music": music}
    chosen = dice.sample(paths, max(1, round(share * len(paths))))
    return [
        PromptRecording(_mixed(samples, is_speech, behind[kind], decibels), is_speech)
        for (samples, is_speech), (kind, decibels) in zip(
            _joined(chosen, dice), cycle(_BEHIND), strict=False
        )
    ]


def prompt_files(folder: Path) -> list[Path]:
    """List the prompts or the music of a folder.

    Raises:
        ConfigurationError: There are none.
    """
    found = sorted(
        path for path in folder.glob("*.g722") if not any(sound in path.name for sound in _SOUNDS)
    )
    if not found:
        raise ConfigurationError(f"no recordings in {folder}: {_INSTALL}")
    return found


def read_prompt(path: Path) -> Samples:
    """Return a file's sound at 16 kHz."""
    with av.open(path, format="g722") as source:
        frames = [frame.to_ndarray()[0] for frame in source.decode(audio=0)]
    pcm: NDArray[np.int16] = np.concatenate([np.zeros(0, np.int16), *frames])
    return pcm.astype(np.float32) / np.float32(32768)


def _joined(
    paths: Sequence[Path], dice: random.Random
) -> Iterator[tuple[Samples, NDArray[np.bool_]]]:
    """Prompts with pauses between them, a recording's length at a time."""
    parts: list[Samples] = []
    for number, path in enumerate(paths, 1):
        prompt = read_prompt(path)
        if len(prompt) >= _SHORTEST * SAMPLE_RATE:
            pause = round(dice.uniform(*_PAUSE) * 10) * _TENTH
            parts += [prompt[: len(prompt) // _TENTH * _TENTH], np.zeros(pause, np.float32)]
        is_last = number == len(paths)
        if parts and (is_last or sum(map(len, parts)) >= _LENGTH * SAMPLE_RATE):
            yield np.concatenate(parts), np.concatenate([_is_speech(part) for part in parts])
            parts = []


def _is_speech(part: Samples) -> NDArray[np.bool_]:
    power = _power(part.reshape(-1, _TENTH))
    return power > max(float(power.max()) * _QUIETEST, 1e-12)


def _mixed(
    samples: Samples, is_speech: NDArray[np.bool_], behind: Samples, decibels: float
) -> Samples:
    """Add a background, this many dB below the speech."""
    other = np.resize(behind, samples.size)
    speech = float(_power(samples.reshape(-1, _TENTH)[is_speech]).mean())
    gain = math.sqrt(speech / float(_power(other)) * 10 ** (-decibels / 10))
    return samples + other * np.float32(gain)


def _power(samples: Samples) -> NDArray[np.float32]:
    """The mean square along the last axis."""
    power: NDArray[np.float32] = np.square(samples).mean(axis=-1)
    return power
