"""What a transcoding is asked for, what it may use, and what came of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

OPUS_SAMPLE_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_APPLICATIONS = ("voip", "audio", "lowdelay")
OPUS_COMPLEXITIES = range(11)
OPUS_FRAMES = (10, 20, 40, 60, 80, 100, 120)

_CODEC_NAME = re.compile(r"[a-z0-9_.]{1,40}")


@dataclass(frozen=True, slots=True)
class OpusSettings:
    """How sound is encoded; always mono. The defaults are what Whisper hears.

    Complexity and frames were chosen by wideband PESQ (ITU-T P.862.2) on speech: 4.07 for
    70 % of the time that libopus's own (10, and 20 ms) take for 4.15; less than 5 costs more
    than 0.2. ``tests/bench/RESULTS.md`` has the table, and on what it was measured.
    """

    bit_rate: int = 24_000
    """Bits per second."""
    sample_rate: int = 16_000
    """Hz; one that Opus knows."""
    application: str = "voip"
    """libopus's name for what it should favour."""
    complexity: int = 6
    """How hard libopus looks for better coding, from 0 to 10."""
    frame_milliseconds: int = 60
    """Sound in one packet: long ones cost less, and delay nobody who listens to files."""

    def __post_init__(self) -> None:
        if self.sample_rate not in OPUS_SAMPLE_RATES:
            raise ValueError(f"Opus knows no {self.sample_rate} Hz, only {OPUS_SAMPLE_RATES}")
        if self.application not in OPUS_APPLICATIONS:
            raise ValueError(f"Opus has no application {self.application!r}: {OPUS_APPLICATIONS}")
        if self.complexity not in OPUS_COMPLEXITIES:
            raise ValueError(f"Opus has no complexity {self.complexity}, only 0 to 10")
        if self.frame_milliseconds not in OPUS_FRAMES:
            raise ValueError(f"Opus has no frames of {self.frame_milliseconds} ms: {OPUS_FRAMES}")


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What one recording may cost before it is given up."""

    memory_bytes: int = 1 << 30
    """Address space of a child, FFmpeg's libraries (about 160 MiB) included."""
    cpu_seconds: float = 3600
    output_bytes: int = 1 << 30
    duration_seconds: float = 24 * 3600
    """Seconds of decoded sound."""
    stall_seconds: float = 60
    """A child that says nothing for so long hangs."""
    wall_seconds: float = 6 * 3600


@dataclass(frozen=True, slots=True)
class Transcoded:
    """Facts about one recording that is now Opus. Levels are dB of full scale."""

    duration: float
    """Seconds of sound."""
    codec: str
    """FFmpeg's name of the source's codec; with rate (Hz) and channels of its first frame."""
    sample_rate: int
    channels: int
    loudness_dbfs: float | None
    """RMS over all of it; None for digital silence, here and below."""
    peak_dbfs: float | None
    loudest_dbfs: float | None
    """RMS of the loudest window of one second, which silence is judged by."""
    silent: bool
    damaged: int
    """Packets that could not be decoded and were left out."""
    size: int
    """Bytes of Opus."""

    @classmethod
    def from_message(cls, message: Mapping[str, object], size: int) -> Transcoded:
        """Read a child's answer, which is trusted no more than the media that it met.

        Args:
            message: The answer's fields.
            size: Bytes of Opus, as the parent sees them.

        Raises:
            ValueError: A field is missing, or is not what it should be.
        """
        codec = message.get("codec")
        if not isinstance(codec, str) or not _CODEC_NAME.fullmatch(codec):
            raise ValueError(f"no codec name: {codec!r:.80}")
        return cls(
            duration=_number(message, "duration"),
            codec=codec,
            sample_rate=int(_number(message, "sample_rate")),
            channels=int(_number(message, "channels")),
            loudness_dbfs=_level(message, "loudness_dbfs"),
            peak_dbfs=_level(message, "peak_dbfs"),
            loudest_dbfs=_level(message, "loudest_dbfs"),
            silent=message.get("silent") is True,
            damaged=int(_number(message, "damaged")),
            size=size,
        )


def _number(message: Mapping[str, object], name: str) -> float:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is no number: {value!r:.80}")  # noqa: TRY004
    if not 0 <= value < 1 << 53:
        raise ValueError(f"{name} is out of range: {value!r:.80}")
    return value


def _level(message: Mapping[str, object], name: str) -> float | None:
    value = message.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is no level: {value!r:.80}")
    return float(value)
