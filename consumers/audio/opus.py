"""Write mono 16-bit sound as Ogg Opus; the same sound always gives the same bytes."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from consumers.audio.media import OpusSettings


def encoder_options(settings: OpusSettings) -> dict[str, str]:
    """Give what libopus is told beside rate and bit rate, in FFmpeg's words."""
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
        """Append one frame: s16, mono, at the settings' sample rate."""
        frame.pts = self.samples
        frame.time_base = self._time_base
        self.samples += frame.samples
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds, and the last page."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Close without writing any more, now or when the container is collected."""
        self._output.closed = True
        with contextlib.suppress(Exception):
            self._container.close()


class _Output:
    """What libavformat writes through: all or an error, for it takes no notice of short writes."""

    def __init__(self, descriptor: int) -> None:
        self.closed = False
        self._descriptor = descriptor
        self._failure: OSError | None = None

    def write(self, data: bytes) -> int:
        # Later writes fail as the first did, so that no gap can be left behind.
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
