"""Tells by the bytes that belong to no packet how much sound is missing from a file."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from av.packet import Packet

from consumers.audio.fileview import FileView
from consumers.audio.framed import Hole
from consumers.audio.timeline import Interruption

# Formats that have no timestamps of their own: FFmpeg counts packets, so that the time of what
# it skips is missing.
COUNTED = frozenset({"aac", "amr", "ac3", "avi", "dts", "eac3", "loas", "mp2", "mp3", "truehd"})
# Formats with timestamps in which little but packets takes bytes.
_CONTIGUOUS = frozenset({"asf", "flac", "flv", "matroska", "mpeg", "ogg"})
_PAGED = "ogg"

_LEAST_SECONDS = 0.02
_LEAST_PACKETS = 4
_PEEKED = 8
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
_AVI = "avi"
# Lists that hold packets, as opposed to those of headers.
_AVI_LISTS = (b"AVI ", b"AVIX", b"movi", b"rec ")
_AVI_LIST_HEADER, _AVI_HEADER = 12, 8
_AVI_CHUNK = re.compile(rb"\d\d(db|dc|wb|pc|tx|sb|__)|ix\d\d|JUNK|LIST|RIFF|idx1")


def byte_clock(
    demuxer: str, view: FileView, tick: float, holes: Sequence[Hole] = ()
) -> ByteClock | None:
    """Return a clock for a stream with this time base, if it helps with its format."""
    if demuxer in COUNTED | _CONTIGUOUS or holes:
        return ByteClock(demuxer, view, tick, holes)
    return None


def is_tag(head: bytes) -> bool:
    """Whether these bytes begin a tag, which is no sound."""
    return head.startswith(_TAGS)


class ByteClock:
    """Compares where packets are in the file with their sizes."""

    def __init__(self, demuxer: str, view: FileView, tick: float, holes: Iterable[Hole]) -> None:
        self._demuxer = demuxer
        self._view = view
        self._holes = deque(holes)
        # Seconds; fractions are too slow for every packet.
        self._tick = tick
        self._counted = demuxer in COUNTED
        self._paged = demuxer == _PAGED
        self._bytes = 0
        self._ticks = 0.0
        self._packets = 0
        self._end = -1
        self._hole = 0
        self.is_exact = True
        """Whether no packet needs `correct` so far."""
        # Seconds of holes so far, by which FFmpeg's count is late.
        self._late = 0.0

    def see(self, packet: Packet[Any], position: int | None, *, is_own: bool) -> None:
        """Look at a packet of any stream and its position, in the order of the file."""
        size = packet.size
        if not size:
            return
        if position is not None and position >= 0:
            while self._holes and self._holes[0].position <= position:
                self._found(self._holes.popleft().size)
            if position > self._end >= 0:
                self._found(self._unexplained(self._end, position))
            if position >= self._end:
                self._end = position + size
            elif self._paged:
                # All packets of a page have its position.
                self._end += size
        self._bytes += size
        if is_own:
            self._packets += 1
            self._ticks += packet.duration or 0

    def _found(self, hole: int) -> None:
        self._hole += hole
        self.is_exact = self.is_exact and not hole

    def correct(self, packet: Packet[Any], since: Interruption) -> None:
        """Correct the time of a packet that is next to be decoded; tell what is missing."""
        if self._hole:
            seconds, self._hole = self._length(self._hole), 0
            if seconds >= _LEAST_SECONDS:
                if self._counted:
                    self._late += seconds
                    since.damaged = True
                else:
                    since.skipped += seconds
        if self._late and packet.pts is not None and self._tick:
            packet.pts += round(self._late / self._tick)

    def rest(self) -> float:
        """Return how many seconds are missing behind the last packet."""
        size = self._hole + sum(hole.size for hole in self._holes)
        seconds = self._length(size)
        return seconds if seconds >= _LEAST_SECONDS else 0.0

    def excess(self, packet: Packet[Any], seconds: float) -> float:
        """Return how much longer a broken packet is by its bytes than FFmpeg counts."""
        if not self._counted:
            return 0.0
        # It is part of no average.
        self._bytes -= packet.size
        self._ticks -= packet.duration or 0
        excess = self._length(packet.size) - seconds
        if excess < seconds:
            return 0.0
        self._late += excess
        self.is_exact = False
        return excess

    def _length(self, size: int) -> float:
        """Estimate how many seconds of sound take so many bytes."""
        if self._packets < _LEAST_PACKETS or self._bytes <= 0:
            return 0.0
        return size * self._ticks * self._tick / self._bytes

    def _unexplained(self, start: int, end: int) -> int:
        if self._demuxer == _AVI:
            return max(0, end - self._behind_chunks(start, end))
        return 0 if self._counted and is_tag(self._view.peek(start, _PEEKED)) else end - start

    def _behind_chunks(self, position: int, end: int) -> int:
        """Return where a row of AVI's chunks ends: FFmpeg may hand out their packets later."""
        while position < end:
            header = self._view.peek(position, _AVI_LIST_HEADER)
            if header.startswith(b"\0") and position % 2:
                position += 1
                continue
            if not _AVI_CHUNK.match(header) or len(header) < _AVI_HEADER:
                break
            size = int.from_bytes(header[4:_AVI_HEADER], "little")
            is_list = header[:4] in (b"LIST", b"RIFF") and header[_AVI_HEADER:] in _AVI_LISTS
            position += _AVI_LIST_HEADER if is_list else _AVI_HEADER + size + size % 2
        return position
