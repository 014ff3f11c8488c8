"""A seekable file over ranged reads of an object store."""

from __future__ import annotations

import errno
import io

from consumers.archive.members import KIB, MIB, ArchiveSource
from consumers.errors import TransientError

_FIRST_READ = 256 * KIB
_MOST_READ_AHEAD = 8 * MIB
_GAP_BYTES = 64 * KIB


def read_range(source: ArchiveSource, start: int, length: int) -> bytes:
    """Return exactly these bytes of the archive.

    Raises:
        TransientError: the store sent fewer or more.
    """
    data = source.read_range(start, length)
    if len(data) != length:
        raise TransientError(f"the store sent {len(data)} of {length} bytes")
    return data


class RangedFile(io.RawIOBase):
    """Reads ahead while reading is sequential, twice as far each time, up to 8 MiB a request.

    Small forward jumps count as sequential (local headers stand between zip members); any other
    jump restarts at 256 KiB, so that an odd order does not fetch the archive many times over.

    Attributes:
        failure: the source's exception, if any. Libraries take some exceptions of the file under
            them (``OSError``) for faults of the data.
    """

    def __init__(self, source: ArchiveSource) -> None:
        super().__init__()
        self._source = source
        self._size = source.size
        self._position = 0
        self._window = b""
        self._window_start = 0
        self._read_ahead = _FIRST_READ
        self.failure: Exception | None = None

    def readable(self) -> bool:
        """Return True, as ``io`` asks before it reads."""
        return True

    def seekable(self) -> bool:
        """Return True: ``zipfile`` reads its directory from the end."""
        return True

    def tell(self) -> int:
        """Return the position in bytes from the archive's start; it may lie beyond the end."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move as ``io`` defines it; ``OSError`` before the beginning, like a real file."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        position = bases[whence] + offset
        if position < 0:
            raise OSError(errno.EINVAL, "position before the beginning of the archive")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes; fewer only at the end of the archive."""
        left = max(0, self._size - self._position)
        if size is not None and size >= 0:
            left = min(size, left)
        pieces = []
        while left:
            piece = self._from_window(left)
            pieces.append(piece)
            left -= len(piece)
            self._position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _from_window(self, wanted: int) -> bytes:
        offset = self._position - self._window_start
        if not 0 <= offset < len(self._window):
            self._fetch(wanted)
            offset = 0
        return self._window[offset : offset + wanted]

    def _fetch(self, wanted: int) -> None:
        gap = self._position - (self._window_start + len(self._window))
        is_forward = 0 <= gap <= _GAP_BYTES
        self._read_ahead = (
            min(2 * self._read_ahead, _MOST_READ_AHEAD) if is_forward else _FIRST_READ
        )
        length = min(max(wanted, self._read_ahead), self._size - self._position)
        try:
            window = read_range(self._source, self._position, length)
        except Exception as exc:
            self.failure = exc
            raise
        self._window, self._window_start = window, self._position
