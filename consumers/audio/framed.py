"""Finds what is no frame in streams of frames (AAC in ADTS, AMR), or no fragment of an MP4 file.

FFmpeg skips it without saying where, or takes it for frames.
"""

# ruff: noqa: PLR2004 - bit fields have the values that the standards give them

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumers.audio.fileview import FileView, Piece, Span
from consumers.audio.sniff import id3_sizes

_BUFFER = 1 << 16
_HEADER_BYTES = 6
_FRAMES_IN_A_ROW = 5
_ID3_BYTES = 10
_BOX_HEADER, _LEAST_BOX = 16, 8

# Bytes of a frame by its mode, from 3GPP TS 26.101 and 26.201; RFC 4867, 5.3.
_AMR_SIZES = {0: 13, 1: 14, 2: 16, 3: 18, 4: 20, 5: 21, 6: 27, 7: 32, 8: 6, 15: 1}
_AMR_WB_SIZES = {
    0: 18, 1: 24, 2: 33, 3: 37, 4: 41, 5: 47, 6: 51, 7: 59, 8: 61, 9: 6, 14: 1, 15: 1
}  # fmt: skip
_AMR_NO_DATA = 14
_AMR_MAGIC = b"#!AMR\n"
_AMR_WB_MAGIC = b"#!AMR-WB\n"

SizeOf = Callable[[bytes], int]
"""Gives the bytes of a frame from its first six bytes; 0: it is none."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes that are no frame, before a position in the pieces."""

    position: int
    size: int


def frames_only(view: FileView, span: Span, demuxer: str) -> tuple[tuple[Piece, ...], list[Hole]]:
    """Return the pieces of a stream that are frames, with its header, and what lay in between."""
    head = view.peek(span.start, len(_AMR_WB_MAGIC))
    if demuxer == "mov":
        return _fragments_only(view, span)
    if demuxer == "aac":
        return _Walk(view, span, _adts_size, 0).result()
    if head.startswith(_AMR_WB_MAGIC):
        return _Walk(view, span, _amr_wb_size, len(_AMR_WB_MAGIC)).result()
    if head.startswith(_AMR_MAGIC):
        return _Walk(view, span, _amr_size, len(_AMR_MAGIC)).result()
    return (span,), []


def _fragments_only(view: FileView, span: Span) -> tuple[tuple[Piece, ...], list[Hole]]:
    """Return the pieces of an MP4 file that are boxes; behind others FFmpeg finds no fragment."""
    pieces: list[Piece] = []
    holes: list[Hole] = []
    kept, begin, position, is_fragmented = 0, span.start, span.start, False
    while len(header := view.peek(position, _BOX_HEADER)) == _BOX_HEADER and position < span.end:
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if size >= _LEAST_BOX and kind.isalnum():
            is_fragmented |= kind == b"moof"
            position += size
            continue
        if not is_fragmented or (not size and kind.isalnum()):
            break
        pieces.append(Span(begin, position))
        kept += position - begin
        begin = span.end
        if (found := _fragment(view, position, span.end)) is not None:
            begin = found
        holes.append(Hole(kept, begin - position))
        position = begin
    if begin < span.end:
        pieces.append(Span(begin, span.end))
    return tuple(pieces), holes


def _fragment(view: FileView, start: int, end: int) -> int | None:
    """Find where the next fragment of an MP4 file begins."""
    while start < end and (block := view.peek(start, _BUFFER)):
        at = block.find(b"moof", 4)
        while at >= 0:
            if view.peek(start + at + 8, 4) == b"mfhd":
                return start + at - 4
            at = block.find(b"moof", at + 1)
        start += max(1, len(block) - 7)
    return None


class _Walk:
    """Goes from frame to frame through a span of a file."""

    def __init__(self, view: FileView, span: Span, size_of: SizeOf, header: int) -> None:
        self._view = view
        self._end = span.end
        self._size_of = size_of
        self._start = span.start
        self._header = header
        self._buffer, self._at = b"", 0

    def result(self) -> tuple[tuple[Piece, ...], list[Hole]]:
        """Return the pieces and holes."""
        pieces: list[Piece] = []
        holes: list[Hole] = []
        kept = 0
        # What is before the first frame is left to FFmpeg.
        begin = self._start
        position = self._next(begin + self._header)
        while position is not None and position < self._end:
            size = self._size(position)
            end = position + size
            if size and (end >= self._end or self._size(end) or self._tag(end)):
                position = end
                continue
            found = self._next(position + 1)
            pieces.append(Span(begin, position))
            kept += position - begin
            begin = self._end if found is None else found
            if (size := begin - position - self._tag(position)) > 0:
                holes.append(Hole(kept, size))
            position = found
        if begin < self._end:
            pieces.append(Span(begin, self._end))
        return tuple(pieces), holes

    def _tag(self, position: int) -> int:
        """Return the bytes of a tag, which is no sound that is missing."""
        header = self._view.peek(position, _ID3_BYTES)
        is_tag = header.startswith(b"ID3") and len(header) == _ID3_BYTES
        return id3_sizes(header)[0] if is_tag else 0

    def _next(self, position: int) -> int | None:
        """Find where several frames follow each other, or as many as there are."""
        for start in range(position, self._end):
            follower = start
            for _ in range(_FRAMES_IN_A_ROW):
                size = self._size(follower)
                if not size:
                    break
                follower += size
                if follower >= self._end:
                    break
            else:
                return start
            if follower == self._end:
                return start
        return None

    def _size(self, position: int) -> int:
        offset = position - self._at
        if not 0 <= offset <= len(self._buffer) - _HEADER_BYTES:
            self._buffer, self._at, offset = self._view.peek(position, _BUFFER), position, 0
        return self._size_of(self._buffer[offset : offset + _HEADER_BYTES])


def _adts_size(header: bytes) -> int:
    """ISO/IEC 14496-3, 1.A.2."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 and header[2] >> 2 & 15 <= 12 else 0


def _amr_size(header: bytes) -> int:
    return _amr_bytes(header, _AMR_SIZES)


def _amr_wb_size(header: bytes) -> int:
    return _amr_bytes(header, _AMR_WB_SIZES)


def _amr_bytes(header: bytes, sizes: dict[int, int]) -> int:
    """RFC 4867, 5.3: a frame whose quality bit is not set is damaged."""
    if not header or header[0] & 0x83:
        return 0
    mode = header[0] >> 3 & 15
    is_good = header[0] & 4 or mode >= _AMR_NO_DATA
    return sizes.get(mode, 0) if is_good else 0
