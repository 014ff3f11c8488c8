"""Decodes one media file and encodes its sound as Opus; runs in the confined child."""

from __future__ import annotations

import copy
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import av

from consumers.audio.channels import FIRST_CHANNEL, ChannelJudge, ChannelLabel, ChannelPlan
from consumers.audio.loudness import Loudness, LoudnessMeter
from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.opus import OpusWriter
from consumers.audio.recording import MoreChannelsError, RecordingReader
from consumers.audio.resample import Planes, distinct, floats, repeated, samples
from consumers.errors import BadAudioError, TransientError

MINIMUM_SECONDS = 0.05
"""A shorter result is the remains of a broken file, not a recording."""

# Sound by which the channels are judged before the first of it is encoded. The samples are of 16
# bits, and bound the memory where there are many channels.
_JUDGED_SECONDS = 60
_HELD_SAMPLES = 32 << 20
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class TranscodeOptions:
    """How to transcode a file; ``demuxer`` is never guessed from the content."""

    demuxer: str
    opus: OpusSettings
    limits: MediaLimits
    silence_dbfs: float
    start: int = 0
    """Where in the file the format begins."""


def transcode(
    source: int, output: int, job: TranscodeOptions, progress: Callable[[float], None]
) -> Transcoded:
    """Transcode an open file into another one.

    Args:
        source: Descriptor to read and seek in; read from its start.
        output: Descriptor to write to, from its current offset on.
        job: The settings and limits.
        progress: Called every few packets with the seconds of sound decoded so far.

    Returns:
        The properties; of the output, the first ``size`` bytes count.

    Raises:
        BadAudioError: The media is at fault, or exceeds a limit.
        TransientError: Our disk is at fault.
        MemoryError: The memory limit is reached.
    """
    try:
        return _Transcoding(source, output, job, progress).run()
    except (BadAudioError, MemoryError):
        raise
    except Exception as exc:
        _explain(exc, job.limits)


class _Transcoding:
    """The path of one file through decoders, meters, channel judge and encoder."""

    def __init__(
        self, source: int, output: int, job: TranscodeOptions, progress: Callable[[float], None]
    ) -> None:
        self._source = source
        self._output = output
        self._begin = os.lseek(output, 0, os.SEEK_CUR)
        self._job = job
        self._progress = progress
        self._samples = 0

    def run(self) -> Transcoded:
        """Transcode in one pass; in another one where only the whole shows how to do it."""
        channels, plan = 0, None
        while True:
            try:
                transcoded, right_plan = self._pass(channels, plan)
            except MoreChannelsError as exc:
                channels, plan = exc.channels, None
                continue
            if plan is not None or right_plan is None:
                return transcoded
            plan = right_plan

    def _pass(
        self, channels: int, plan: ChannelPlan | None
    ) -> tuple[Transcoded, ChannelPlan | None]:
        """Transcode once.

        Args:
            channels: How many to expect at least.
            plan: How to mix them; None: as the sound's beginning shows.

        Returns:
            The result; and the plan with which to do it again, if the end shows another one.
        """
        os.lseek(self._output, self._begin, os.SEEK_SET)
        self._samples = 0
        job = self._job
        reader = RecordingReader(
            self._source, job.demuxer, job.opus.sample_rate, self._report_progress, job.start
        )
        sound: _Sound | None = None
        try:
            for block in reader.blocks(channels):
                if sound is None:
                    sound = _Sound(reader.labels, self._output, job, plan)
                sound.add(block)
                self._count(block)
            if sound is None or reader.decoded < MINIMUM_SECONDS:
                _refuse_empty()
            right_plan = sound.finish()
        except BaseException:
            if sound is not None:
                sound.abandon()
            raise
        return self._transcoded(reader, sound), right_plan

    def _transcoded(self, reader: RecordingReader, sound: _Sound) -> Transcoded:
        first = reader.properties[0]
        return Transcoded(
            duration=self._seconds,
            codec=first.codec,
            sample_rate=first.sample_rate,
            channels=sum(track.channels for track in reader.properties),
            loudness_dbfs=sound.loudest(lambda level: level.overall),
            peak_dbfs=sound.loudest(lambda level: level.peak),
            loudest_dbfs=sound.loudest(lambda level: level.loudest),
            silent=all(level.is_silent(self._job.silence_dbfs) for level in sound.levels),
            damaged=reader.damaged,
            size=sound.size,
            output_channels=len(sound.plan.outputs),
            layout=" + ".join(track.layout for track in reader.properties),
            notes=(*reader.log.result(), *sound.plan.notes),
            tags=reader.tags.values,
            chapters=reader.tags.chapters,
        )

    @property
    def _seconds(self) -> float:
        return self._samples / self._job.opus.sample_rate

    def _report_progress(self) -> None:
        self._progress(self._seconds)

    def _count(self, block: Planes) -> None:
        self._samples += block.shape[1]
        self._report_progress()
        limit = self._job.limits.duration_seconds
        if self._seconds > limit:
            raise BadAudioError(f"it is longer than {limit / 3600:g} hours")


class _Sound:
    """Measures sound, mixes it by a plan, and encodes it.

    Without a plan it holds the sound's beginning until it can judge the channels by it.
    """

    def __init__(
        self,
        labels: Sequence[ChannelLabel],
        output: int,
        job: TranscodeOptions,
        plan: ChannelPlan | None,
    ) -> None:
        self.levels: list[Loudness] = []
        self._output = output
        self._job = job
        rate = job.opus.sample_rate
        self._channels = len(labels)
        self._meters = [LoudnessMeter(rate)]
        if len(labels) == 1:
            plan = FIRST_CHANNEL
        self._plan = plan
        self._judge: ChannelJudge | None = None
        if plan is None:
            self._judge = ChannelJudge(labels, rate, job.silence_dbfs, job.opus.channels)
        self._held: list[Planes] = []
        self._left = min(_JUDGED_SECONDS * rate, _HELD_SAMPLES // len(labels))
        self._writer: OpusWriter | None = None

    @property
    def plan(self) -> ChannelPlan:
        """The plan in use, from the first block that is written on."""
        return self._plan or FIRST_CHANNEL

    @property
    def size(self) -> int:
        """Bytes of Opus written."""
        return self._writer.size if self._writer is not None else 0

    def loudest(self, level: Callable[[Loudness], float | None]) -> float | None:
        """Return the highest of the channels' levels."""
        levels = [value for value in map(level, self.levels) if value is not None]
        return max(levels, default=None)

    def add(self, block: Planes) -> None:
        """Add the next sound."""
        block = distinct(block)
        self._measure(block)
        if self._judge is not None:
            self._judge.add(block)
        if self._plan is not None:
            self._write(block)
            return
        self._held.append(block)
        self._left -= block.shape[1]
        if self._left <= 0:
            self._decide()

    def _measure(self, block: Planes) -> None:
        """Measure each channel's level; one meter does for channels that are copies so far."""
        if len(self._meters) < len(block):
            self._meters = [copy.deepcopy(self._meters[0]) for _ in block]
        for meter, channel in zip(self._meters, repeated(block, len(self._meters)), strict=True):
            meter.add(channel.tobytes())

    def finish(self) -> ChannelPlan | None:
        """Write the rest; return the plan of all sound if it mixes otherwise than the one used."""
        is_judged = self._plan is None
        if is_judged:
            self._decide()
        if self._writer is not None:
            self._writer.finish()
        self.levels = [meter.result() for meter in self._meters]
        if is_judged or self._judge is None or self._plan is None:
            return None
        right = self._judge.plan()
        if right.outputs != self._plan.outputs:
            return right
        self._plan = right
        return None

    def abandon(self) -> None:
        """Write nothing any more."""
        if self._writer is not None:
            self._writer.abandon()

    def _decide(self) -> None:
        if self._judge is not None:
            self._plan = self._judge.plan()
        held, self._held = self._held, []
        for block in held:
            self._write(block)

    def _write(self, block: Planes) -> None:
        if self._writer is None:
            self._writer = OpusWriter(self._output, self._job.opus, len(self.plan.outputs))
        self._writer.write(_mixed(repeated(block, self._channels), self.plan))


def _mixed(block: Planes, plan: ChannelPlan) -> Planes:
    """Mix by a plan."""
    sources = [source for sources in plan.outputs for source in sources]
    if len(sources) == len(plan.outputs) and all(gain == 1.0 for _, gain in sources):
        return block[[channel for channel, _ in sources]]
    return samples(plan.apply(floats(block)))


def _refuse_empty() -> NoReturn:
    raise BadAudioError("no sound in it can be decoded")


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
