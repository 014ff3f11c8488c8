"""Recordings of several channels, mixed of prompts that people spoke, in many kinds.

What microphones, lines and studios do to voices is added here: crosstalk, echo, rooms, noise,
levels, panning. Each kind says how many different voices or sounds its channels hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from consumers.speech.recogniser import SAMPLE_RATE
from tests.bench.prompts import SPEAKERS, Samples, prompt_files, read_prompt

_FLOOR_DBFS = (-75.0, -55.0)

#: Seconds of a turn in a conversation, and of the pauses between a speaker's prompts.
_TURN = 4.0
_PAUSE = (0.1, 0.6)

#: Nepers by which a reverberation of 60 dB decays.
_DECAY = 6.9

Turns = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class PromptLibrary:
    """The prompts of each speaker and the pieces of music; each is read once."""

    speakers: Sequence[Sequence[Path]]
    music: Sequence[Path]
    _known: dict[Path, Samples] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> PromptLibrary:
        """List the folder of Asterisk's ``sounds`` and ``moh``.

        Raises:
            ConfigurationError: Debian's packages of them are not installed.
        """
        speakers = [prompt_files(root / "sounds" / speaker) for speaker in SPEAKERS]
        return cls(speakers, prompt_files(root / "moh"))

    def read(self, path: Path) -> Samples:
        """Return a file's sound."""
        if path not in self._known:
            self._known[path] = read_prompt(path)
        return self._known[path]


class SceneBuilder:
    """Makes the parts of one scene, by its own dice."""

    def __init__(self, library: PromptLibrary, dice: random.Random, seconds: float) -> None:
        self._library = library
        self._seconds = seconds
        self._size = round(seconds * SAMPLE_RATE)
        self._speakers = dice.sample(library.speakers, len(library.speakers))
        self._noise = np.random.default_rng(dice.randrange(1 << 30))
        self.dice = dice
        self.pick = dice.uniform

    def voice(self, number: int, turns: Turns = ()) -> Samples:
        """Let one of the scene's speakers talk in some turns, or all the time."""
        sound = self.silence()
        for start, end in turns or [(0.0, self._seconds)]:
            at, stop = round(start * SAMPLE_RATE), min(round(end * SAMPLE_RATE), self._size)
            while at < stop:
                prompt = self._library.read(self.dice.choice(self._speakers[number]))
                said = prompt[: stop - at]
                sound[at : at + len(said)] += said
                at += len(said) + round(self.pick(*_PAUSE) * SAMPLE_RATE)
        return sound

    def turns(self, people: int = 2, share: float = 0.5) -> list[list[tuple[float, float]]]:
        """Deal the time to people: to the first this share, to the others the rest."""
        turns: list[list[tuple[float, float]]] = [[] for _ in range(people)]
        time, who = 0.0, self.dice.randrange(people)
        while time < self._seconds:
            part = share if who == 0 else (1 - share) / (people - 1)
            length = max(0.6, self.pick(0.4, 1.6) * _TURN * part * people)
            turns[who].append((time, time + length))
            time = max(0.0, time + length + self.pick(-0.3, 0.5))
            who = (who + self.dice.randrange(1, people)) % people
        return turns

    def conversation(self, people: int = 2, share: float = 0.5) -> list[Samples]:
        """Let people talk in turns, which overlap a little."""
        return [self.voice(n, turns) for n, turns in enumerate(self.turns(people, share))]

    def everybody(self) -> Samples:
        """Make the sum of a conversation."""
        first, second = self.conversation()
        return first + second

    def silence(self) -> Samples:
        return np.zeros(self._size, np.float32)

    def noise(self, dbfs: float | None = None) -> Samples:
        """Make hiss; by default that of some microphone."""
        level = gain(self.pick(*_FLOOR_DBFS) if dbfs is None else dbfs)
        return self._noise.standard_normal(self._size).astype(np.float32) * level

    def music(self) -> Samples:
        """Cut out a piece of music; where it ends, it begins again."""
        piece = self._library.read(self.dice.choice(self._library.music))
        return np.resize(np.roll(piece, self.dice.randrange(len(piece))), self._size)

    def in_room(self, sound: Samples, *, direct: float = 1.0, wet: float = 0.3) -> Samples:
        """Add reverberation of 0.4 s, other reflections each time."""
        length = round(0.4 * SAMPLE_RATE)
        decay = np.exp(-_DECAY * np.arange(length) / length)
        response = self._noise.standard_normal(length) * decay
        response /= np.sqrt(np.square(response).sum())
        size = 1 << (self._size + length - 1).bit_length()
        spectrum = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
        reflected = np.fft.irfft(spectrum, size)[: self._size]
        return (direct * sound + wet * reflected).astype(np.float32)


def gain(decibels: float) -> np.float32:
    """Return the factor of a level."""
    return np.float32(10 ** (decibels / 20))


def late(sound: Samples, seconds: float) -> Samples:
    """Shift a sound, by a negative time to an earlier one."""
    shift = round(seconds * SAMPLE_RATE)
    shifted = np.zeros_like(sound)
    if shift >= 0:
        shifted[shift:] = sound[: len(sound) - shift]
    else:
        shifted[:shift] = sound[-shift:]
    return shifted


@dataclass(frozen=True, slots=True)
class SceneKind:
    """A kind of recording.

    Attributes:
        name: For people.
        voices: How many channels the result is to have.
        build: Makes the channels of one.
        seconds: Length of one.
    """

    name: str
    voices: int
    build: Callable[[SceneBuilder], Sequence[Samples]]
    seconds: float = 60.0

    def scene(self, library: PromptLibrary, number: int) -> Samples:
        """Make a scene, shape ``(channels, samples)``; a number always gives the same."""
        dice = random.Random(f"{self.name} {number}")
        return np.stack(self.build(SceneBuilder(library, dice, self.seconds)))


def _clean(make: SceneBuilder) -> Sequence[Samples]:
    return [voice + make.noise() for voice in make.conversation()]


def _leaking(
    make: SceneBuilder, decibels: tuple[float, float], lag: tuple[float, float]
) -> list[Samples]:
    first, second = make.conversation()
    level, seconds = gain(make.pick(*decibels)), make.pick(*lag)
    return [
        first + late(second, seconds) * level + make.noise(),
        second + late(first, seconds) * level + make.noise(),
    ]


def _echo_alone(make: SceneBuilder) -> Sequence[Samples]:
    voice = make.voice(0)
    echo = late(voice, make.pick(0.03, 0.3)) * gain(make.pick(-25, -10))
    return [voice + make.noise(), echo + make.noise()]


def _at_once(make: SceneBuilder) -> Sequence[Samples]:
    return [make.voice(n) + make.noise() for n in range(2)]


def _lapels(make: SceneBuilder) -> Sequence[Samples]:
    first, second = make.conversation()
    level = gain(make.pick(-18, -11))
    return [
        make.in_room(near, wet=0.15) + late(make.in_room(far), 0.005) * level + make.noise()
        for near, far in ((first, second), (second, first))
    ]


def _seldom(make: SceneBuilder) -> Sequence[Samples]:
    return [voice + make.noise() for voice in make.conversation(share=0.88)]


def _levels_apart(make: SceneBuilder) -> Sequence[Samples]:
    first, second = make.conversation()
    return [first + make.noise(), second * gain(-20) + make.noise(-78)]


def _in_noise(make: SceneBuilder) -> Sequence[Samples]:
    return [voice + make.noise(-34) for voice in make.conversation()]


def _over_music(make: SceneBuilder) -> Sequence[Samples]:
    return [make.voice(0) + make.noise(), make.music() * gain(-6)]


def _late_joiner(make: SceneBuilder) -> Sequence[Samples]:
    alone = 600.0
    first, second = make.turns()
    begin = [(start, end) for start, end in first if start < alone]
    joins = [(start, end) for start, end in second if start > alone]
    rest = [turn for turn in first if turn[0] >= alone]
    return [make.voice(0, [*begin, *rest]) + make.noise(), make.voice(1, joins) + make.noise()]


def _three_people(make: SceneBuilder) -> Sequence[Samples]:
    """Three people on four to eight channels, of which the others are copies or silent."""
    people = [voice + make.noise() for voice in make.conversation(3, share=1 / 3)]
    extra = [
        make.dice.choice([make.silence(), make.dice.choice(people) * gain(make.pick(-12, 0))])
        for _ in range(make.dice.randint(1, 5))
    ]
    channels = [*people, *extra]
    make.dice.shuffle(channels)
    return channels


def _noise_beside(make: SceneBuilder) -> Sequence[Samples]:
    return [make.voice(0) + make.noise(), make.noise()]


def _dual_mono(make: SceneBuilder) -> Sequence[Samples]:
    sound = make.everybody()
    return [sound, sound.copy()]


def _dual_mono_levels(make: SceneBuilder) -> Sequence[Samples]:
    sound = make.everybody() + make.noise()
    return [sound, sound * gain(make.pick(-25, -3)) + make.noise(-80)]


def _lagging(make: SceneBuilder, seconds: tuple[float, float]) -> Sequence[Samples]:
    sound = make.everybody() + make.noise()
    return [sound, late(sound, make.dice.choice([-1, 1]) * make.pick(*seconds))]


def _opposite(make: SceneBuilder) -> Sequence[Samples]:
    sound = make.everybody() + make.noise()
    return [sound, -sound]


def _pair(make: SceneBuilder, decibels: float, seconds: float) -> Sequence[Samples]:
    """Two microphones in a room, between which each voice differs in level and time."""
    left, right = make.noise(), make.noise()
    for voice in make.conversation():
        tilt, lag = make.pick(-decibels, decibels), make.pick(-seconds, seconds)
        left += make.in_room(voice, direct=float(gain(tilt / 2)))
        right += late(make.in_room(voice, direct=float(gain(-tilt / 2))), lag)
    return [left, right]


def _far(make: SceneBuilder) -> Sequence[Samples]:
    first, second = make.conversation()
    return [
        sum(
            late(make.in_room(voice, direct=0.3, wet=0.6), lag)
            for voice, lag in ((first, shift), (second, -shift))
        )
        + make.noise()
        for shift in (0.0, 0.001)
    ]


def _panned(make: SceneBuilder) -> Sequence[Samples]:
    first, second = make.conversation()
    return [first + second * gain(-6) + make.noise(), second + first * gain(-6) + make.noise()]


def _music(make: SceneBuilder, common: float) -> Sequence[Samples]:
    """Instruments of which some are in the middle, and some on a side."""
    middle, left, right = (make.music() for _ in range(3))
    return [
        make.in_room(np.float32(common) * middle + side, wet=0.2) * gain(-8)
        for side in (left, right)
    ]


def _voice_on_music(make: SceneBuilder) -> Sequence[Samples]:
    voice, (left, right) = make.voice(0), _music(make, 1.4)
    return [voice + left * gain(-10), voice + right * gain(-10)]


def _mid_side(make: SceneBuilder) -> Sequence[Samples]:
    left, right = _panned(make)
    half = np.float32(0.5)
    return [half * (left + right), half * (left - right)]


SCENE_KINDS: Sequence[SceneKind] = (
    SceneKind("two voices", 2, _clean),
    SceneKind("two voices, digital silence between", 2, SceneBuilder.conversation),
    SceneKind("two voices, crosstalk", 2, lambda make: _leaking(make, (-30, -14), (0.002, 0.003))),
    SceneKind(
        "two voices, echo of the line", 2, lambda make: _leaking(make, (-30, -15), (0.03, 0.3))
    ),
    SceneKind("two voices at once", 2, _at_once),
    SceneKind("two lapel microphones in a room", 2, _lapels),
    SceneKind("two voices, one seldom", 2, _seldom),
    SceneKind("two voices, levels 20 dB apart", 2, _levels_apart),
    SceneKind("two voices, noise 10 dB below", 2, _in_noise),
    SceneKind("a voice, and music", 2, _over_music),
    SceneKind("two voices, one from minute 10 on", 2, _late_joiner, seconds=720),
    SceneKind("three voices on 4 to 8 channels", 3, _three_people),
    SceneKind("a voice, and its echo", 1, _echo_alone),
    SceneKind("a voice, and noise", 1, _noise_beside),
    SceneKind("dual mono", 1, _dual_mono),
    SceneKind("dual mono, levels differ", 1, _dual_mono_levels),
    SceneKind("dual mono, up to 0.25 s apart", 1, lambda make: _lagging(make, (0.0005, 0.25))),
    SceneKind("dual mono, 0.25 to 0.45 s apart", 1, lambda make: _lagging(make, (0.25, 0.45))),
    SceneKind("opposite phase", 1, _opposite),
    SceneKind("a room, XY", 1, lambda make: _pair(make, 6, 0)),
    SceneKind("a room, AB", 1, lambda make: _pair(make, 4, 0.003)),
    SceneKind("a room, far away", 1, _far),
    SceneKind("panned by 6 dB", 1, _panned),
    SceneKind("music in stereo", 1, lambda make: _music(make, 2.0)),
    SceneKind("music in wide stereo", 1, lambda make: _music(make, 0.7)),
    SceneKind("a voice, music in stereo", 1, _voice_on_music),
    SceneKind("mid and side", 1, _mid_side),
)
