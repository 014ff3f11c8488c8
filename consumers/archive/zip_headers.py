"""The records of a zip (APPNOTE.TXT 6.3.10, section 4.3), decoded from bytes that may be wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

RECORD_START = b"PK"
LOCAL_MAGIC = b"PK\x03\x04"
CENTRAL_MAGIC = b"PK\x01\x02"
END_MAGIC = b"PK\x05\x06"
END64_MAGIC = b"PK\x06\x06"
LOCATOR_MAGIC = b"PK\x06\x07"
DESCRIPTOR_MAGIC = b"PK\x07\x08"
SIGNATURE_MAGIC = b"PK\x05\x05"

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")

UTF_8 = 0x800
HAS_DESCRIPTOR = 0x8

_FULL_16 = 0xFFFF
_FULL_32 = 0xFFFFFFFF
_ZIP64_FIELD = 0x0001
_UNICODE_PATH_FIELD = 0x7075
_FIELD = struct.Struct("<HH")


@dataclass(frozen=True, slots=True)
class StoredName:
    """A name as one of the two headers of a member records it.

    Attributes:
        raw: Its bytes, in an unknown encoding.
        is_marked: Whether it is marked as UTF-8.
        unicode: Of the header's Unicode Path field, which is UTF-8; None if there is none that
            belongs to this name.
    """

    raw: bytes
    is_marked: bool
    unicode: bytes | None


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """The header before a member's data.

    Attributes:
        name: Its name.
        flags: General purpose bits.
        method: Of compression.
        crc: Of the content; 0 if a descriptor follows the data.
        packed: Bytes of the data; 0 if a descriptor follows.
        size: Bytes of the content; 0 if a descriptor follows.
        length: Bytes of the header.
    """

    name: StoredName
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    length: int

    def agrees_with(self, entry: CentralEntry) -> bool:
        """Whether it says the same of the data as the directory's entry."""
        return (
            self.method == entry.method
            and self.crc == entry.crc
            and self.packed == entry.packed
            and self.size == entry.size
        )


@dataclass(frozen=True, slots=True)
class CentralEntry:
    """A member's entry in the directory.

    Attributes:
        name: Its name.
        host: The system that made it; 0 is FAT, 3 is Unix.
        mode: The file's mode, if the system has modes.
        flags: General purpose bits.
        method: Of compression.
        crc: Of the content.
        packed: Bytes of the data.
        size: Bytes of the content.
        disk: The part of a split archive in which it lies.
        offset: Of the local header, from the archive's start.
        length: Bytes of the entry.
    """

    name: StoredName
    host: int
    mode: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    disk: int
    offset: int
    length: int


def local_header(data: bytes) -> LocalHeader | None:
    """Decode the header that ``data`` begins with; None if it is none, or cut off."""
    if len(data) < LOCAL.size or not data.startswith(LOCAL_MAGIC):
        return None
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = LOCAL.unpack_from(data)
    length = LOCAL.size + name_bytes + extra_bytes
    if len(data) < length:
        return None
    name = data[LOCAL.size : LOCAL.size + name_bytes]
    extra = data[LOCAL.size + name_bytes : length]
    if extra and _FULL_32 in (packed, size):
        size, packed = _zip64(extra, (size, packed))
    return LocalHeader(stored_name(name, flags, extra), flags, method, crc, packed, size, length)


def local_length(fixed: bytes) -> int:
    """Return the length of a local header, given its fixed part."""
    name_bytes, extra_bytes = struct.unpack_from("<2H", fixed, 26)
    return LOCAL.size + int(name_bytes) + int(extra_bytes)


def central_extents(data: bytes, position: int) -> tuple[int, int, int, int] | None:
    """Return an entry's length, offset, packed and unpacked size; None if it is cut off.

    Raises:
        ValueError: There is no entry here.
    """
    if len(data) - position < CENTRAL.size:
        return None
    fields = CENTRAL.unpack_from(data, position)
    if fields[0] != CENTRAL_MAGIC:
        raise ValueError
    packed, size, name_bytes, extra_bytes, comment_bytes = fields[8:13]
    offset = fields[16]
    length = CENTRAL.size + name_bytes + extra_bytes + comment_bytes
    if len(data) - position < length:
        return None
    if _FULL_32 in (packed, size, offset):
        start = position + CENTRAL.size + name_bytes
        extra = data[start : start + extra_bytes]
        size, packed, offset = _zip64(extra, (size, packed, offset))
    return length, offset, packed, size


def central_entry(data: bytes, position: int) -> CentralEntry:
    """Decode an entry of which `central_extents` has the length."""
    _, made_by, _, flags, method, _, _, *rest = CENTRAL.unpack_from(data, position)
    crc, packed, size, name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset = rest
    start = position + CENTRAL.size
    name = data[start : start + name_bytes]
    extra = data[start + name_bytes : start + name_bytes + extra_bytes]
    if _FULL_32 in (packed, size, offset) or disk == _FULL_16:
        size, packed, offset = _zip64(extra, (size, packed, offset))
        disk = 0 if disk == _FULL_16 else disk
    return CentralEntry(
        name=stored_name(name, flags, extra),
        host=made_by >> 8,
        mode=attributes >> 16,
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        disk=disk,
        offset=offset,
        length=CENTRAL.size + name_bytes + extra_bytes + comment_bytes,
    )


def stored_name(name: bytes, flags: int, extra: bytes) -> StoredName:
    """Combine a header's name with its flag and its Unicode Path field (APPNOTE 4.6.9)."""
    unicode = None
    if extra:
        for field, value in _extra_fields(extra):
            if field == _UNICODE_PATH_FIELD and value[:1] == b"\x01":
                belongs = value[1:5] == zlib.crc32(name).to_bytes(4, "little")
                unicode = value[5:] if belongs else unicode
    return StoredName(name, bool(flags & UTF_8), unicode)


def _zip64(extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
    """Replace the values that are full by those of the zip64 field (APPNOTE 4.5.3)."""
    for field, content in _extra_fields(extra):
        if field == _ZIP64_FIELD:
            wide = iter(struct.unpack_from(f"<{len(content) // 8}Q", content))
            return tuple(next(wide, each) if each == _FULL_32 else each for each in values)
    return values


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _FIELD.size <= len(extra):
        field, length = _FIELD.unpack_from(extra, position)
        position += _FIELD.size
        yield field, extra[position : position + length]
        position += length
