"""The compressions of zip members, each with bounded output and memory."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Protocol

import inflate64
import zstandard

from consumers.archive.decompress import PIECE_BYTES, XZ_MEMORY_BYTES, BoundedDecompressor, Inflate
from consumers.archive.zstd_frames import WINDOW_BYTES

STORED = 0
LZMA = 14

METHOD_NAMES = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}

DECOMPRESSION_FAULTS = (
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    OSError,
    ValueError,
    EOFError,
    struct.error,
)
"""The exceptions of decompressors on bad data."""

_DEFLATE64_STEP = 64
"""At 29 KB a byte, the most that Deflate64 can do, 1.8 MiB."""
_ZSTD_STEP = 64
"""At 128 KiB for four bytes, 2 MiB."""
_LZMA_HEADER = struct.Struct("<2BHBI")
_LZMA_PROPERTIES_BYTES = 5


class _Steps:
    """Feeds a decompressor that has no bound of its own with a few bytes at a time."""

    def __init__(self, inner: _Unbounded, step: int) -> None:
        self._inner = inner
        self._step = step
        self._input = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._input

    @property
    def unused_data(self) -> bytes:
        return self._input

    def decompress(self, data: bytes, max_length: int = PIECE_BYTES, /) -> bytes:
        left = memoryview(self._input + data)
        pieces = []
        length = 0
        while left and length < max_length and not self._inner.eof:
            piece = self._inner.decompress(bytes(left[: self._step]))
            left = left[self._step :]
            pieces.append(piece)
            length += len(piece)
        self._input = bytes(left)
        return b"".join(pieces)


class _Unbounded(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Inflate64:
    def __init__(self) -> None:
        self._inflater = inflate64.Inflater()

    @property
    def eof(self) -> bool:
        return bool(self._inflater.eof)

    def decompress(self, data: bytes, /) -> bytes:
        return bytes(self._inflater.inflate(data))


class _Unlzma:
    """LZMA as in zip (APPNOTE 5.8): a header of its own, then the raw stream."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._header = b""
        self._inner: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        return self._inner is not None and self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._inner is None or self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return b"" if self._inner is None else self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = PIECE_BYTES, /) -> bytes:
        if self._inner is None:
            self._header += data
            if len(self._header) < _LZMA_HEADER.size:
                return b""
            self._inner = _raw_lzma(self._header, self._size)
            data = self._header[_LZMA_HEADER.size :]
        return self._inner.decompress(data, max_length)


def _raw_lzma(header: bytes, size: int) -> lzma.LZMADecompressor:
    _, _, length, properties, dictionary = _LZMA_HEADER.unpack_from(header)
    if length != _LZMA_PROPERTIES_BYTES:
        raise lzma.LZMAError("unknown properties")
    # No distance is longer than the content.
    dictionary = max(4096, min(dictionary, size))
    if dictionary > XZ_MEMORY_BYTES:
        raise lzma.LZMAError("Memory usage limit was exceeded")
    filters = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": dictionary,
            "lc": properties % 9,
            "lp": properties // 9 % 5,
            "pb": properties // 45,
        }
    ]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


class _Copy:
    """No compression: the end is not in the data."""

    eof = False
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, _max_length: int = PIECE_BYTES, /) -> bytes:
        return data


_DECOMPRESSORS: dict[int, Callable[[], BoundedDecompressor]] = {
    STORED: _Copy,
    8: lambda: Inflate(-zlib.MAX_WBITS),
    9: lambda: _Steps(_Inflate64(), _DEFLATE64_STEP),
    12: bz2.BZ2Decompressor,
    93: lambda: _Steps(
        zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj(), _ZSTD_STEP
    ),
    95: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES),
}

METHODS_READ = frozenset({*_DECOMPRESSORS, LZMA})

#: The data of these methods says where it ends, to the byte.
METHODS_WITH_END = frozenset({8, 12, 95})


def new_decompressor(method: int, size: int) -> BoundedDecompressor:
    """Make a decompressor.

    Args:
        method: One of `METHODS_READ`.
        size: Bytes of the content, as far as known; bounds the memory that LZMA takes.
    """
    return _Unlzma(size) if method == LZMA else _DECOMPRESSORS[method]()
