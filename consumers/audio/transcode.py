"""Decodes one media file and encodes its sound as Opus; runs in the confined child."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from consumers.audio.container import best_stream, open_media
from consumers.audio.downmix import Downmix
from consumers.audio.loudness import LoudnessMeter
from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.opus import OpusWriter
from consumers.errors import BadAudioError, TransientError

MINIMUM_SECONDS = 0.05
"""A shorter result is the remains of a broken file, not a recording."""
DAMAGED_IN_A_ROW = 1000
"""Consecutive packets without sound after which decoding ends."""

_SAMPLE_BYTES = 2
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class TranscodeOptions:
    """How to transcode a file; ``demuxer`` is never guessed from the content."""

    demuxer: str
    opus: OpusSettings
    limits: MediaLimits
    silence_dbfs: float


def transcode(
    source: int, output: int, job: TranscodeOptions, progress: Callable[[float], None]
) -> Transcoded:
    """Transcode an open file into another one.

    Args:
        source: Descriptor to read and seek in; read from its start.
        output: Descriptor to write to, from its current offset on.
        job: The settings and limits.
        progress: Called at every packet with the seconds of sound decoded so far.

    Returns:
        The properties; ``size`` is 0, as the parent counts it.

    Raises:
        BadAudioError: The media is at fault, or exceeds a limit.
        TransientError: Our disk is at fault.
        MemoryError: The memory limit is reached.
    """
    try:
        with open_media(source, job.demuxer) as container:
            return _Transcoding(container, output, job, progress).run()
    except (BadAudioError, MemoryError):
        raise
    except Exception as exc:
        _explain(exc, job.limits)


class _Transcoding:
    """The path of one file through decoder, downmix, meter and encoder."""

    def __init__(
        self,
        container: InputContainer,
        output: int,
        job: TranscodeOptions,
        progress: Callable[[float], None],
    ) -> None:
        self._job = job
        self._progress = progress
        self._container = container
        self._stream = best_stream(container)
        self._downmix = Downmix(job.opus.sample_rate, "s16")
        self._meter = LoudnessMeter(job.opus.sample_rate)
        self._writer = OpusWriter(output, job.opus)
        self._first: AudioFrame | None = None
        self._damaged = 0

    def run(self) -> Transcoded:
        try:
            for frame in self._frames():
                if self._first is None:
                    self._first = frame
                self._write(frame)
            self._write(None)
            return self._finished()
        except BaseException:
            self._writer.abandon()
            raise

    def _finished(self) -> Transcoded:
        if self._first is None or self._seconds < MINIMUM_SECONDS:
            raise BadAudioError("no sound in it can be decoded")
        self._writer.finish()
        loudness = self._meter.result()
        return Transcoded(
            duration=self._seconds,
            codec=self._stream.codec_context.codec.canonical_name,
            sample_rate=self._first.sample_rate,
            channels=self._first.layout.nb_channels,
            loudness_dbfs=loudness.overall,
            peak_dbfs=loudness.peak,
            loudest_dbfs=loudness.loudest,
            silent=loudness.is_silent(self._job.silence_dbfs),
            damaged=self._damaged,
            size=0,
        )

    @property
    def _seconds(self) -> float:
        return self._writer.samples / self._job.opus.sample_rate

    def _write(self, frame: AudioFrame | None) -> None:
        for block in self._downmix.convert(frame):
            self._meter.add(bytes(block.planes[0])[: block.samples * _SAMPLE_BYTES])
            self._writer.write(block)
        limit = self._job.limits.duration_seconds
        if self._seconds > limit:
            raise BadAudioError(f"it is longer than {limit / 3600:g} hours")

    def _frames(self) -> Iterator[AudioFrame]:
        """Decode all packets, skipping damaged ones."""
        in_a_row = 0
        for packet in self._packets():
            self._progress(self._seconds)
            try:
                frames = self._stream.decode(packet)
            except MemoryError:
                raise
            except av.FFmpegError:
                self._damaged += 1
                in_a_row += 1
                if in_a_row == DAMAGED_IN_A_ROW:
                    return
            else:
                in_a_row = 0
                yield from frames

    def _packets(self) -> Iterator[Packet[AudioStream] | None]:
        """Read all packets, then None to flush the decoder, also where the file breaks off."""
        try:
            yield from self._container.demux(self._stream)
        except MemoryError:
            raise
        except av.FFmpegError:
            self._damaged += 1
            yield None


def _explain(exc: Exception, limits: MediaLimits) -> NoReturn:
    """Raise the right error; hostile media can make a binding raise anything."""
    if isinstance(exc, av.FFmpegError):
        if isinstance(exc, EOFError) or exc.errno == errno.EIO:
            raise BadAudioError("it breaks off before any sound") from exc
        raise BadAudioError(f"it cannot be decoded: {exc.strerror}") from exc
    if isinstance(exc, OSError) and exc.errno in _OUR_DISK:
        raise TransientError(f"scratch cannot be read or written: {exc.strerror}") from exc
    if isinstance(exc, OSError) and exc.errno == errno.EFBIG:
        message = f"its Opus would be larger than {limits.output_bytes} bytes"
        raise BadAudioError(message) from exc
    raise BadAudioError(f"it cannot be decoded ({type(exc).__name__}: {exc})") from exc
