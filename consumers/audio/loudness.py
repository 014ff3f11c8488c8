"""Loudness and silence of mono 16-bit sound, measured on a stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

from consumers.audio.segment import AudioSegment, ratio_to_db

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
        self._peak = 0
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
            self._loudest = max(self._loudest, self._segment(last).rms)
        overall = math.sqrt(self._energy / self._samples) if self._samples else 0.0
        return Loudness(_dbfs(overall), _dbfs(self._peak), _dbfs(self._loudest))

    def _count(self, pcm: bytes) -> float:
        """Count more sound, and return its RMS."""
        segment = self._segment(pcm)
        rms, samples = float(segment.rms), len(pcm) // _SAMPLE_BYTES
        self._energy += rms**2 * samples
        self._samples += samples
        self._peak = max(self._peak, segment.max)
        return rms

    def _segment(self, pcm: bytes) -> AudioSegment:
        return AudioSegment(
            data=pcm, sample_width=_SAMPLE_BYTES, frame_rate=self._sample_rate, channels=1
        )


def _dbfs(amplitude: float) -> float | None:
    return round(ratio_to_db(amplitude / _FULL_SCALE), 2) if amplitude else None
