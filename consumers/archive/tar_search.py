"""The search for the next tar header, behind an end mark or damage."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass

from consumers.archive.formats import HEAD_BYTES, begins_tar
from consumers.archive.members import KIB
from consumers.archive.streams import PADDING, PieceReader

_BLOCK_BYTES = tarfile.BLOCKSIZE
_PIECE_BYTES = 64 * KIB
_MAGIC = b"ustar"
_MAGIC_OFFSET = 257
_CHECKSUM_OFFSET = 148
_CHECKSUM_BYTES = 8
# Octal digits, as every tar writes them; this only spares the sum over most blocks.
_CHECKSUM_FIELD = re.compile(rb"[ \x00]*[0-7]+[ \x00]*")


@dataclass(slots=True)
class PassedBytes:
    """What lies before the header.

    Attributes:
        length: Bytes that mean something.
        head: The first of them, up to 512.
        is_found: Whether there is a header.
    """

    length: int = 0
    head: bytes = b""
    is_found: bool = False

    def add(self, data: bytes) -> None:
        """Count these bytes."""
        meaning = data.strip(PADDING)
        self.length += len(meaning)
        if len(self.head) < HEAD_BYTES:
            self.head = (self.head + meaning)[:HEAD_BYTES]


def find_header(archive: PieceReader, boundary: int) -> PassedBytes:
    """Move on to the next header.

    Headers from before 1988, which have no magic bytes, are found at the boundaries of blocks.

    Args:
        archive: The tar.
        boundary: Bytes from here to the next boundary of blocks.

    Raises:
        BadArchiveError: the data is damaged, cut off, or exceeds a limit.
    """
    passed = PassedBytes()
    data = b""
    while piece := archive.take(_PIECE_BYTES):
        data += piece
        start = _header_in(data, boundary)
        if start is not None:
            passed.add(data[:start])
            passed.is_found = True
            archive.push_back(data[start:])
            return passed
        searched = max(0, len(data) - _BLOCK_BYTES + 1)
        passed.add(data[:searched])
        data = data[searched:]
        boundary = (boundary - searched) % _BLOCK_BYTES
    passed.add(data)
    return passed


def _header_in(data: bytes, boundary: int) -> int | None:
    last = len(data) - _BLOCK_BYTES
    zeros = len(data) - len(data.lstrip(b"\x00"))
    if zeros > last + _MAGIC_OFFSET:
        return None
    first = boundary + max(0, zeros - boundary) // _BLOCK_BYTES * _BLOCK_BYTES
    with_magic = _with_magic(data, zeros, last)
    end = last if with_magic is None else with_magic
    for start in range(first, end + 1, _BLOCK_BYTES):
        if _is_header(data, start):
            return start
    return with_magic


def _with_magic(data: bytes, zeros: int, last: int) -> int | None:
    """Find a header by its magic bytes, wherever it begins."""
    found = data.find(_MAGIC, max(zeros, _MAGIC_OFFSET))
    while 0 <= found <= last + _MAGIC_OFFSET:
        if _is_header(data, found - _MAGIC_OFFSET):
            return found - _MAGIC_OFFSET
        found = data.find(_MAGIC, found + 1)
    return None


def _is_header(data: bytes, start: int) -> bool:
    field_end = start + _CHECKSUM_OFFSET + _CHECKSUM_BYTES
    if _CHECKSUM_FIELD.fullmatch(data, start + _CHECKSUM_OFFSET, field_end) is None:
        return False
    return begins_tar(data[start : start + _BLOCK_BYTES])
