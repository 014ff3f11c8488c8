"""A file that FFmpeg sees: parts of an open file and bytes of ours, one after another."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file, from ``start`` to before ``end``."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


Piece = Span | bytes


class FileView:
    """A read-only, seekable binary file over one descriptor, which stays open.

    Several views may share a descriptor: each keeps a position of its own.
    """

    def __init__(self, descriptor: int, pieces: Sequence[Piece]) -> None:
        self._descriptor = descriptor
        self._pieces = [piece for piece in pieces if len(piece)]
        self._ends = list(itertools.accumulate(map(len, self._pieces)))
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can be sought in: always."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte to read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as in any binary file, also beyond the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; fewer where a piece ends, none only at the end."""
        data = self.peek(self._position, size)
        self._position += len(data)
        return data

    def peek(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes from an offset without moving."""
        index = bisect.bisect_right(self._ends, offset)
        if index == len(self._ends):
            return b""
        piece = self._pieces[index]
        within = offset - (self._ends[index] - len(piece))
        if isinstance(piece, bytes):
            return piece[within : within + size]
        # pread is no call that the confinement allows.
        os.lseek(self._descriptor, piece.start + within, os.SEEK_SET)
        return os.read(self._descriptor, min(size, len(piece) - within))


def whole(descriptor: int) -> tuple[Piece, ...]:
    """Return the pieces of an unchanged file."""
    return (Span(0, os.lseek(descriptor, 0, os.SEEK_END)),)
