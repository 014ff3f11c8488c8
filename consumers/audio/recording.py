"""Reads all sound of a file: its sections one after another, their tracks side by side."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from consumers.audio.byteclock import COUNTED
from consumers.audio.channels import ChannelLabel
from consumers.audio.container import (
    NoAudioStreamError,
    audio_streams,
    is_decodable,
    open_media,
)
from consumers.audio.fileview import FileView
from consumers.audio.notelog import NoteLog
from consumers.audio.protection import is_protected
from consumers.audio.resample import Planes
from consumers.audio.section import Section
from consumers.audio.sections import sections
from consumers.audio.tags import Tags, tags_of
from consumers.audio.timeline import Bounds, TimeLine
from consumers.audio.track import Properties, Track
from consumers.documents.note import Note, NoteCode
from consumers.errors import BadAudioError

MOST_TRACKS = 32
"""Tracks of one section; further ones are left out."""
MOST_CHANNELS = 128
"""Channels of all tracks; tracks beyond are left out."""

_DIFFERENCE_SECONDS = 0.5

# Formats whose timestamps may start anew at any time.
_DISCONTINUOUS = frozenset({"mpegts", "mpeg"})
_DISCONTINUOUS_GAP = 60.0
# Their parts without sound are silence, if they are no longer than this.
_LONGEST_WITHOUT = 3600.0
# Formats in which a time without sound can only come from damage.
_GAPLESS = frozenset({"amr", "ape", "caf", "flac", "mpc", "mpc8", "tak", "tta", "wav", "wv"})
# FFmpeg takes the start of an MP4 file's first track for the container's.
_STARTS_AT_ZERO = frozenset({"mov"})
# Formats whose headers say how long they are; for others FFmpeg guesses by the bit rate.
_DECLARING = frozenset(
    {"aiff", "ape", "asf", "au", "avi", "caf", "dsf", "flac", "flv", "iff", "matroska", "mov"}
    | {"mpc", "mpc8", "mxf", "nistsphere", "ogg", "qoa", "rm", "tak", "tta", "w64", "wav", "wv"}
    | {"xwma"}
)


class MoreChannelsError(Exception):
    """A later part has more channels than the first one."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.channels = channels


class RecordingReader:
    """Reads a file once. What its attributes tell is complete at the end."""

    def __init__(
        self,
        source: int,
        demuxer: str,
        sample_rate: int,
        progress: Callable[[], None],
        start: int = 0,
    ) -> None:
        self.log = NoteLog()
        self.properties: list[Properties] = []
        """Of each track of the first section with sound."""
        self.labels: list[ChannelLabel] = []
        """Where the channels of the blocks come from; complete with the first block."""
        self.tags = Tags()
        self.damaged = 0
        self.decoded = 0.0
        """Seconds of sound that were decoded, of the tracks that have most."""
        self._source = source
        self._start = start
        self._demuxer = demuxer
        self._sample_rate = sample_rate
        self._progress = progress
        self._samples = 0
        self._number = 0
        self._problem: Exception | None = None

    def blocks(self, channels: int = 0) -> Iterator[Planes]:
        """Yield all sound, in blocks of about a second that all have the same channels.

        Args:
            channels: How many at least.

        Raises:
            MoreChannelsError: It takes more than the first block had.
            BadAudioError: There is no sound that can be decoded.
        """
        for number, section in enumerate(sections(self._source, self._demuxer, self._start)):
            self._number = number
            try:
                with ExitStack() as stack:
                    for block in self._heard(section, stack):
                        if len(block) > channels > 0 and self._samples:
                            raise MoreChannelsError(len(block))
                        channels = max(channels, len(block))
                        self._label(channels)
                        self._samples += block.shape[1]
                        yield spread(block, channels)
            except MemoryError:
                raise
            except (BadAudioError, av.FFmpegError) as exc:
                self._problem = self._problem or exc
                here = self._samples / self._sample_rate
                self._note(NoteCode.UNREAD, f"a part of the file cannot be read: {exc}", here)
            if section.unread:
                text = f"{section.unread} bytes behind the sound are not read"
                self._note(NoteCode.UNREAD, text)
        if self._problem is not None and not self.decoded:
            raise self._problem

    def _label(self, channels: int) -> None:
        """Name channels that only a later part of the file has."""
        missing = range(len(self.labels) + 1, channels + 1)
        self.labels += [ChannelLabel(1, number) for number in missing]

    def _heard(self, section: Section, stack: ExitStack) -> Iterator[Planes]:
        """Yield the sound of a section, silence where a part of a transport stream has none."""
        try:
            yield from self._section(section, stack)
        except NoAudioStreamError as exc:
            if self._demuxer not in _DISCONTINUOUS or exc.seconds > _LONGEST_WITHOUT:
                raise
            self._problem = self._problem or exc
            start = self._samples / self._sample_rate
            self.log.silence(NoteCode.GAP, start, start + exc.seconds)
            left = round(exc.seconds * self._sample_rate)
            while left > 0:
                yield np.zeros((1, min(left, self._sample_rate)), np.int16)
                left -= self._sample_rate

    def _section(self, section: Section, stack: ExitStack) -> Iterator[Planes]:
        tracks = self._tracks(section, stack)
        queues = _queues(tracks, self._sample_rate)
        labels = [
            ChannelLabel(track, channel)
            for track, queue in enumerate(queues, 1)
            for channel in range(1, queue.channels + 1)
        ]
        if len(labels) > len(self.labels):
            self.labels = labels
        yield from _side_by_side(queues)
        sounding = [track.properties for track in tracks if track.properties is not None]
        for number, track in enumerate(tracks, 1):
            self.damaged += track.damaged
            if track.unmeasured:
                text = f"track {number}: {track.unmeasured} damaged packets of unknown length"
                self._note(NoteCode.DAMAGED, text)
            if track.properties is None and track.packets and sounding:
                text = f"track {number} cannot be decoded: {track.codec}"
                self._note(NoteCode.UNDECODABLE_TRACK, text)
        if not self.properties:
            self.properties = sounding
        decoded = max((track.timeline.decoded for track in tracks), default=0.0)
        self.decoded += decoded
        self._compare(section, tracks, decoded)

    def _tracks(self, section: Section, stack: ExitStack) -> list[Track]:
        if is_protected(FileView(self._source, section.pieces), self._demuxer):
            raise BadAudioError("it is encrypted")
        opened = [self._opened(section, stack)]
        container = opened[0][1]
        streams = audio_streams(container)
        first_tags = tags_of(container, streams)
        self.tags = self.tags or first_tags
        known = [stream for stream in streams if is_decodable(stream)]
        if not known:
            raise BadAudioError("its audio codec is not supported")
        for stream in streams:
            if stream not in known:
                number = streams.index(stream) + 1
                text = f"track {number} cannot be decoded: its codec is not supported"
                self._note(NoteCode.UNDECODABLE_TRACK, text)
        if most := _too_many(known):
            text = f"{len(known) - most} of {len(known)} tracks are not read"
            self._note(NoteCode.UNREAD, text)
            del known[most:]
        # Each track has a container of its own: how far apart in the file the tracks'
        # parts for the same time are is then of no concern to memory.
        opened += [self._opened(section, stack) for _ in known[1:]]
        return [
            self._track(view, container, stream.index, section, len(streams))
            for (view, container), stream in zip(opened, known, strict=True)
        ]

    def _opened(self, section: Section, stack: ExitStack) -> tuple[FileView, InputContainer]:
        view = FileView(self._source, section.pieces)
        container = stack.enter_context(open_media(view, self._demuxer, section.options))
        return view, container

    def _track(
        self,
        view: FileView,
        container: InputContainer,
        index: int,
        section: Section,
        streams: int,
    ) -> Track:
        stream = container.streams[index]
        assert isinstance(stream, AudioStream)  # noqa: S101 - for the type checker
        # Decoder threads cost memory, and the child may start none.
        stream.codec_context.thread_count = 1
        number = audio_streams(container).index(stream) + 1
        introduction = f"track {number}: " if streams > 1 else ""
        timeline = TimeLine(self._sample_rate, self._bounds(container), self.log, introduction)
        timeline.offset = self._samples / self._sample_rate
        return Track(
            container,
            view,
            self._demuxer,
            section.holes,
            stream,
            timeline,
            self.log,
            self._progress,
        )

    def _bounds(self, container: InputContainer) -> Bounds:
        start = (container.start_time or 0) / av.time_base
        if self._demuxer in _STARTS_AT_ZERO and not self._number:
            start = min(start, 0.0)
        horizon = None
        if container.duration is not None and self._demuxer in _DECLARING | _DISCONTINUOUS:
            horizon = container.duration / av.time_base
        bounds = Bounds(start, horizon, has_gaps=self._demuxer not in COUNTED | _GAPLESS)
        if self._demuxer in _DISCONTINUOUS:
            return replace(bounds, longest_gap=_DISCONTINUOUS_GAP)
        return bounds

    def _compare(self, section: Section, tracks: Sequence[Track], decoded: float) -> None:
        """Note it where the header's length, the file's and the sound's differ."""
        declared, held = section.declared, section.held
        if declared is None and self._demuxer in _DECLARING and tracks:
            declared = tracks[0].duration
        reached = max((track.reached for track in tracks), default=0.0)
        reached = max(reached, *(track.timeline.here for track in tracks))
        held = reached if held is None else held
        last = max((track.last_position for track in tracks), default=0)
        if section.end_page is not None and (not section.ends or last < section.end_page):
            text = f"it breaks off: its end is missing, {decoded:.1f} s are decoded"
            self._note(NoteCode.BREAKS_OFF, text, self._samples / self._sample_rate)
            return
        begin = tracks[0].start if tracks else 0.0
        if self._demuxer == "ogg" and begin > _DIFFERENCE_SECONDS:
            # It may be a part of a stream, or its first pages are missing.
            text = f"the times in the file begin at {begin:.1f} s, which is 0 s here"
            self._note(NoteCode.TIMESTAMPS, text, self._samples / self._sample_rate)
        if declared is None:
            return
        if abs(declared - begin - held) <= _DIFFERENCE_SECONDS:
            return  # Timestamps that begin late count as a part of the length.
        lengths = (
            f"the header says {declared:.1f} s, the file holds {held:.1f} s,"
            f" {decoded:.1f} s are decoded"
        )
        if declared - held > _DIFFERENCE_SECONDS:
            start = self._samples / self._sample_rate
            self._note(NoteCode.BREAKS_OFF, f"it breaks off: {lengths}", start)
        elif held - declared > _DIFFERENCE_SECONDS and section.end_page is None:
            self._note(NoteCode.LONGER_THAN_DECLARED, f"it is longer than declared: {lengths}")

    def _note(self, code: NoteCode, text: str, start: float | None = None) -> None:
        self.log.add(Note(code, text, None if start is None else round(start, 3)))


def _too_many(streams: Sequence[AudioStream]) -> int:
    """Return how many of them may be read; 0: all."""
    totals = itertools.accumulate(stream.codec_context.channels for stream in streams)
    most = max(1, min(MOST_TRACKS, sum(total <= MOST_CHANNELS for total in totals)))
    return most if most < len(streams) else 0


def spread(block: Planes, channels: int) -> Planes:
    """Give a block more channels: one goes to all, as a player does; else silent ones follow."""
    if len(block) == channels:
        return block
    if len(block) == 1:
        return np.repeat(block, channels, axis=0)
    silent = np.zeros((channels - len(block), block.shape[1]), np.int16)
    return np.concatenate([block, silent])


class _Queue:
    """The sound of one track that was read and not yet taken."""

    def __init__(self, track: Track) -> None:
        self.samples = 0
        self.ended = False
        self.channels = 0
        self._track = track
        self._blocks = track.blocks()
        self._read: deque[Planes] = deque()

    def read(self) -> None:
        """Read one more block."""
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
        else:
            self._read.append(block)
            self.samples += block.shape[1]
        self.channels = max(self.channels, self._track.timeline.channels)

    def take(self, samples: int) -> Planes:
        """Take so many samples, silence where the track has ended."""
        taken: list[Planes] = []
        left = samples
        while left and self._read:
            block = self._read.popleft()
            if block.shape[1] > left:
                self._read.appendleft(block[:, left:])
                block = block[:, :left]
            taken.append(spread(block, self.channels))
            left -= block.shape[1]
            self.samples -= block.shape[1]
        if left:
            taken.append(np.zeros((self.channels, left), np.int16))
        return taken[0] if len(taken) == 1 else np.concatenate(taken, axis=1)


def _queues(tracks: Sequence[Track], sample_rate: int) -> list[_Queue]:
    """Read from each track until it is known how many channels it has, but a second at most."""
    queues = [_Queue(track) for track in tracks]
    for queue in queues:
        while not queue.channels and not queue.ended and queue.samples < sample_rate:
            queue.read()
    if not any(queue.channels for queue in queues):
        queues[0].channels = 1  # Of silence, until more is known.
    return queues


def _side_by_side(queues: Sequence[_Queue]) -> Iterator[Planes]:
    """Yield the channels of all tracks as those of one sound, as long as the longest track."""
    while True:
        for queue in queues:
            if not queue.samples and not queue.ended:
                queue.read()
        living = [queue for queue in queues if queue.samples or not queue.ended]
        if not living:
            return
        samples = min(queue.samples for queue in living)
        if samples:
            taken = [queue.take(samples) for queue in queues]
            yield taken[0] if len(taken) == 1 else np.concatenate(taken)
