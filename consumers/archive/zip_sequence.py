"""The members of a zip by their own headers, where there is no directory that can be used."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from consumers.archive.members import KIB, Allowance, Member
from consumers.archive.names import path_notes
from consumers.archive.ranged_file import RangedFile
from consumers.archive.streams import PADDING
from consumers.archive.zip_content import PackedMember, zip_member
from consumers.archive.zip_headers import (
    CENTRAL,
    CENTRAL_MAGIC,
    DESCRIPTOR_MAGIC,
    END,
    END64,
    END64_MAGIC,
    END_MAGIC,
    HAS_DESCRIPTOR,
    LOCAL,
    LOCAL_MAGIC,
    LOCATOR,
    LOCATOR_MAGIC,
    LocalHeader,
    local_header,
    local_length,
)
from consumers.archive.zip_methods import METHOD_NAMES, STORED
from consumers.archive.zip_names import best_name
from consumers.documents.note import Note

_PIECE_BYTES = 256 * KIB
_MAGIC_BYTES = 4
_WRAP = 1 << 32
_RECORDS = (LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC, END64_MAGIC)
_RECORD = re.compile(rb"PK(?:\x03\x04|\x01\x02|\x07\x08)")
SPLIT_MARKERS = (DESCRIPTOR_MAGIC, b"PK00")
"""May stand before a zip (APPNOTE 8.5.4, 8.5.5)."""
_METHODS = {STORED, 8, *METHOD_NAMES}
# Without and with its magic bytes, with sizes of 4 and of 8 bytes (APPNOTE 4.3.9).
_DESCRIPTOR_BYTES = (0, 12, 16, 20, 24)
_LOOK_BYTES = 24 + _MAGIC_BYTES
_UNIX = 3


@dataclass(frozen=True, slots=True)
class _Extent:
    """The data of a member: where it ends, its checksum and size, as far as known."""

    end: int
    crc: int | None
    size: int | None


class ZipSequence:
    """Reads the members of a part of a file one after the other.

    Attributes:
        count: Members so far.
        unread: Bytes so far that belong to no member and to no record of a zip.
    """

    def __init__(
        self,
        look: RangedFile,
        file: RangedFile,
        allowance: Allowance,
        *,
        notes: tuple[Note, ...] = (),
    ) -> None:
        """Prepare to read.

        Args:
            look: For headers.
            file: For contents, of the same archive.
            allowance: What the members may still use.
            notes: For each member.
        """
        self.count = 0
        self.unread = 0
        self._look = look
        self._file = file
        self._allowance = allowance
        self._notes = notes
        self._end = 0

    def read(self, start: int, end: int) -> Iterator[Member]:
        """Yield the members between two positions."""
        self._end = end
        position = start
        while position < end:
            data = self._at(position, max(LOCAL.size, CENTRAL.size))
            header = self._header(position) if data.startswith(LOCAL_MAGIC) else None
            if header is not None:
                extent = self._extent(header, position + header.length)
                yield from self._member(header, position + header.length, extent)
                behind = self._behind(extent.end)
                position = extent.end if behind is None else behind
            else:
                length = _record_length(data)
                if length is None and self.count == 0 and data.startswith(SPLIT_MARKERS):
                    length = len(SPLIT_MARKERS[0])
                position = self._next(position) if length is None else position + length

    def _at(self, position: int, length: int) -> bytes:
        self._look.seek(position)
        return self._look.read(max(0, min(length, self._end - position)))

    def _header(self, position: int) -> LocalHeader | None:
        """Return the header at a position if it is likely to be one."""
        fixed = self._at(position, LOCAL.size)
        if len(fixed) < LOCAL.size:
            return None
        header = local_header(self._at(position, local_length(fixed)))
        if header is None or header.method not in _METHODS:
            return None
        name = header.name.raw
        return header if name and min(name) >= ord(" ") else None

    def _member(self, header: LocalHeader, start: int, extent: _Extent) -> Iterator[Member]:
        name, _ = best_name(header.name, None, _UNIX)
        packed = PackedMember(
            name=name,
            notes=(*self._notes, *path_notes(name)),
            mode=0,
            flags=header.flags,
            method=header.method,
            crcs=() if extent.crc is None else (extent.crc,),
            size=extent.size,
            disk=0,
            start=start,
            end=extent.end,
        )
        member = zip_member(packed, self._file, self._allowance)
        self.count += 1
        with closing(member.content):
            yield member

    def _extent(self, header: LocalHeader, start: int) -> _Extent:
        has_descriptor = bool(header.flags & HAS_DESCRIPTOR)
        is_known = not has_descriptor or header.packed or header.name.raw.endswith(b"/")
        # Sizes of more than 32 bits are cut off by some programs.
        for end in range(start + header.packed, self._end + 1, _WRAP) if is_known else ():
            if self._behind(end) is not None:
                is_cut_off = end > start + header.packed
                size = None if is_cut_off else header.size
                if is_cut_off and header.method == STORED:
                    size = end - start
                crc = None if has_descriptor and not header.crc else header.crc
                return _Extent(end, crc, size)
        found = self._found_extent(start)
        if found.crc is None and not has_descriptor:
            return _Extent(found.end, header.crc, header.size)
        return found

    def _behind(self, position: int) -> int | None:
        """Return where a record begins, behind a descriptor or at once, if one does."""
        data = self._at(position, _LOOK_BYTES)
        for length in _DESCRIPTOR_BYTES:
            record = data[length : length + _MAGIC_BYTES]
            # The last one may be cut off.
            if len(data) >= length and any(magic.startswith(record) for magic in _RECORDS):
                return position + length
        return None

    def _found_extent(self, start: int) -> _Extent:
        """Search for the end of a member's data: its descriptor, or the next record."""
        for position in self._records(start):
            data = self._at(position, _LOOK_BYTES)
            length = position - start
            if data.startswith(DESCRIPTOR_MAGIC):
                sizes = _sizes(data[4:], length)
                if sizes is not None:
                    return _Extent(position, *sizes)
            elif data.startswith(CENTRAL_MAGIC) or self._header(position) is not None:
                return self._extent_to(start, position)
        return self._extent_to(start, self._end)

    def _extent_to(self, start: int, end: int) -> _Extent:
        """Return the data before a position, or before a descriptor that ends there."""
        for width in (12, 20):
            packed = end - width - start
            sizes = _sizes(self._at(end - width, width), packed) if packed >= 0 else None
            if sizes is not None:
                return _Extent(end - width, *sizes)
        return _Extent(end, None, None)

    def _records(self, start: int) -> Iterator[int]:
        """Yield positions at which a record may begin."""
        position = start
        while position < self._end:
            data = self._at(position, _PIECE_BYTES)
            for match in _RECORD.finditer(data):
                yield position + match.start()
            if position + len(data) >= self._end:
                return
            position += len(data) - 3

    def _next(self, start: int) -> int:
        """Return the position of the next header or record, and count what is passed over."""
        found = self._end
        for position in self._records(start + 1):
            if self._at(position, 4) == CENTRAL_MAGIC or self._header(position) is not None:
                found = position
                break
        for position in range(start, found, _PIECE_BYTES):
            data = self._at(position, min(_PIECE_BYTES, found - position))
            self.unread += len(data.strip(PADDING))
        return found


def _sizes(data: bytes, packed: int) -> tuple[int, int] | None:
    """Return checksum and size of a descriptor, if it is one for so many bytes of data."""
    for layout in ("<I2I", "<I2Q"):
        if len(data) >= struct.calcsize(layout):
            crc, recorded, size = struct.unpack_from(layout, data)
            if recorded == packed or (layout == "<I2I" and recorded == packed % _WRAP):
                return crc, size
    return None


def _record_length(data: bytes) -> int | None:
    """Return the length of a record of the directory that ``data`` begins with."""
    if data.startswith(CENTRAL_MAGIC) and len(data) >= CENTRAL.size:
        return CENTRAL.size + int(sum(struct.unpack_from("<3H", data, 28)))
    if data.startswith(END_MAGIC) and len(data) >= END.size:
        return END.size + int(struct.unpack_from("<H", data, 20)[0])
    if data.startswith(END64_MAGIC):
        return END64.size
    if data.startswith(LOCATOR_MAGIC):
        return LOCATOR.size
    return None
