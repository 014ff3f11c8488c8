"""The settings, limits and result of a transcoding."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from consumers.audio.channels import ChannelSetting
from consumers.audio.tags import Chapter, bounded_tags, bounded_text
from consumers.documents.note import Note, NoteCode

OPUS_SAMPLE_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_APPLICATIONS = ("voip", "audio", "lowdelay")
OPUS_COMPLEXITIES = range(11)
CHANNEL_SETTINGS = ("auto", "mix", "split")
OPUS_FRAMES = (10, 20, 40, 60, 80, 100, 120)

_NOTE_CHARACTERS = 300
_LAYOUT_CHARACTERS = 200
_CODEC_NAME = re.compile(r"[a-z0-9_.]{1,40}")


@dataclass(frozen=True, slots=True)
class OpusSettings:
    """How to encode sound. The default rate is that of Whisper's input.

    Complexity and frames were chosen by wideband PESQ (ITU-T P.862.2) on speech: they score 4.07
    in 70 % of the time in which libopus's defaults (10 and 20 ms) score 4.15; a complexity below
    5 costs more than 0.2. The table is in ``tests/bench/RESULTS.md``.
    """

    bit_rate: int = 24_000
    """Bits per second and channel."""
    sample_rate: int = 16_000
    """Hz; one of `OPUS_SAMPLE_RATES`."""
    application: str = "voip"
    """libopus's coding mode; one of `OPUS_APPLICATIONS`."""
    complexity: int = 6
    """libopus's encoding effort, from 0 to 10."""
    frame_milliseconds: int = 60
    """Sound per packet; long packets cost less, and their latency does not matter in files."""
    channels: ChannelSetting = "auto"
    """Whether channels are kept apart: where they hold different voices, never or always."""

    def __post_init__(self) -> None:
        if self.sample_rate not in OPUS_SAMPLE_RATES:
            raise ValueError(
                f"sample rate must be {_one_of(OPUS_SAMPLE_RATES)}, not {self.sample_rate}"
            )
        if self.application not in OPUS_APPLICATIONS:
            raise ValueError(
                f"application must be {_one_of(OPUS_APPLICATIONS)}, not {self.application}"
            )
        if self.complexity not in OPUS_COMPLEXITIES:
            raise ValueError(f"complexity must be 0 to 10, not {self.complexity}")
        if self.channels not in CHANNEL_SETTINGS:
            raise ValueError(f"channels must be {_one_of(CHANNEL_SETTINGS)}, not {self.channels}")
        if self.frame_milliseconds not in OPUS_FRAMES:
            frames = self.frame_milliseconds
            raise ValueError(f"frame_milliseconds must be {_one_of(OPUS_FRAMES)}, not {frames}")


def _one_of(choices: Iterable[object]) -> str:
    return f"one of {', '.join(map(str, choices))}"


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Limits beyond which a recording is rejected."""

    memory_bytes: int = 1 << 30
    """Address space of the child, including about 160 MiB for FFmpeg's libraries."""
    cpu_seconds: float = 3600
    output_bytes: int = 1 << 30
    duration_seconds: float = 24 * 3600
    """Seconds of decoded sound."""
    stall_seconds: float = 60
    """A child without a message for so long counts as hung."""
    wall_seconds: float = 6 * 3600


@dataclass(frozen=True, slots=True)
class Transcoded:
    """Properties of one transcoded recording.

    Levels are dB of full scale, those of the loudest channel before any mixing.
    """

    duration: float
    """Seconds of sound."""
    codec: str
    """FFmpeg's name of the source's codec; rate (Hz) and channels are its first frame's."""
    sample_rate: int
    channels: int
    """Of all tracks."""
    loudness_dbfs: float | None
    """RMS over the whole recording; None for digital silence, here and below."""
    peak_dbfs: float | None
    loudest_dbfs: float | None
    """RMS of the loudest window of one second, which decides about silence."""
    silent: bool
    damaged: int
    """Packets that could not be decoded; silence stands in their place."""
    size: int
    """Bytes of Opus."""
    output_channels: int = 1
    """Of the Opus: several where voices are kept apart."""
    layout: str = ""
    """FFmpeg's names of the tracks' channel layouts, such as ``stereo + mono``."""
    notes: tuple[Note, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the container and its tracks, by FFmpeg's names. May hold any character but NUL."""
    chapters: tuple[Chapter, ...] = ()

    def to_message(self) -> dict[str, object]:
        """Return the child's answer, which fits into one message."""
        message: dict[str, object] = msgspec.to_builtins(self)
        return message

    @classmethod
    def from_message(cls, message: Mapping[str, object], most: int) -> Transcoded:
        """Read a child's answer, trusted no more than the media.

        Args:
            message: The answer.
            most: Bytes that were written, of which the Opus may be the first part.

        Raises:
            ValueError: A field is missing or invalid.
        """
        size = int(_number(message, "size"))
        if size > most:
            raise ValueError(f"{size} bytes of Opus, of {most} that were written")
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
            output_channels=int(_number(message, "output_channels")),
            layout=_layout(message.get("layout")),
            notes=tuple(map(_note, _items(message, "notes"))),
            tags=_tags(message.get("tags")),
            chapters=tuple(map(_chapter, _items(message, "chapters"))),
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


def _items(message: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    items = message.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{name} is no list of objects: {items!r:.80}")
    return items


def _layout(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"layout is no text: {value!r:.80}")  # noqa: TRY004
    return printable(value, _LAYOUT_CHARACTERS)


def _note(item: Mapping[str, object]) -> Note:
    text = item.get("text")
    if not isinstance(text, str):
        raise ValueError(f"a note without a text: {item!r:.80}")  # noqa: TRY004
    start, end = (_number(item, side) if side in item else None for side in ("from", "to"))
    return Note(NoteCode(str(item.get("code"))), printable(text, _NOTE_CHARACTERS), start, end)


def _tags(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"tags are no object of texts: {value!r:.80}")
    return bounded_tags(value.items())


def _chapter(item: Mapping[str, object]) -> Chapter:
    title = item.get("title")
    if not isinstance(title, str):
        raise ValueError(f"a chapter without a title: {item!r:.80}")  # noqa: TRY004
    return Chapter(_number(item, "start"), _number(item, "end"), bounded_text(title))


def printable(text: str, most: int) -> str:
    """Make a child's text safe for a log and a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:most])
