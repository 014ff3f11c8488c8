"""Zstandard, frame by frame and block by block (RFC 8878, section 3.1.1).

``zstandard``'s stream reader accepts input without an end, so a truncated archive would look
complete; its decompression object detects the end but turns a small input into gigabytes. Walking
the blocks solves both: a block unpacks to at most 128 KiB, and the last block of a frame is marked.
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from consumers.archive.members import KIB, MIB
from consumers.archive.streams import StoredReader
from consumers.errors import BadArchiveError

WINDOW_BYTES = 128 * MIB
"""The default limit of ``zstd`` itself (``--long=27``)."""

_BLOCK_BYTES = 128 * KIB
_SKIPPABLE_MAGIC = 0x184D2A50
_LONGEST_HEADER = 18
_CHECKSUM_BYTES = 4
_RLE_BLOCK = 1


def decompress_zstd(data: StoredReader) -> Iterator[bytes]:
    """Yield the decompressed data of one frame in pieces of at most 128 KiB.

    Raises:
        BadArchiveError: the data is damaged, cut off, or needs a window above 128 MiB.
    """
    if int.from_bytes(data.peek(4), "little") & ~0xF == _SKIPPABLE_MAGIC:
        data.read(4)
        data.skip(int.from_bytes(data.read(4), "little"))
    else:
        yield from _frame(data, zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES))


def _frame(data: StoredReader, decompressor: zstandard.ZstdDecompressor) -> Iterator[bytes]:
    frame = decompressor.decompressobj()
    try:
        head = data.peek(_LONGEST_HEADER)
        has_checksum = zstandard.get_frame_parameters(head).has_checksum
        frame.decompress(data.read(zstandard.frame_header_size(head)))
        last = False
        while not last:
            head = data.read(3)
            header = int.from_bytes(head, "little")
            last = bool(header & 1)
            stored_bytes = 1 if header >> 1 & 3 == _RLE_BLOCK else header >> 3
            if stored_bytes > _BLOCK_BYTES:
                raise BadArchiveError("the archive's zstd data is damaged (block too large)")
            checksum_bytes = _CHECKSUM_BYTES if last and has_checksum else 0
            piece = frame.decompress(head + data.read(stored_bytes + checksum_bytes))
            if piece:
                yield piece
    except zstandard.ZstdError as exc:
        raise BadArchiveError(f"the archive's zstd data is damaged ({exc})") from exc
    if not frame.eof:
        raise BadArchiveError("the archive's zstd data is damaged (frame without an end)")
