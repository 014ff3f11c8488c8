"""Finds the blocks of WavPack files; FFmpeg ends at what is none, and at a second file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from consumers.audio.fileview import FileView, Piece, Span
from consumers.audio.section import Section

_MAGIC = b"wvpk"
# The WavPack 4 & 5 Binary File / Block Format: magic, size, version, upper bytes of index and
# total, total, index, samples, flags.
_HEADER = struct.Struct("<4sIHBBIIII")
_SIZE_OFFSET = 8
_VERSIONS = range(0x402, 0x411)
_BLOCK_BYTES = range(_HEADER.size - _SIZE_OFFSET, 1 << 24)
_INITIAL = 0x800
"""The flag of the first of the blocks that hold the same samples of further channels."""

Finder = Callable[[FileView, bytes, int], int | None]


def wavpack_sections(view: FileView, find: Finder) -> Iterator[Section]:
    """Yield the files that are joined in one, without what is no block."""
    pieces: list[Piece] = []
    begin = last = position = 0
    has_sound = False
    while position < view.size:
        header = view.peek(position, _HEADER.size)
        if size := _block_bytes(header):
            *_, index, samples, flags = _HEADER.unpack(header)
            is_first = bool(samples and flags & _INITIAL and not index)
            if is_first and has_sound:
                yield Section((*pieces, Span(begin, position)))
                pieces, begin = [], position
            has_sound |= is_first
            last = position
            position += size
            continue
        # The block before may be shorter than it says.
        found = _next_block(view, find, last + 1)
        if found is None:
            break
        pieces.append(Span(begin, last if found < position else position))
        begin = position = found
    yield Section((*pieces, Span(begin, view.size)))


def _block_bytes(header: bytes) -> int:
    """Return the bytes of the block with this header; 0: it is none."""
    if len(header) < _HEADER.size:
        return 0
    magic, size, version, *_ = _HEADER.unpack(header)
    is_block = magic == _MAGIC and version in _VERSIONS and size in _BLOCK_BYTES
    return size + _SIZE_OFFSET if is_block else 0


def _next_block(view: FileView, find: Finder, start: int) -> int | None:
    position = find(view, _MAGIC, start)
    while position is not None and not _block_bytes(view.peek(position, _HEADER.size)):
        position = find(view, _MAGIC, position + 1)
    return position
