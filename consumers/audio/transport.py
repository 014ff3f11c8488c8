"""Looks into MPEG transport streams (ISO/IEC 13818-1) for what FFmpeg does not tell.

FFmpeg keeps the streams that it finds at the start: those that a later part of the file has, as
after a change of programme or where files were joined, are lost or get wrong times. And it does not
say that packets are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from consumers.audio.fileview import FileView

_SYNC = 0x47
_PACKET = 188
_STRIDES = (_PACKET, 192, 204)
_IN_A_ROW = 4
_HEADER_BYTES = 4
_PROGRAMMES_PID = 0
_TABLE_BYTES = 8
_PROGRAMMES_TABLE, _STREAMS_TABLE = 0, 2

# The tables are looked up at so many places of a file, so far from there on.
_PLACES = 32
_PLACE_BYTES = 512 << 10
_BLOCK = 1 << 20
# Packets are counted for so many bytes at most.
_COUNTED_BYTES = 64 << 20

_Packet = tuple[int, bytes]
"""Where it is, and its 188 bytes."""


@dataclass(slots=True)
class _Tables:
    """What the tables said last."""

    programmes: dict[int, int] = field(default_factory=dict)
    """By the PID of their tables."""
    streams: dict[int, bytes] = field(default_factory=dict)
    """Types, PIDs and the descriptors' tags, by programme."""
    position: int = 0
    """Where the last table of programmes is."""

    def copy(self) -> _Tables:
        return _Tables(dict(self.programmes), dict(self.streams), self.position)

    def changes(self, packets: Iterator[_Packet]) -> Iterator[int]:
        """Read on; yield where the streams of a programme change."""
        for position, packet in packets:
            pid = (packet[1] & 0x1F) << 8 | packet[2]
            if not packet[1] & 0x40 or pid not in (_PROGRAMMES_PID, *self.programmes):
                continue
            section = _section(packet)
            if pid == _PROGRAMMES_PID:
                self.position = position
                self.programmes |= _programmes(section)
                continue
            programme, streams = self.programmes[pid], _streams(section)
            if self.streams.get(programme, streams) != streams:
                # What was said of other programmes is of the part before, too.
                self.streams.clear()
                yield self.position
            self.streams[programme] = streams


def transport_joints(view: FileView) -> Iterator[int]:
    """Yield where the streams of a programme change, at the table of programmes before.

    Few places of a file are looked at, unless they differ: what changes for a short time only may
    not be found.
    """
    tables, read = _Tables(), 0
    step = max(view.size // _PLACES, _PLACE_BYTES)
    for start in sorted({*range(0, view.size, step), max(0, view.size - _PLACE_BYTES)}):
        end = start + _PLACE_BYTES
        here = tables.copy()
        if any(here.changes(_packets(view, start, end))):
            yield from tables.changes(_packets(view, read, end))
        else:
            tables = here
        read = end


def is_continuous(view: FileView, pid: int, start: int, end: int) -> bool:
    """Whether between two positions no packet of a stream is missing, and nothing is no packet."""
    last: int | None = None
    before = None
    for position, packet in _packets(view, start, min(end, start + _COUNTED_BYTES)):
        if before is not None and position - before not in _STRIDES:
            return False
        before = position
        if (packet[1] & 0x1F) << 8 | packet[2] != pid:
            continue
        if packet[3] & 0x20 and packet[4] and packet[5] & 0x80:
            last = None  # The stream itself says that its counter starts anew.
        if packet[3] & 0x10:
            counter = packet[3] & 0x0F
            if last is not None and counter not in (last, (last + 1) % 16):
                return False
            last = counter
    return True


def _packets(view: FileView, start: int, end: int) -> Iterator[_Packet]:
    """Yield the packets between two positions, whatever lies between them."""
    position, stride = start, 0
    while position < end:
        block = view.peek(position, min(_BLOCK, end - position + _PACKET * _IN_A_ROW))
        at = 0
        while at + _PACKET <= len(block):
            if block[at] != _SYNC or not stride:
                at, stride = _synchronised(block, at)
                continue
            yield position + at, block[at : at + _PACKET]
            at += stride
        if not at:
            return
        position += at


def _synchronised(block: bytes, start: int) -> tuple[int, int]:
    """Return where packets follow one another, and how far apart they begin; else the end."""
    at = block.find(_SYNC, start)
    while at >= 0:
        for stride in _STRIDES:
            row = block[at : at + stride * _IN_A_ROW : stride]
            if row == bytes([_SYNC]) * len(row) and len(row) > 1:
                return at, stride
        at = block.find(_SYNC, at + 1)
    return len(block), 0


def _section(packet: bytes) -> bytes:
    """Return the table that begins in a packet, as far as it is in it."""
    at = _HEADER_BYTES + (1 + packet[_HEADER_BYTES] if packet[3] & 0x20 else 0)
    if at >= _PACKET:
        return b""
    at += 1 + packet[at]
    size = int.from_bytes(packet[at + 1 : at + 3], "big") & 0xFFF
    # Without its checksum.
    return packet[at : at + max(0, size - 1)]


def _programmes(section: bytes) -> dict[int, int]:
    """Return programmes by their tables' PIDs (2.4.4.3)."""
    found = {}
    if section[:1] == bytes([_PROGRAMMES_TABLE]):
        for at in range(_TABLE_BYTES, len(section) - 3, 4):
            number = int.from_bytes(section[at : at + 2], "big")
            if number:
                found[int.from_bytes(section[at + 2 : at + 4], "big") & 0x1FFF] = number
    return found


def _streams(section: bytes) -> bytes:
    """Return what a table says of its programme's streams (2.4.4.8), without their languages."""
    said = bytearray()
    if section[:1] != bytes([_STREAMS_TABLE]) or len(section) < _TABLE_BYTES + 4:
        return bytes(said)
    at = _TABLE_BYTES + 4 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    while at + 5 <= len(section):
        said += section[at : at + 3]
        end = at + 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)
        at += 5
        while at < end and at + 2 <= len(section):
            said.append(section[at])
            at += 2 + section[at + 1]
        at = end
    return bytes(said)
