"""Loudness and silence of mono 16-bit sound, measured on a stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAMPLE_BYTES = 2
_FULL_SCALE = 1 << 15


@dataclass(frozen=True, slots=True)
class Loudness:
    """Levels in dB of full scale; None for digital silence."""

    overall: float | None
    peak: float | None
    loudest: float | None
    """RMS of the loudest window of one second."""

    def is_silent(self, threshold: float) -> bool:
        """Whether no second reaches the threshold, in dB of full scale."""
        return self.loudest is None or self.loudest < threshold


class LoudnessMeter:
    """Measures sound in windows of one second, holding at most two.

    The last window is the last full second, so that a click in a short remainder weighs no
    more than elsewhere.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._window_bytes = sample_rate * _SAMPLE_BYTES
        self._pending = b""
        self._previous = b""
        self._energy = 0.0
        self._samples = 0
        self._peak = 0.0
        self._loudest = 0.0

    def add(self, pcm: bytes) -> None:
        """Add mono sound: native-endian signed 16-bit samples."""
        # Most blocks are one window, of which this copies nothing.
        sound = self._pending + pcm if self._pending else pcm
        whole = len(sound) - len(sound) % self._window_bytes
        self._pending = sound[whole:]
        for start in range(0, whole, self._window_bytes):
            window = sound[start : start + self._window_bytes]
            self._loudest = max(self._loudest, self._count(window))
            self._previous = window

    def result(self) -> Loudness:
        """Return the levels of all sound added; no more can be added."""
        if self._pending:
            rest, self._pending = self._pending, b""
            self._count(rest)
            last = (self._previous + rest)[-self._window_bytes :]
            self._loudest = max(self._loudest, _rms(_floats(last)))
        overall = math.sqrt(self._energy / self._samples) if self._samples else 0.0
        return Loudness(_dbfs(overall), _dbfs(self._peak), _dbfs(self._loudest))

    def _count(self, pcm: bytes) -> float:
        """Count more sound, and return its RMS."""
        sound = _floats(pcm)
        rms = _rms(sound)
        self._energy += rms**2 * len(sound)
        self._samples += len(sound)
        self._peak = max(self._peak, float(sound.max()), -float(sound.min()))
        return rms


def _floats(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, np.int16).astype(np.float64)


def _rms(sound: NDArray[np.float64]) -> float:
    """Return the root of the mean square, in whole steps of a sample."""
    return float(math.isqrt(int(sound @ sound) // len(sound)))


def _dbfs(amplitude: float) -> float | None:
    return round(20 * math.log10(amplitude / _FULL_SCALE), 2) if amplitude else None
