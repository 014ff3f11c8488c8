"""Decodes our own Opus for the recogniser."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from consumers.audio.resample import Resampler
from consumers.errors import BadAudioError

SAMPLE_RATE = 16_000
"""Hz; Whisper's input."""
_SAMPLE_BYTES = 4

_T = TypeVar("_T")


def count_channels(file: BinaryIO) -> int:
    """Count the channels of one of our Ogg Opus objects, from the file's position on.

    Raises:
        BadAudioError: It is not Ogg Opus.
    """
    return _opened(file, lambda _, stream: stream.codec_context.channels)


def decode_channels(
    file: BinaryIO, wanted: Sequence[int] | None = None
) -> list[NDArray[np.float32]]:
    """Decode one of our Ogg Opus objects from the file's position on; it need not be seekable.

    Args:
        file: The object.
        wanted: Which channels to return, from 0 on; all of them by default.

    Returns:
        For each channel its sound at 16 kHz, shape ``(samples,)``, within [-1, 1].

    Raises:
        BadAudioError: It is not Ogg Opus, holds no sound, or has no such channel.
    """

    def decode(container: InputContainer, stream: AudioStream) -> list[bytearray]:
        return _pcm(container, stream, wanted)

    channels = _opened(file, decode)
    if not all(channels):
        raise BadAudioError("this Opus object holds no sound")
    sounds = [np.frombuffer(pcm, np.float32) for pcm in channels]
    # Lossy coding can overshoot full scale.
    return [np.clip(sound, -1.0, 1.0, out=sound) for sound in sounds]


def _opened(file: BinaryIO, work: Callable[[InputContainer, AudioStream], _T]) -> _T:
    try:
        with av.open(file, "r", format="ogg") as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, AudioStream) or stream.codec_context.name != "opus":
                raise BadAudioError("this object is not Ogg Opus")
            return work(container, stream)
    except (av.FFmpegError, ValueError) as exc:
        raise BadAudioError(f"this Opus object cannot be decoded: {exc}") from exc


def _pcm(
    container: InputContainer, stream: AudioStream, wanted: Sequence[int] | None
) -> list[bytearray]:
    """Decode into one growing buffer a channel, so that hours of sound are not held twice."""
    channels = stream.codec_context.channels
    chosen = range(channels) if wanted is None else wanted
    if not all(0 <= channel < channels for channel in chosen):
        raise BadAudioError(f"this Opus object has {channels} channels")
    resampler = Resampler(SAMPLE_RATE, "flt")
    buffers = [bytearray() for _ in chosen]
    for frame in itertools.chain(container.decode(stream), [None]):
        for block in resampler.convert(frame):
            if block.layout.nb_channels != channels:
                raise BadAudioError("the channels of this Opus object change")
            size = block.samples * channels * _SAMPLE_BYTES
            packed = np.frombuffer(memoryview(block.planes[0])[:size], np.float32)
            for buffer, channel in zip(buffers, chosen, strict=True):
                buffer.extend(packed[channel::channels].tobytes())
    return buffers
