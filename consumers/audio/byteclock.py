"""Tells by the bytes that belong to no packet how much sound is missing from a file."""

from __future__ import annotations

from typing import Any

from av.packet import Packet

from consumers.audio.fileview import FileView
from consumers.audio.timeline import Interruption

# Formats that have no timestamps of their own: FFmpeg counts packets, so that the time of what
# it skips is missing.
COUNTED = frozenset({"aac", "ac3", "avi", "dts", "eac3", "loas", "mp3", "truehd"})
# Formats with timestamps in which little but packets takes bytes.
_CONTIGUOUS = frozenset({"asf", "flac", "flv", "matroska", "mpeg", "ogg"})
_PAGED = "ogg"

_LEAST_SECONDS = 0.02
_LEAST_PACKETS = 4
_PEEKED = 8
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
_AVI_FILLERS = (b"JUNK", b"LIST", b"RIFF", b"idx1", b"ix", b"rec ")


def byte_clock(demuxer: str, view: FileView) -> ByteClock | None:
    """Return a clock for this format, if it helps."""
    if demuxer in COUNTED | _CONTIGUOUS:
        return ByteClock(view, counted=demuxer in COUNTED, paged=demuxer == _PAGED)
    return None


def is_tag(head: bytes) -> bool:
    """Whether these bytes begin a tag, which is no sound."""
    return head.startswith(_TAGS)


class ByteClock:
    """Compares where packets are in the file with their sizes."""

    def __init__(self, view: FileView, *, counted: bool, paged: bool) -> None:
        self._view = view
        self._counted = counted
        self._paged = paged
        self._bytes = 0
        self._seconds = 0.0
        self._packets = 0
        self._end: int | None = None
        self._page = 0
        self._hole = 0
        # Seconds of holes so far, by which FFmpeg's count is late.
        self._late = 0.0

    def see(self, packet: Packet[Any], *, is_own: bool) -> None:
        """Look at a packet of any stream, in the order of the file."""
        position = packet.pos
        if position is not None and position >= 0:
            if self._end is not None and position > self._end:
                self._hole += self._unexplained(self._end, position)
            if self._paged:
                # All packets of a page have its position.
                self._end = max(self._end or 0, position) + packet.size
            else:
                self._end = max(self._end or 0, position + packet.size)
        self._bytes += packet.size
        if is_own:
            self._packets += 1
            self._seconds += float((packet.duration or 0) * (packet.time_base or 0))

    def correct(self, packet: Packet[Any], since: Interruption) -> None:
        """Correct the time of a packet that is next to be decoded; tell what is missing."""
        seconds, self._hole = self._length(self._hole), 0
        if seconds >= _LEAST_SECONDS:
            if self._counted:
                self._late += seconds
                since.damaged = True
            else:
                since.skipped += seconds
        if self._late and packet.pts is not None and packet.time_base:
            packet.pts += round(self._late / packet.time_base)

    def excess(self, packet: Packet[Any], seconds: float) -> float:
        """Return how much longer a broken packet is by its bytes than FFmpeg counts."""
        if not self._counted:
            return 0.0
        # It is part of no average.
        self._bytes -= packet.size
        self._seconds -= seconds
        excess = self._length(packet.size) - seconds
        if excess < seconds:
            return 0.0
        self._late += excess
        return excess

    def _length(self, size: int) -> float:
        """Estimate how many seconds of sound take so many bytes."""
        if self._packets < _LEAST_PACKETS or self._bytes <= 0:
            return 0.0
        return size * self._seconds / self._bytes

    def _unexplained(self, start: int, end: int) -> int:
        head = self._view.peek(start, _PEEKED)
        if self._counted and (is_tag(head) or head.startswith(_AVI_FILLERS)):
            return 0
        return end - start
