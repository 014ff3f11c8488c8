"""Decodes our own Opus for the recogniser."""

from __future__ import annotations

import itertools
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from consumers.audio.downmix import Downmix
from consumers.errors import BadAudioError

SAMPLE_RATE = 16_000
"""Hz; Whisper's input."""
_SAMPLE_BYTES = 4


def decode_opus(file: BinaryIO) -> NDArray[np.float32]:
    """Decode one of our Ogg Opus objects from the file's position on; it need not be seekable.

    Returns:
        Mono sound at 16 kHz, shape ``(samples,)``, within [-1, 1].

    Raises:
        BadAudioError: It is not Ogg Opus, or holds no sound.
    """
    try:
        pcm = _pcm(file)
    except (av.FFmpegError, ValueError) as exc:
        raise BadAudioError(f"this Opus object cannot be decoded: {exc}") from exc
    if not pcm:
        raise BadAudioError("this Opus object holds no sound")
    sound = np.frombuffer(pcm, np.float32)
    # Lossy coding can overshoot full scale.
    return np.clip(sound, -1.0, 1.0, out=sound)


def _pcm(file: BinaryIO) -> bytearray:
    """Decode into one growing buffer, so that hours of sound are not held twice."""
    downmix = Downmix(SAMPLE_RATE, "flt")
    pcm = bytearray()
    with av.open(file, "r", format="ogg") as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream) or stream.codec_context.name != "opus":
            raise BadAudioError("this object is not Ogg Opus")
        for frame in itertools.chain(container.decode(stream), [None]):
            for block in downmix.convert(frame):
                pcm += memoryview(block.planes[0])[: block.samples * _SAMPLE_BYTES]
    return pcm
