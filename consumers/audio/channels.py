"""Judges whether the channels of a recording hold the same sound, before anything is mixed.

A wrong split doubles the text; a wrong mix can lose a voice. The thresholds are from mixtures of
recorded prompts, of which ``tests/bench/RESULTS.md`` has the figures: in a call one channel rests
while the other speaks, so the difference of their levels swings both ways by tens of dB; the
channels of a room, of music and of copies swing by less than 9 dB, or resemble each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consumers.audio.resample import Planes, distinct, floats, repeated
from consumers.documents.note import Note, NoteCode

ChannelSetting = Literal["auto", "mix", "split"]

#: Output channels of one Opus object; libopus encodes more, but players refuse them.
MOST_OUTPUTS = 8

_LEVELS_PER_SECOND = 4
_WINDOW_SECONDS = 4
#: Windows that are compared from the start on, and after them one of so many.
_WINDOWS_AT_ONCE, _WINDOW_STRIDE = 8, 8
#: Comparison needs no more than 2 kHz.
_DECIMATION = 4
#: Seconds by which a copy may lag.
_MOST_LAG = 0.5
#: With more channels than this, only simultaneous samples are compared.
_MOST_LAGGED = 8

_FLOOR, _INAUDIBLE = -100.0, -62.0
#: dB above a channel's floor, and below its loudest, at which it counts as active.
_ABOVE_FLOOR, _BELOW_LOUDEST = 8.0, 15.0
#: dB by which a channel dominates another one.
_DOMINANT = 9.0
#: Share of the active time in which each of two voices dominates.
_TURNS = 0.06
#: Peaks of the normalised cross-correlation: of unrelated sounds at most, of copies at least.
_UNRELATED, _COPY, _EXACT = 0.15, 0.75, 0.97
#: From this height on, signs that change in this share of the windows mean that a sum cancels.
_SIGNED, _SIGN_CHANGES = 0.35, 0.15
#: dB between quiet and loud moments; steady noise has less, speech far more.
_STEADY = 6.0
#: Seconds; a larger lag makes an audible echo of a sum.
_ECHO = 0.005


class ChannelLabel(NamedTuple):
    """Where a channel comes from, counted from 1."""

    track: int
    channel: int


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """How input channels become output channels.

    Attributes:
        outputs: For each output channel, the input channels (from 0) that are added, with their
            gains.
        notes: What people should know about it.
    """

    outputs: tuple[tuple[tuple[int, float], ...], ...]
    notes: tuple[Note, ...] = ()

    def apply(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix a block, shape ``(inputs, samples)``, into one of shape ``(outputs, samples)``."""
        gains = np.zeros((len(self.outputs), len(block)), np.float32)
        for output, sources in enumerate(self.outputs):
            for channel, gain in sources:
                gains[output, channel] = gain
        return gains @ block


FIRST_CHANNEL = ChannelPlan((((0, 1.0),),))
"""Leaves out all channels but the first."""


class _Likeness(NamedTuple):
    """The peak of a cross-correlation: its height from -1 to 1, and the second's lag in seconds."""

    height: float
    lag: float


@dataclass(slots=True)
class _Pair:
    """What is known of two channels."""

    likenesses: list[_Likeness] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Median height, without its sign; 0 where nothing was compared."""
        heights = [abs(each.height) for each in self.likenesses]
        return median(heights) if heights else 0.0

    @property
    def negative(self) -> float:
        """Share of the windows in which one is inverted."""
        return fmean([each.height < 0 for each in self.likenesses] or [False])

    @property
    def lag(self) -> float:
        """Median lag in seconds."""
        return median([each.lag for each in self.likenesses] or [0.0])

    @property
    def is_copy(self) -> bool:
        """Whether one resembles the other at the same lag throughout.

        The two sides of a call with echo resemble each other, too, but each lags in turn.
        """
        if self.height < _COPY:
            return False
        lag = self.lag
        near = [abs(each.lag - lag) < _ECHO for each in self.likenesses]
        return fmean(near) >= 1 - _SIGN_CHANGES


_Pairs = dict[tuple[int, int], _Pair]


@dataclass(frozen=True, slots=True)
class _Channel:
    """The levels of one channel, in dB of full scale."""

    levels: NDArray[np.float32]
    active: NDArray[np.bool_]
    loudest: float
    loud: float
    is_steady: bool

    @classmethod
    def of(cls, levels: NDArray[np.float32]) -> _Channel:
        # The mean of two neighbours: onsets then weigh less, and so do lags.
        smooth = 10 * np.log10((10 ** (levels / 10) + 10 ** (np.roll(levels, 1) / 10)) / 2)
        smooth[0] = levels[0]
        floor, most = float(np.percentile(smooth, 8)), float(smooth.max())
        active = (smooth > floor + _ABOVE_FLOOR) | (smooth > most - _BELOW_LOUDEST)
        active &= smooth > _INAUDIBLE
        loud = float(np.percentile(smooth[active], 95)) if active.any() else most
        return cls(smooth, active, most, loud, is_steady=loud - floor < _STEADY)


class ChannelJudge:
    """Compares the channels of one recording as their sound passes by.

    Memory: 4 s of sound, and 16 bytes per second and channel. Channels that are copies of each
    other, as in most files with two, cost little more than one.
    """

    def __init__(
        self,
        labels: Sequence[ChannelLabel],
        sample_rate: int,
        silence_dbfs: float,
        setting: ChannelSetting = "auto",
    ) -> None:
        self._labels = labels
        self._sample_rate = sample_rate
        self._silence = silence_dbfs
        self._setting = setting
        self._hop = sample_rate // _LEVELS_PER_SECOND
        self._window = sample_rate * _WINDOW_SECONDS
        self._pending = [np.zeros((1, 0), np.int16)]
        self._are_copies = True
        self._levels: list[NDArray[np.float32]] = []
        self._pairs: _Pairs = {}

    def add(self, block: Planes) -> None:
        """Add sound of all channels, or of one of which all are copies."""
        self._pending.append(block)
        self._are_copies = self._are_copies and len(block) == 1
        if sum(each.shape[1] for each in self._pending) < self._window:
            return
        sound = self._joined()
        while sound.shape[1] >= self._window:
            self._take(distinct(sound[:, : self._window]))
            sound = sound[:, self._window :]
        self._pending = [sound]

    def plan(self) -> ChannelPlan:
        """Judge what was added so far; more may be added afterwards."""
        if self._are_copies and len({each.track for each in self._labels}) == 1:
            return FIRST_CHANNEL  # Which the rest would find, more slowly.
        facts = self._facts()
        audible = [each for each, fact in enumerate(facts) if fact.loudest >= self._silence]
        if not audible:
            return FIRST_CHANNEL
        notes = self._silent_note([each for each in range(len(facts)) if each not in audible])
        groups = self._groups(audible, facts)
        if len(groups) > 1:
            notes.append(self._split_note(groups))
        if len(groups) > MOST_OUTPUTS:
            notes.append(self._crowd_note(groups))
            groups[MOST_OUTPUTS - 1 :] = [list(itertools.chain(*groups[MOST_OUTPUTS - 1 :]))]
        outputs = []
        for group in groups:
            sources, about = self._mixed(group, facts)
            outputs.append(sources)
            notes += about
        return ChannelPlan(tuple(outputs), tuple(notes))

    def _take(self, window: Planes) -> None:
        levels = self._levels_of(window)
        self._levels.append(levels)
        index = len(self._levels) - 1
        if index < _WINDOWS_AT_ONCE or index % _WINDOW_STRIDE == 0:
            self._compare(window, levels, self._pairs)

    def _compare(self, window: Planes, levels: NDArray[np.float32], pairs: _Pairs) -> None:
        loud = levels.max(axis=1) >= self._silence
        audible = [int(each) for each in np.flatnonzero(loud)]
        most_lag = _MOST_LAG if len(audible) <= _MOST_LAGGED else 0.0
        for pair, likeness in _likenesses(window, audible, most_lag, self._sample_rate):
            pairs.setdefault(pair, _Pair()).likenesses.append(likeness)

    def _facts(self) -> list[_Channel]:
        levels = np.concatenate([*self._levels, self._levels_of(self._rest())], axis=1)
        known: dict[bytes, _Channel] = {}
        for row in levels:
            if (key := row.tobytes()) not in known:
                known[key] = _Channel.of(row)
        return [known[row.tobytes()] for row in levels]

    def _groups(self, audible: Sequence[int], facts: Sequence[_Channel]) -> list[list[int]]:
        """Collect channels that hold the same sound, the loudest first in each group."""
        if self._setting == "mix":
            return [sorted(audible, key=lambda each: -facts[each].loud)]
        pairs = self._judged_pairs()
        groups: list[list[int]] = []
        for channel in sorted(audible, key=lambda each: -facts[each].loud):
            for group in groups:
                pair = pairs.get((min(group[0], channel), max(group[0], channel)), _Pair())
                if self._is_same(facts[group[0]], facts[channel], pair):
                    group.append(channel)
                    break
            else:
                groups.append([channel])
        return sorted(groups, key=min)

    def _judged_pairs(self) -> _Pairs:
        if self._levels:
            return self._pairs
        pairs: _Pairs = {}
        rest = self._rest()
        self._compare(rest, self._levels_of(rest), pairs)
        return pairs

    def _rest(self) -> Planes:
        """Return what waits for a whole window, padded to one level at least."""
        rest = distinct(self._joined())
        missing = self._hop - rest.shape[1]
        return np.pad(rest, ((0, 0), (0, missing))) if missing > 0 else rest

    def _joined(self) -> Planes:
        channels = max(map(len, self._pending))
        return np.concatenate([repeated(each, channels) for each in self._pending], axis=1)

    def _levels_of(self, sound: Planes) -> NDArray[np.float32]:
        """Return levels in dB of full scale, shape ``(channels, samples // hop)``."""
        parts = floats(sound[:, : sound.shape[1] // self._hop * self._hop])
        parts = parts.reshape(len(sound), -1, self._hop)
        energy = np.einsum("cpi,cpi->cp", parts, parts) / self._hop
        levels: NDArray[np.float32] = 10 * np.log10(energy + 10 ** (_FLOOR / 10))
        return np.broadcast_to(levels, (len(self._labels), levels.shape[1]))

    def _is_same(self, louder: _Channel, other: _Channel, pair: _Pair) -> bool:
        # Few windows are compared, so that voices after a long common beginning show in the
        # levels only; those of a copy without lag never differ.
        is_copy = pair.is_copy and (abs(pair.lag) >= _ECHO or min(_turns(louder, other)) < _TURNS)
        if self._setting == "split":
            return pair.height >= _EXACT and is_copy
        if is_copy:
            return True
        if other.is_steady and other.loud < louder.loud - _STEADY:
            return True  # Background noise, which nobody would transcribe.
        if min(_turns(louder, other)) >= _TURNS:
            return False
        return not pair.likenesses or pair.height >= _UNRELATED

    def _mixed(
        self, group: Sequence[int], facts: Sequence[_Channel]
    ) -> tuple[tuple[tuple[int, float], ...], list[Note]]:
        """Choose gains with which no channel cancels another and the sum does not overload."""
        pairs = self._judged_pairs()
        signs = {group[0]: 1.0}
        notes = []
        for channel in group[1:]:
            pair = pairs.get((min(group[0], channel), max(group[0], channel)), _Pair())
            is_alone = _is_ever_alone(facts[group[0]], facts[channel])
            sign, note = (1.0, None) if is_alone else self._sign(group[0], channel, pair)
            if sign:
                signs[channel] = sign
            notes += [note] if note else []
        amplitudes = {each: 10 ** (facts[each].loud / 20) for each in signs}
        scale = max(amplitudes.values()) / sum(amplitudes.values())
        return tuple((each, sign * scale) for each, sign in sorted(signs.items())), notes

    def _sign(self, first: int, other: int, pair: _Pair) -> tuple[float, Note | None]:
        """Return the other's sign, 0 to leave it out, and a note where people may wonder."""
        names = self._name(first), self._name(other)
        inverted = pair.height >= _SIGNED and pair.negative > 1 - _SIGN_CHANGES
        if pair.height >= _EXACT and pair.is_copy and abs(pair.lag) < _ECHO:
            if inverted:
                return 0.0, _opposite(f"{names[1]} is {names[0]} inverted: one of them was used")
            return 0.0, self._copy_note(first, other, "")
        if pair.is_copy and abs(pair.lag) >= _ECHO:
            return 0.0, self._copy_note(first, other, f", {abs(pair.lag) * 1000:.0f} ms apart")
        if inverted:
            return -1.0, _opposite(f"{names[1]} has the opposite phase of {names[0]}: inverted")
        if pair.height >= _SIGNED and pair.negative >= _SIGN_CHANGES:
            return 0.0, _opposite(f"{names[1]} would cancel parts of {names[0]}: left out")
        return 1.0, None

    def _copy_note(self, first: int, other: int, apart: str) -> Note | None:
        """Say that a channel repeats another one, except the two of a dual-mono file."""
        if not apart and self._labels[first].track == self._labels[other].track:
            return None
        text = f"{self._name(other)} repeats {self._name(first)}{apart}: left out"
        return Note(NoteCode.DUPLICATE_CHANNEL, text)

    def _silent_note(self, silent: Sequence[int]) -> list[Note]:
        if not silent:
            return []
        text = f"{self._names(silent)} without audible sound: left out"
        return [Note(NoteCode.SILENT_CHANNEL, text)]

    def _split_note(self, groups: Sequence[Sequence[int]]) -> Note:
        names = self._names([min(group) for group in groups])
        return Note(NoteCode.CHANNELS_SPLIT, f"{names} hold different sound: kept apart")

    def _crowd_note(self, groups: Sequence[Sequence[int]]) -> Note:
        rest = len(groups) - MOST_OUTPUTS + 1
        text = f"{len(groups)} channels hold different sound: the last {rest} were mixed into one"
        return Note(NoteCode.CHANNELS_MIXED, text)

    def _names(self, channels: Sequence[int]) -> str:
        *most, last = (self._name(each) for each in channels)
        return f"{', '.join(most)} and {last}" if most else last

    def _name(self, channel: int) -> str:
        label = self._labels[channel]
        if len({each.track for each in self._labels}) == 1:
            return f"channel {label.channel}"
        if sum(each.track == label.track for each in self._labels) == 1:
            return f"track {label.track}"
        return f"track {label.track}, channel {label.channel}"


def _opposite(text: str) -> Note:
    return Note(NoteCode.OPPOSITE_PHASE, text)


def _turns(first: _Channel, second: _Channel) -> tuple[float, float]:
    """Return the shares of active time in which the first and the second dominate.

    Each is measured from its own loud moments, as microphones differ in level.
    """
    active = first.active | second.active
    if not (first.active.any() and second.active.any()):
        return 0.0, 0.0
    lead = (first.levels - first.loud) - (second.levels - second.loud)
    return float((lead[active] > _DOMINANT).mean()), float((lead[active] < -_DOMINANT).mean())


def _is_ever_alone(first: _Channel, other: _Channel) -> bool:
    """Whether the other dominates for a second of two, so that it holds sound of its own."""
    lead = (other.levels - other.loud) - (first.levels - first.loud)
    alone = other.active & (lead > _DOMINANT)
    within = np.convolve(alone, np.ones(2 * _LEVELS_PER_SECOND))
    return bool((within >= _LEVELS_PER_SECOND).any())


def _likenesses(
    window: Planes, channels: Sequence[int], most_lag: float, sample_rate: int
) -> Iterator[tuple[tuple[int, int], _Likeness]]:
    """Cross-correlate all pairs of channels, at a quarter of their rate."""
    if len(window) == 1:
        for pair in itertools.combinations(channels, 2):
            yield pair, _Likeness(1.0, 0.0)
        return
    length = window.shape[1] // _DECIMATION
    parts = floats(window[:, : length * _DECIMATION])
    # Several times as fast as NumPy's mean over an axis that is so short.
    sound = parts[:, ::_DECIMATION].copy()
    for each in range(1, _DECIMATION):
        sound += parts[:, each::_DECIMATION]
    sound /= _DECIMATION
    norms = np.sqrt(np.einsum("ci,ci->c", sound, sound)) + np.float32(1e-9)
    reach = min(int(most_lag * sample_rate) // _DECIMATION, length - 1)
    spectra: dict[int, NDArray[np.complexfloating[Any, Any]]] = {}
    for first, second in itertools.combinations(channels, 2):
        norm = norms[first] * norms[second]
        height, lag = float(sound[first] @ sound[second] / norm), 0
        if reach > 0 and abs(height) < _COPY:
            for each in {first, second} - spectra.keys():
                spectra[each] = np.fft.rfft(sound[each], 2 * length)
            lags = np.fft.irfft(spectra[first] * np.conj(spectra[second]), 2 * length)
            near = np.concatenate([lags[-reach:], lags[: reach + 1]])
            peak = int(np.abs(near).argmax())
            height, lag = float(near[peak] / norm), peak - reach
        yield (first, second), _Likeness(height, lag * _DECIMATION / sample_rate)
