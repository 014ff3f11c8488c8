"""Decompression of possible bombs: memory is bounded, and a missing end mark is an error.

Pieces are at most 256 KiB long, whatever the compressed data claims. Several compressed streams
may follow one another, as parallel compressors and ``cat`` write them; zeros and white space
between and after them are padding.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from consumers.archive.formats import HEAD_BYTES, ArchiveFormat, described, stream_format
from consumers.archive.members import KIB, MIB
from consumers.archive.streams import StoredReader
from consumers.archive.zstd_frames import decompress_zstd
from consumers.documents.note import Note, NoteCode
from consumers.errors import BadArchiveError

PIECE_BYTES = 256 * KIB
# The unread input is copied at the end of each stream, and a stream can be 14 bytes long.
_READ_BYTES = 32 * KIB
XZ_MEMORY_BYTES = 128 * MIB
"""``xz -9`` needs 65 MiB to decompress (xz(1))."""


def decompressed(
    data: StoredReader, compression: ArchiveFormat, notes: list[Note]
) -> Iterator[bytes]:
    """Yield the data in pieces: decompressed, or as stored for a plain tar; never for zip.

    A stream may be followed by others, of any compression, or by a plain tar. What else follows
    is noted.

    Raises:
        BadArchiveError: the data is damaged, cut off, or needs too much memory.
    """
    following: ArchiveFormat | None = compression
    while following is not None:
        if following is ArchiveFormat.TAR:
            yield from _as_stored(data)
        elif following is ArchiveFormat.ZSTD:
            yield from decompress_zstd(data)
        else:
            yield from _decompressed(data, following.value, _DECOMPRESSORS[following])
        following = _following(data, compression, notes)


def _following(
    data: StoredReader, compression: ArchiveFormat, notes: list[Note]
) -> ArchiveFormat | None:
    data.skip_padding()
    head = data.peek(HEAD_BYTES)
    following = stream_format(head)
    if following is None and head:
        length = sum(map(len, _as_stored(data)))
        text = (
            f"{length} bytes behind the archive's {compression.value} data were not read: "
            f"{described(head)}"
        )
        notes.append(Note(NoteCode.UNREAD, text))
    return following


class BoundedDecompressor(Protocol):
    """The interface of ``bz2`` and ``lzma``, which keep unread input and bound their output."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether more data is needed before more comes out."""

    @property
    def unused_data(self) -> bytes:
        """What was given behind the stream's end."""

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes:
        """Unpack about ``max_length`` bytes, and keep what was not needed for them."""


class Inflate:
    """The same interface over ``zlib``, for one stream; ``window_bits`` choose its wrapping."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self._damage: zlib.error | None = None
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """What was given behind the stream's end."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = PIECE_BYTES, /) -> bytes:
        """Unpack at most ``max_length`` bytes.

        Raises:
            zlib.error: The data is damaged. All that can be unpacked before was returned.
        """
        if self._damage is not None:
            raise self._damage
        data = self._inflate.unconsumed_tail + data
        before = self._inflate.copy()
        try:
            piece = self._inflate.decompress(data, max_length)
        except zlib.error as exc:
            self._damage = exc
            self.needs_input = False
            return _before_damage(before, data, max_length)
        self.needs_input = not self._inflate.unconsumed_tail
        return piece


def _before_damage(inflate: zlib._Decompress, data: bytes, max_length: int) -> bytes:
    """Unpack data up to what is damaged: zlib discards all that a failing call unpacked."""
    unpacked = bytearray()
    for number in range(len(data)):
        given = inflate.unconsumed_tail + data[number : number + 1]
        # To zlib, a length of 0 means any.
        if not (room := max_length - len(unpacked)):
            break
        try:
            unpacked += inflate.decompress(given, room)
        except zlib.error:
            break
    return bytes(unpacked)


def _gunzip() -> BoundedDecompressor:
    return Inflate(16 + zlib.MAX_WBITS)


def _unxz() -> BoundedDecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


_DECOMPRESSORS: dict[ArchiveFormat, Callable[[], BoundedDecompressor]] = {
    ArchiveFormat.GZIP: _gunzip,
    ArchiveFormat.BZIP2: bz2.BZ2Decompressor,
    ArchiveFormat.XZ: _unxz,
}


def _as_stored(data: StoredReader) -> Iterator[bytes]:
    while piece := data.take(PIECE_BYTES):
        yield piece


def _decompressed(
    data: StoredReader, name: str, new: Callable[[], BoundedDecompressor]
) -> Iterator[bytes]:
    decompressor = new()
    while not decompressor.eof:
        more = data.take(_READ_BYTES) if decompressor.needs_input else b""
        if decompressor.needs_input and not more:
            raise BadArchiveError(f"the archive is cut off: its {name} data has no end")
        piece = _decompress(decompressor, more, name)
        if piece:
            yield piece
    data.push_back(decompressor.unused_data)


def _decompress(decompressor: BoundedDecompressor, data: bytes, name: str) -> bytes:
    # Around this call alone: an OSError of the store must not pass for one of bz2's.
    try:
        return decompressor.decompress(data, PIECE_BYTES)
    except (zlib.error, lzma.LZMAError, OSError, ValueError) as exc:
        raise BadArchiveError(f"the archive's {name} data is damaged ({exc})") from exc
