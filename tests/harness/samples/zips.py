"""Zips written record by record, which need not agree with one another."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import inflate64
import zstandard

STORED, DEFLATED, DEFLATE64, BZIP2, LZMA, ZSTANDARD, XZ = 0, 8, 9, 12, 14, 93, 95


@dataclass(frozen=True)
class RawZipMember:
    """A member, and what its two headers say where they differ from each other."""

    name: bytes
    data: bytes = b"sound" * 100
    method: int = DEFLATED
    local_name: bytes | None = None
    flags: int = 0
    host: int = 3
    mode: int = 0o100644
    extra: bytes = b""
    local_extra: bytes = b""
    has_descriptor: bool = False
    has_descriptor_magic: bool = True
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    gap: bytes = b""


def raw_zip(
    members: Sequence[RawZipMember], *, prefix: bytes = b"", counts_prefix: bool = False
) -> bytes:
    """Write a zip; ``gap`` stands behind a member, ``prefix`` before the first."""
    body, directory = bytearray(prefix), bytearray()
    base = 0 if counts_prefix else len(prefix)
    for member in members:
        offset = len(body) - base
        body += raw_local(member)
        directory += _central(member, offset)
        body += member.gap
    start = len(body) - base
    count = len(members)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    return bytes(body + directory + end)


def raw_local(member: RawZipMember) -> bytes:
    """Write the local header, the data and the descriptor."""
    packed = compressed(member)
    name = member.name if member.local_name is None else member.local_name
    crc, size, packed_size = _sizes(member, packed)
    if member.has_descriptor:
        recorded = (0, 0, 0)
        magic = b"PK\7\x08" if member.has_descriptor_magic else b""
        descriptor = magic + struct.pack("<3I", crc, packed_size, size)
    else:
        recorded, descriptor = (crc, packed_size, size), b""
    flags = member.flags | (8 if member.has_descriptor else 0)
    fields = (b"PK\3\4", 20, flags, member.method, 0, 0x5821, *recorded, len(name))
    header = struct.pack("<4s5H3I2H", *fields, len(member.local_extra))
    return header + name + member.local_extra + packed + descriptor


def _central(member: RawZipMember, offset: int) -> bytes:
    crc, size, packed_size = _sizes(member, compressed(member))
    flags = member.flags | (8 if member.has_descriptor else 0)
    made_by = member.host << 8 | 20
    fields = (b"PK\1\2", made_by, 20, flags, member.method, 0, 0x5821, crc, packed_size, size)
    lengths = (len(member.name), len(member.extra), 0)
    tail = (0, 0, member.mode << 16, offset)
    return struct.pack("<4s6H3I5H2I", *fields, *lengths, *tail) + member.name + member.extra


def _sizes(member: RawZipMember, packed: bytes) -> tuple[int, int, int]:
    crc = zlib.crc32(member.data) if member.crc is None else member.crc
    size = len(member.data) if member.size is None else member.size
    return crc, size, len(packed) if member.packed_size is None else member.packed_size


def compressed(member: RawZipMember) -> bytes:
    """Return a member's data as it is stored."""
    return _COMPRESSORS[member.method](member.data)


def deflated(data: bytes) -> bytes:
    """Compress without any wrapping."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def _deflate64(data: bytes) -> bytes:
    compressor = inflate64.Deflater()
    return bytes(compressor.deflate(data) + compressor.flush())


def _lzma(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": 1 << 18, "lc": 3, "lp": 0}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
    raw = compressor.compress(data) + compressor.flush()
    return struct.pack("<2BHBI", 9, 20, 5, 3 + 9 * (0 + 5 * 2), 1 << 18) + raw


_COMPRESSORS: Mapping[int, Callable[[bytes], bytes]] = {
    STORED: bytes,
    DEFLATED: deflated,
    DEFLATE64: _deflate64,
    BZIP2: bz2.compress,
    LZMA: _lzma,
    ZSTANDARD: zstandard.ZstdCompressor().compress,
    XZ: lzma.compress,
}


def unicode_path(name: bytes, unicode: str) -> bytes:
    """Make the Unicode Path field of a name (APPNOTE 4.6.9)."""
    value = b"\x01" + zlib.crc32(name).to_bytes(4, "little") + unicode.encode()
    return struct.pack("<HH", 0x7075, len(value)) + value
