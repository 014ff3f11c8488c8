"""Streams of bytes in pieces of bounded size, counted against the archive's limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from consumers.archive.members import KIB, Allowance
from consumers.errors import BadArchiveError, TransientError

_READ_BYTES = 32 * KIB

PADDING = b"\x00\t\n\r\x1a "
"""Bytes that mean nothing behind an archive: zeros, white space, and the end mark of CP/M."""


class SourceStream:
    """The stored archive, read forward.

    Args:
        stream: The archive's bytes.
        size: How many there are.
        allowance: Learns of what is read, unless the archive lies within another.
    """

    def __init__(self, stream: BinaryIO, size: int, allowance: Allowance | None = None) -> None:
        self._stream = stream
        self._size = size
        self._allowance = allowance
        self._count = 0

    def read(self, length: int) -> bytes:
        """Return up to ``length`` bytes, and ``b""`` only at the archive's end.

        Raises:
            TransientError: the stream ended early, which a lost connection can look like; it must
                not pass for a truncated archive.
        """
        data = self._stream.read(length)
        self._count += len(data)
        if self._allowance is not None:
            self._allowance.stored += len(data)
        if not data and self._count < self._size:
            raise TransientError(f"the store sent {self._count} of {self._size} bytes")
        return data


class StoredReader:
    """Reads compressed data with a look ahead."""

    def __init__(self, stored: SourceStream) -> None:
        self._stored = stored
        self._data = b""
        self._offset = 0

    def peek(self, length: int) -> bytes:
        """Return the next bytes without reading them; fewer than ``length`` at the end."""
        while len(self._data) - self._offset < length:
            more = self._stored.read(_READ_BYTES)
            if not more:
                break
            self._data = self._data[self._offset :] + more
            self._offset = 0
        return self._data[self._offset : self._offset + length]

    def take(self, most: int) -> bytes:
        """Return between 1 and ``most`` bytes, or none at the end."""
        if self._offset == len(self._data):
            return self._stored.read(most)
        data = self._data[self._offset : self._offset + most]
        self._offset += len(data)
        return data

    def read(self, length: int) -> bytes:
        """Return exactly these bytes.

        Raises:
            BadArchiveError: There are fewer.
        """
        data = self.peek(length)
        if len(data) < length:
            raise BadArchiveError("the archive is cut off: its compressed data has no end")
        self._offset += length
        return data

    def skip(self, length: int) -> None:
        """Skip exactly these bytes; raises as `read`."""
        while length:
            step = min(length, _READ_BYTES)
            self.read(step)
            length -= step

    def skip_padding(self) -> None:
        """Skip bytes that mean nothing."""
        while data := self.take(_READ_BYTES):
            if rest := data.lstrip(PADDING):
                self.push_back(rest)
                return

    def push_back(self, data: bytes) -> None:
        """Return bytes just read, to be read again next."""
        self._data = data + self._data[self._offset :]
        self._offset = 0


class PieceReader:
    """Reads across the pieces of a decompressed stream, holding one at a time."""

    def __init__(self, pieces: Iterator[bytes], allowance: Allowance) -> None:
        self._pieces = pieces
        self._allowance = allowance
        self._piece = memoryview(b"")
        self._failure: Exception | None = None

    def take(self, most: int) -> memoryview:
        """Return between 1 and ``most`` bytes, or none at the end.

        Raises:
            BadArchiveError: the data is damaged, cut off, or exceeds a limit.
        """
        while not self._piece:
            piece = self._next_piece()
            if piece is None:
                break
            self._piece = memoryview(piece)
        taken, self._piece = self._piece[:most], self._piece[most:]
        return taken

    def read(self, length: int) -> bytes:
        """Return ``length`` bytes, or fewer at the end."""
        taken = bytearray()
        while len(taken) < length:
            piece = self.take(length - len(taken))
            if not piece:
                break
            taken += piece
        return bytes(taken)

    def push_back(self, data: bytes) -> None:
        """Return bytes just read, to be read again next."""
        self._piece = memoryview(data + bytes(self._piece))

    def skip(self, length: int) -> int:
        """Skip ``length`` bytes, and return how many there were."""
        left = length
        while left:
            piece = self.take(left)
            if not piece:
                break
            left -= len(piece)
        return length - left

    def _next_piece(self) -> bytes | None:
        # A generator that has raised is merely exhausted afterwards: not the end of the data.
        if self._failure is not None:
            raise self._failure
        try:
            piece = next(self._pieces, None)
            if piece is not None:
                self._allowance.add_unpacked(len(piece))
        except Exception as exc:
            self._failure = exc
            raise
        return piece
