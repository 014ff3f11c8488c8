"""Streams of bytes in pieces of bounded size, counted against the archive's limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from consumers.archive.members import ArchiveLimits, in_units
from consumers.errors import BadArchiveError, TransientError


class SourceStream:
    """The stored archive, read forward; ``count`` is the number of bytes read."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self.count = 0

    def read(self, length: int) -> bytes:
        """Return up to ``length`` bytes, and ``b""`` only at the archive's end.

        Raises:
            TransientError: the stream ended early, which a lost connection can look like; it must
                not pass for a truncated archive.
        """
        data = self._stream.read(length)
        self.count += len(data)
        if not data and self.count < self._size:
            raise TransientError(f"the store sent {self.count} of {self._size} bytes")
        return data


class PieceReader:
    """Reads across the pieces of a decompressed stream, holding one at a time."""

    def __init__(
        self, pieces: Iterator[bytes], stored: SourceStream, limits: ArchiveLimits
    ) -> None:
        self._pieces = pieces
        self._stored = stored
        self._limits = limits
        self._piece = memoryview(b"")
        self._total = 0
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

    def skip_to_end(self) -> None:
        """Skip the rest, so that the decompressor checks all of it."""
        while self.take(self._limits.total_bytes):
            pass

    def _next_piece(self) -> bytes | None:
        # A generator that has raised is merely exhausted afterwards: not the end of the data.
        if self._failure is not None:
            raise self._failure
        try:
            piece = next(self._pieces, None)
            if piece is not None:
                self._count(len(piece))
        except Exception as exc:
            self._failure = exc
            raise
        return piece

    def _count(self, length: int) -> None:
        self._total += length
        limits = self._limits
        if self._total > limits.total_bytes:
            raise BadArchiveError(
                f"the archive unpacks to more than the {in_units(limits.total_bytes)} allowed"
            )
        if self._total > max(limits.ratio_floor, limits.ratio * self._stored.count):
            raise BadArchiveError(
                f"the archive unpacks to more than {limits.ratio} times its size, "
                "which suggests a decompression bomb"
            )
