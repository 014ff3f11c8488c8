"""An archive in a file on this machine."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from consumers.archive.members import KIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 256 * KIB


@dataclass(frozen=True, slots=True)
class SpooledArchive:
    """The bytes of an archive in an open file (`consumers.archive.ArchiveSource`).

    The file's position is left alone. It must stay open until the archive was read.
    """

    file: BinaryIO

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.file.fileno()).st_size

    def stream(self) -> BinaryIO:
        """Read the file from its start."""
        return io.BufferedReader(_Stream(self.file.fileno()), _BUFFER_BYTES)

    def read_range(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start``; fewer only at the end of the file."""
        return os.pread(self.file.fileno(), length, start)


class _Stream(io.RawIOBase):
    """A file from its start, whatever its position."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        length = os.preadv(self._descriptor, [buffer], self._position)
        self._position += length
        return length
