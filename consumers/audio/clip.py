"""Cuts a passage out of one of our Opus objects, for a reviewer.

Seeking makes the cost of a clip depend on its own length only, not on its position or on
the recording's length.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from consumers.audio.decode import SAMPLE_RATE
from consumers.audio.media import OpusSettings
from consumers.audio.opus import OpusWriter
from consumers.audio.resample import Planes, Resampler, planes
from consumers.audio.segment import AudioSegment
from consumers.errors import BadAudioError, PermanentError

_SETTINGS = OpusSettings(bit_rate=24_000, sample_rate=SAMPLE_RATE)
_SAMPLE_BYTES = 2
_FULL_SCALE = 32767
#: Milliseconds; a shorter clip is inaudible.
_SHORTEST = 100
#: Milliseconds decoded before a clip, until the decoder converges; RFC 7845, section 4.6,
#: recommends 80.
_PREROLL = 500
#: Milliseconds that may be missing at a clip's end: the length in a recording's last page
#: includes the encoder's delay.
_MISSING = 50


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a recording.

    Attributes:
        data: Ogg Opus, 24 kbit/s, mono.
        start: Seconds from the recording's start, in whole milliseconds.
        end: Likewise.
    """

    data: bytes
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class _Extent:
    """Milliseconds from the recording's start."""

    start: int
    end: int


def cut_clip(
    opus: BinaryIO,
    *,
    start: float,
    end: float,
    margin: float,
    fade: float = 0.2,
    channel: int | None = None,
) -> Clip:
    """Cut a passage with a margin, faded in and out; the same sound gives the same bytes.

    Args:
        opus: One of our Ogg Opus objects, seekable; it stays open.
        start: Seconds from the recording's start.
        end: Likewise.
        margin: Seconds before and after the passage, within the recording.
        fade: Seconds of fading at both ends; at most half of the clip.
        channel: The channel to hear, from 1 on; all of them if it is None or there is no such.

    Raises:
        BadAudioError: The object is damaged, or is not Ogg Opus.
        PermanentError: The recording ends before the passage begins.
        ValueError: The times are invalid.
    """
    if not (0 <= start <= end < math.inf and 0 <= margin < math.inf and 0 <= fade < math.inf):
        raise ValueError(f"invalid passage: {start} to {end} s, margin {margin} s, fade {fade} s")
    try:
        with av.open(opus, "r", format="ogg") as container:
            extent = _extent(container, start, end, margin)
            sound = _decoded(container, extent, channel)
    except (av.FFmpegError, ValueError) as exc:
        raise BadAudioError(f"this Opus object cannot be decoded: {exc}") from exc
    fading = min(round(fade * 1000), len(sound) // 2)
    if fading:
        sound = sound.fade_in(fading).fade_out(fading)
    return Clip(_encoded(sound), extent.start / 1000, (extent.start + len(sound)) / 1000)


def _extent(container: InputContainer, start: float, end: float, margin: float) -> _Extent:
    """Clamp the passage with its margins to the recording."""
    if not container.duration:
        raise BadAudioError("this Opus object has no duration")
    length = container.duration * 1000 // av.time_base
    if start * 1000 > length:
        raise PermanentError(
            f"there is no sound at {start:.3f} s: the recording ends at {length / 1000:.3f} s"
        )
    first = max(0, round((start - margin) * 1000))
    last = min(length, max(round((end + margin) * 1000), first + _SHORTEST))
    first = max(0, min(first, last - _SHORTEST))
    return _Extent(first, last)


def _decoded(container: InputContainer, extent: _Extent, channel: int | None) -> AudioSegment:
    """Decode from shortly before the extent to its end."""
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream) or stream.codec_context.name != "opus":
        raise BadAudioError("this object is not Ogg Opus")
    container.seek(max(0, extent.start - _PREROLL) * av.time_base // 1000)
    frames = _frames(container, stream)
    first = next(frames)
    lead = round(_time(first) * 1000)
    if lead > extent.start:
        raise BadAudioError(f"this Opus object has nothing before {lead / 1000:.3f} s")
    samples = (extent.end - lead) * SAMPLE_RATE // 1000
    heard = _samples(itertools.chain([first], frames), samples)
    sound = AudioSegment(
        data=_mono(heard, channel), sample_width=_SAMPLE_BYTES, frame_rate=SAMPLE_RATE, channels=1
    )[extent.start - lead :]
    if len(sound) < extent.end - extent.start - _MISSING:
        raise BadAudioError(f"this Opus object breaks off before {extent.end / 1000:.3f} s")
    return sound


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decode frames, and check that each begins where the one before ended."""
    expected: Fraction | None = None
    for frame in container.decode(stream):
        begin = _time(frame)
        if expected is not None and begin != expected:
            raise BadAudioError(f"this Opus object has a gap at {float(expected):.3f} s")
        expected = begin + Fraction(frame.samples, frame.sample_rate)
        yield frame
    if expected is None:
        raise BadAudioError("this Opus object holds no sound at the passage")


def _time(frame: AudioFrame) -> Fraction:
    if frame.pts is None or frame.time_base is None:
        raise BadAudioError("this Opus object has no timestamps")
    return frame.pts * frame.time_base


def _samples(frames: Iterator[AudioFrame], most: int) -> Planes:
    """Resample up to ``most`` samples of each channel."""
    resampler = Resampler(SAMPLE_RATE, "s16")
    blocks: list[Planes] = []
    count = 0
    for frame in itertools.chain(frames, [None]):
        for block in resampler.convert(frame):
            # The frame's memory is its own only while it is referred to.
            blocks.append(planes(block).copy())
            count += block.samples
        if count >= most:
            break
    return np.concatenate(blocks, axis=1)[:, :most] if blocks else np.zeros((1, 0), np.int16)


def _mono(sound: Planes, channel: int | None) -> bytes:
    """Choose a channel, or add all of them, softer where the sum would overload."""
    if channel is None or not 1 <= channel <= len(sound):
        total: NDArray[np.int32] = sound.sum(axis=0, dtype=np.int32)
        peak = int(np.abs(total).max(initial=0))
        heard = (total * min(1.0, _FULL_SCALE / max(peak, 1))).astype(np.int16)
    else:
        heard = sound[channel - 1]
    return bytes(np.ascontiguousarray(heard))


def _encoded(sound: AudioSegment) -> bytes:
    samples = np.frombuffer(sound.raw_data, np.int16)
    with os.fdopen(os.memfd_create("clip"), "rb") as file:
        writer = OpusWriter(file.fileno(), _SETTINGS)
        try:
            writer.write(samples[np.newaxis])
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        file.seek(0)
        return file.read()
