"""Writes mono 16-bit sound as Ogg Opus; the same sound always gives the same bytes."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from consumers.audio.media import OpusSettings


def encoder_options(settings: OpusSettings) -> dict[str, str]:
    """Return libopus's options beyond the rates, under FFmpeg's names."""
    return {
        "application": settings.application,
        "compression_level": str(settings.complexity),
        "frame_duration": str(settings.frame_milliseconds),
    }


class OpusWriter:
    """Encodes into an open file descriptor, from its current offset on."""

    def __init__(self, output: int, settings: OpusSettings) -> None:
        self.samples = 0
        self._time_base = Fraction(1, settings.sample_rate)
        # Bit-exact: no random serial number, no library version in the tags.
        self._output = _Output(output)
        self._container = av.open(self._output, "w", format="ogg", options={"fflags": "+bitexact"})
        stream = self._container.add_stream(
            "libopus", rate=settings.sample_rate, options=encoder_options(settings)
        )
        if not isinstance(stream, AudioStream):
            raise TypeError(f"libopus gave {stream}")
        stream.codec_context.bit_rate = settings.bit_rate
        stream.codec_context.layout = "mono"
        stream.codec_context.format = "s16"
        self._stream = stream

    def write(self, frame: AudioFrame) -> None:
        """Append one mono frame of s16 samples at the settings' rate."""
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
        self._descriptor = descriptor
        self._failure: OSError | None = None

    def write(self, data: bytes) -> int:
        # After one failure all writes fail, so that the file cannot have a gap.
        if self._failure is not None:
            raise self._failure
        rest = memoryview(data)
        try:
            while rest and not self.closed:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as exc:
            self._failure = exc
            raise
        return len(data)
