"""One stream of sound of a container, read and decoded to its end, whatever is broken in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from consumers.audio.byteclock import byte_clock, is_tag
from consumers.audio.fileview import FileView
from consumers.audio.framed import Hole
from consumers.audio.notelog import NoteLog
from consumers.audio.resample import Planes
from consumers.audio.timeline import JITTER_SECONDS, Interruption, TimeLine
from consumers.audio.transport import is_continuous
from consumers.documents.note import Note, NoteCode

# Formats that begin at zero, unless their beginning is damaged or they are a part of something.
_FROM_ZERO = frozenset({"matroska", "ogg"})
_LEAST_BEGINNING = 0.1
# The part of the bytes for the time before the first packet that has to be there.
_LEAST_EXPLAINED = 0.5

_TRANSPORT = "mpegts"
# Formats in which frames of MP3, AC-3 and others follow one another as in a file of their own.
_FRAMES_WITHIN = frozenset({"w64", "wav"})

# Packets of any stream between two reports of progress: little work, after which a report costs
# little, too.
_PACKETS_PER_REPORT = 32

# Errors in a row without a byte read in between, after which reading ends.
_STUCK = 100

# The first byte of an AMR frame holds its mode; from these modes on it is a pause.
_AMR_PAUSES = {"amr_nb": 8, "amr_wb": 9}


@dataclass(frozen=True, slots=True)
class Properties:
    """What the first frame of a track says about it."""

    codec: str
    sample_rate: int
    channels: int
    layout: str


class Track:
    """One stream of a container that is read for it alone."""

    def __init__(
        self,
        container: InputContainer,
        view: FileView,
        demuxer: str,
        holes: Sequence[Hole],
        stream: AudioStream,
        timeline: TimeLine,
        log: NoteLog,
        progress: Callable[[], None],
    ) -> None:
        self.timeline = timeline
        self.properties: Properties | None = None
        """None before the first frame."""
        self.packets = 0
        self.last_position = 0
        """Where in the file the last packet of any stream begins."""
        self.damaged = 0
        """Packets that could not be decoded."""
        self.unmeasured = 0
        """Those among them of which nobody knows how long they are."""
        self.start = (container.start_time or 0) / av.time_base
        """When the container starts, in its own seconds."""
        self.reached = 0.0
        """Where the last packet that is no sound ends, in the container's seconds."""
        self.duration: float | None = None
        """Seconds of the whole container by its header or FFmpeg's guess."""
        if container.duration is not None:
            self.duration = container.duration / av.time_base
        self._container = container
        self._view = view
        self._demuxer = demuxer
        self._stream = stream
        self._log = log
        self._progress = progress
        self._since = Interruption()
        # Fractions are too slow for every packet.
        self._ticks = [float(each.time_base or 0) for each in container.streams]
        self._pictures = {each.index for each in container.streams if each.type == "video"}
        framing = self.codec if demuxer in _FRAMES_WITHIN else demuxer
        self._clock = byte_clock(framing, view, self._ticks[stream.index], holes)
        self._pause_mode = _AMR_PAUSES.get(self.codec)
        # Of a transport stream: the last packet's position that is known, and the last one's end.
        self._before, self._next = 0, math.inf
        self._is_transport = demuxer == _TRANSPORT

    @property
    def codec(self) -> str:
        """FFmpeg's name of its codec."""
        return self._stream.codec_context.codec.canonical_name

    def blocks(self) -> Iterator[Planes]:
        """Yield the sound from the container's start on, in blocks of about a second."""
        clock, decode = self._clock, self._stream.decode
        for packet in self._packets():
            if clock is not None and not clock.is_exact:
                clock.correct(packet, self._since)
            try:
                frames = decode(packet)
            except MemoryError:
                raise
            except av.FFmpegError:
                self._lost(packet)
                continue
            for frame in frames:
                try:
                    yield from self._placed(frame)
                except (av.FFmpegError, ValueError):
                    # Its format is none that can be resampled.
                    self.timeline.forget()
                    self._lost(packet)
        if clock is not None and (missing := clock.rest()):
            self._since.damaged = True
            self._since.lost += missing
        yield from self.timeline.finish(self._since)

    def _placed(self, frame: AudioFrame) -> Iterable[Planes]:
        if self.properties is None:
            self.properties = Properties(
                self.codec,
                frame.sample_rate,
                frame.layout.nb_channels,
                frame.layout.name,
            )
        since = self._since
        if since.is_none:
            return self.timeline.add(frame, frame.time)
        self._since = Interruption()
        return self.timeline.add(frame, frame.time, since)

    def _lost(self, packet: Packet[AudioStream] | None) -> None:
        if packet is None or not packet.size or is_tag(bytes(packet)[:8]):
            return
        seconds = float((packet.duration or 0) * packet.time_base)
        if self._clock is not None:
            seconds += self._clock.excess(packet, seconds)
        if self._pause_mode is not None and (bytes(packet)[0] >> 3 & 15) >= self._pause_mode:
            self._since.pause += seconds
            return
        self.damaged += 1
        self.unmeasured += not seconds
        self._since.packets += 1
        self._since.lost += seconds

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Read to the end of the file, then flush the decoder."""
        stuck, position = 0, -1
        while True:
            try:
                yield from self._demuxed()
            except MemoryError:
                raise
            except BlockingIOError:
                pass  # EAGAIN: FFmpeg wants to be asked again, which is no damage.
            except av.FFmpegError:
                self._since.damaged = True
            else:
                return
            stuck = stuck + 1 if self._view.tell() == position else 0
            position = self._view.tell()
            if stuck == _STUCK:
                self._log.add(Note(NoteCode.UNREAD, "the rest of the file cannot be read"))
                return

    def _demuxed(self) -> Iterator[Packet[AudioStream]]:
        own, clock = self._stream.index, self._clock
        for number, packet in enumerate(self._container.demux()):
            if not number % _PACKETS_PER_REPORT:
                self._progress()
            index, position = packet.stream_index, packet.pos
            if position is not None and position > self.last_position:
                self.last_position = position
            if clock is not None:
                clock.see(packet, position, is_own=index == own)
            if index == own:
                if not self.packets and self._misses_its_beginning(packet):
                    self._since.damaged = True
                    self.timeline.begin_at_zero()
                    self.start = 0.0
                self.packets += 1
                if packet.is_corrupt or (self._is_transport and self._misses_packets(packet)):
                    self._since.damaged = True
                yield cast("Packet[AudioStream]", packet)
            elif index in self._pictures and packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * self._ticks[index]
                self.reached = max(self.reached, end)

    def _misses_packets(self, packet: Packet[Any]) -> bool:
        """Whether packets of a transport stream are missing before this one, if it is late."""
        if packet.pts is None:
            return False
        tick = self._ticks[self._stream.index]
        time = packet.pts * tick
        is_late = time - self._next > JITTER_SECONDS
        self._next = time + (packet.duration or 0) * tick
        # Those between have no position.
        end = packet.pos or self._view.tell()
        is_missing = is_late and not is_continuous(self._view, self._stream.id, self._before, end)
        self._before = packet.pos or self._before
        return is_missing

    def _misses_its_beginning(self, packet: Packet[Any]) -> bool:
        """Whether so many bytes before the first packet are as much sound as its time says."""
        start = (self._container.start_time or 0) / av.time_base
        if self._demuxer not in _FROM_ZERO or start < _LEAST_BEGINNING or not packet.pos:
            return False
        rate = (self._view.size - packet.pos) / (self.duration or math.inf)
        return packet.pos >= _LEAST_EXPLAINED * start * rate > 0
