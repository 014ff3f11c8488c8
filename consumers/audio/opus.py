"""Writes 16-bit sound as Ogg Opus; the same sound always gives the same bytes."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from consumers.audio.media import OpusSettings
from consumers.audio.resample import Planes

_STEREO = 2
# RFC 7845, 5.1.1.3: channels without a place in a room, each coded on its own.
_DISCRETE = "255"


def encoder_options(settings: OpusSettings) -> dict[str, str]:
    """Return libopus's options beyond the rates, under FFmpeg's names."""
    return {
        "application": settings.application,
        "compression_level": str(settings.complexity),
        "frame_duration": str(settings.frame_milliseconds),
    }


class OpusWriter:
    """Encodes into an open file descriptor, from its current offset on."""

    def __init__(self, output: int, settings: OpusSettings, channels: int = 1) -> None:
        """Begin a file.

        Args:
            output: The descriptor; it stays open.
            settings: The bit rate is that of each channel.
            channels: 1, 2 (as stereo, since most players know no other), or up to 255.
        """
        self.samples = 0
        self._layout = {1: "mono", _STEREO: "stereo"}.get(channels, f"{channels} channels")
        self._rate = settings.sample_rate
        self._time_base = Fraction(1, settings.sample_rate)
        # Bit-exact: no random serial number, no library version in the tags.
        self._output = _Output(output)
        self._container = av.open(self._output, "w", format="ogg", options={"fflags": "+bitexact"})
        options = encoder_options(settings)
        if channels == _STEREO:
            # Each channel is a voice of its own: what one codes must not be heard in the other.
            options["apply_phase_inv"] = "0"
        elif channels > _STEREO:
            options["mapping_family"] = _DISCRETE
        stream = self._container.add_stream("libopus", rate=settings.sample_rate, options=options)
        if not isinstance(stream, AudioStream):
            raise TypeError(f"libopus gave {stream}")
        stream.codec_context.bit_rate = settings.bit_rate * channels
        stream.codec_context.layout = self._layout
        stream.codec_context.format = "s16"
        self._stream = stream

    @property
    def size(self) -> int:
        """Bytes written so far; all of them once it is finished."""
        return self._output.size

    def write(self, block: Planes) -> None:
        """Append sound at the settings' rate."""
        packed = np.ascontiguousarray(block.T).reshape(1, -1)
        frame = AudioFrame.from_ndarray(packed, "s16", self._layout)
        frame.sample_rate = self._rate
        frame.pts = self.samples
        frame.time_base = self._time_base
        self.samples += frame.samples
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Flush the encoder, and write the last page."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Close without any further write, now or when the container is collected."""
        self._output.closed = True
        with contextlib.suppress(Exception):
            self._container.close()


class _Output:
    """libavformat's output; it ignores short writes, so this writes all bytes or raises."""

    def __init__(self, descriptor: int) -> None:
        self.closed = False
        self.size = 0
        """Bytes written so far."""
        self._descriptor = descriptor
        self._failure: OSError | None = None

    def write(self, data: bytes) -> int:
        # After one failure all writes fail, so that the file cannot have a gap.
        if self._failure is not None:
            raise self._failure
        rest = memoryview(data)
        try:
            while rest and not self.closed:
                written = os.write(self._descriptor, rest)
                self.size += written
                rest = rest[written:]
        except OSError as exc:
            self._failure = exc
            raise
        return len(data)
