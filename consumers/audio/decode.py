"""Decodes our own Opus for the recogniser."""

from __future__ import annotations

import itertools
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from consumers.audio.downmix import Downmix, Resampler
from consumers.errors import BadAudioError

SAMPLE_RATE = 16_000
"""Hz; Whisper's input."""
_SAMPLE_BYTES = 4


def decode_opus(file: BinaryIO) -> NDArray[np.float32]:
    """Decode one of our Ogg Opus objects, mixing its channels evenly.

    Args:
        file: Read from its position on; it need not be seekable.

    Returns:
        Mono sound at 16 kHz, shape ``(samples,)``, within [-1, 1].

    Raises:
        BadAudioError: It is not Ogg Opus, or holds no sound.
    """
    sound, _ = _decoded(file, Downmix(SAMPLE_RATE, "flt"))
    return sound


def decode_channels(file: BinaryIO) -> NDArray[np.float32]:
    """Decode one of our Ogg Opus objects as `decode_opus` does, but each channel on its own.

    Returns:
        Sound of shape ``(channels, samples)``; each channel is contiguous.

    Raises:
        BadAudioError: It is not Ogg Opus, or holds no sound.
    """
    sound, channels = _decoded(file, Resampler(SAMPLE_RATE, "flt"))
    if channels == 1:
        return sound[np.newaxis]
    return np.ascontiguousarray(sound.reshape(-1, channels).T)


def _decoded(file: BinaryIO, resampler: Resampler) -> tuple[NDArray[np.float32], int]:
    """Return packed sound and the number of its channels."""
    try:
        pcm, channels = _pcm(file, resampler)
    except (av.FFmpegError, ValueError) as exc:
        raise BadAudioError(f"this Opus object cannot be decoded: {exc}") from exc
    if not pcm:
        raise BadAudioError("this Opus object holds no sound")
    sound = np.frombuffer(pcm, np.float32)
    # Lossy coding can overshoot full scale.
    return np.clip(sound, -1.0, 1.0, out=sound), channels


def _pcm(file: BinaryIO, resampler: Resampler) -> tuple[bytearray, int]:
    """Decode into one growing buffer, so that hours of sound are not held twice."""
    pcm = bytearray()
    channels = 0
    with av.open(file, "r", format="ogg") as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream) or stream.codec_context.name != "opus":
            raise BadAudioError("this object is not Ogg Opus")
        for frame in itertools.chain(container.decode(stream), [None]):
            for block in resampler.convert(frame):
                if block.layout.nb_channels != (channels or block.layout.nb_channels):
                    raise BadAudioError("the channels of this Opus object change")
                channels = block.layout.nb_channels
                pcm += memoryview(block.planes[0])[: block.samples * channels * _SAMPLE_BYTES]
    return pcm, channels
