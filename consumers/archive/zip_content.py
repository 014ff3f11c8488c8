"""The content of one zip member: its refusals, and its data unpacked within bounds."""

from __future__ import annotations

import io
import stat
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumers.archive.decompress import PIECE_BYTES, BoundedDecompressor
from consumers.archive.members import (
    KIB,
    Allowance,
    ArchiveLimits,
    HarmfulMemberError,
    Member,
    MemberError,
    content_file,
    in_units,
    size_refusal,
)
from consumers.archive.names import path_refusal, shown_path
from consumers.archive.ranged_file import RangedFile
from consumers.archive.zip_methods import (
    DECOMPRESSION_FAULTS,
    LZMA,
    METHOD_NAMES,
    METHODS_READ,
    METHODS_WITH_END,
    new_decompressor,
)
from consumers.documents.note import Note, NoteCode

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_BYTES = 64 * KIB
_BUFFER_BYTES = 64 * KIB
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # APPNOTE 4.4.4: classic, strong, masked headers
_PATCHED = 0x20
_LONGEST_LINK = 4096
"""Bytes; PATH_MAX of Linux. What is longer is no link's target."""
_KINDS = {
    stat.S_IFLNK: "is a symbolic link: pack the file it points to",
    stat.S_IFCHR: "is a character device",
    stat.S_IFBLK: "is a block device",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
}


@dataclass(frozen=True, slots=True)
class PackedMember:
    """A member and the place of its data.

    Attributes:
        name: Untrusted.
        notes: What is remarkable about it.
        mode: The file's mode, or 0.
        flags: General purpose bits.
        method: Of compression.
        crcs: Checksums that the content may have; none if they are unknown.
        size: Bytes of the content; None if unknown.
        disk: The part of a split archive in which it lies.
        start: Where its data begins.
        end: Where its data ends.
    """

    name: bytes
    notes: tuple[Note, ...]
    mode: int
    flags: int
    method: int
    crcs: tuple[int, ...]
    size: int | None
    disk: int
    start: int
    end: int

    @property
    def packed(self) -> int:
        """Bytes of the data."""
        return self.end - self.start


def zip_member(packed: PackedMember, file: RangedFile, allowance: Allowance) -> Member:
    """Make a member whose content is read from ``file``.

    Raises:
        ArchiveLimitError: There are too many members.
    """
    limits = allowance.limits
    path = shown_path(packed.name)
    kind = stat.S_IFMT(packed.mode)
    is_directory = not packed.size and (packed.name.endswith(b"/") or kind == stat.S_IFDIR)
    notes = packed.notes
    refusal = path_refusal(packed.name)
    if kind in _KINDS:
        if _is_of_its_kind(packed, kind):
            refusal = _KINDS[kind]
        else:
            text = f"it {_KINDS[kind].partition(':')[0]} by its attributes, but has content"
            notes = (*notes, Note(NoteCode.ARCHIVE, text))
    if refusal is None and not is_directory:
        refusal = _content_refusal(packed, limits)
    has_content = refusal is None and not is_directory
    size = packed.size or 0
    return Member(
        ordinal=allowance.add_member(),
        path=path.rstrip("/") if is_directory else path,
        size=size,
        refusal=refusal,
        is_directory=is_directory,
        notes=notes if refusal is None else (),
        content=(
            content_file(_Content(packed, file, allowance, path), size or _BUFFER_BYTES)
            if has_content
            else io.BytesIO()
        ),
    )


def _is_of_its_kind(packed: PackedMember, kind: int) -> bool:
    """Whether a member is the link or device that its attributes say: it has no content."""
    return not packed.size or (kind == stat.S_IFLNK and packed.size <= _LONGEST_LINK)


def _content_refusal(packed: PackedMember, limits: ArchiveLimits) -> str | None:
    if packed.flags & _ENCRYPTED:
        return "is encrypted: pack it without a password"
    if packed.method not in METHODS_READ or packed.flags & _PATCHED:
        method = METHOD_NAMES.get(packed.method, f"method {packed.method}")
        return f"uses an unsupported compression ({method}): pack it with Deflate or stored"
    if packed.disk:
        return "lies in another part of a split archive: pack the archive in one piece"
    size = packed.size or 0
    if size > _most_unpacked(packed, limits):
        return f"unpacks to more than {limits.ratio} times its size, as if made to do harm"
    return size_refusal(size, limits)


def _most_unpacked(packed: PackedMember, limits: ArchiveLimits) -> int:
    return max(limits.ratio_floor, limits.ratio * packed.packed)


class _Content(io.RawIOBase):
    """One member's content, unpacked as it is read. Its faults concern it alone.

    The checksum decides: data that goes on behind the declared size is read on, as sizes of more
    than 32 bits are cut off by some programs.
    """

    def __init__(
        self, packed: PackedMember, file: RangedFile, allowance: Allowance, path: str
    ) -> None:
        super().__init__()
        self._packed = packed
        self._file = file
        self._allowance = allowance
        self._path = path
        self._position = packed.start
        self._pieces = self._unpacked()
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        length = min(len(view), len(self._piece))
        view[:length] = self._piece[:length]
        self._piece = self._piece[length:]
        return length

    def close(self) -> None:
        self._pieces.close()
        super().close()

    def _unpacked(self) -> Generator[bytes, None, None]:
        """Yield pieces that are not empty, and check the whole."""
        packed, limits = self._packed, self._allowance.limits
        # Raw LZMA has no mark of its own at its end.
        stop = packed.size if packed.method == LZMA else None
        most = min(limits.member_bytes, _most_unpacked(packed, limits))
        decompressor = new_decompressor(packed.method, packed.size or limits.member_bytes)
        length = crc = 0
        is_whole = stop == 0
        while not (is_whole or decompressor.eof):
            data = self._take() if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                break
            piece = self._decompress(decompressor, data)
            if stop is not None:
                piece = piece[: stop - length]
            length += len(piece)
            if length > most:
                raise HarmfulMemberError(
                    f"the member '{self._path}' unpacks to more than the {in_units(most)} allowed"
                )
            self._allowance.add_unpacked(len(piece))
            crc = zlib.crc32(piece, crc)
            is_whole = length == stop
            if piece:
                yield piece
        self._check(length, crc, is_whole=is_whole or decompressor.eof)

    def _take(self) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(min(_READ_BYTES, self._packed.end - self._position))
        self._position += len(data)
        return data

    def _decompress(self, decompressor: BoundedDecompressor, data: bytes) -> bytes:
        # Around this call alone: an OSError of the store must not pass for one of bz2's.
        try:
            return decompressor.decompress(data, PIECE_BYTES)
        except DECOMPRESSION_FAULTS as exc:
            raise self._damaged(f" ({exc})") from exc

    def _check(self, length: int, crc: int, *, is_whole: bool) -> None:
        packed = self._packed
        if crc in packed.crcs:
            return
        if packed.size is not None and length < packed.size:
            raise self._damaged(f": {packed.size - length} bytes are missing")
        if packed.crcs:
            raise self._damaged(" (Bad CRC-32)")
        if packed.method in METHODS_WITH_END and not is_whole:
            raise self._damaged(": it is cut off")

    def _damaged(self, how: str) -> MemberError:
        return MemberError(f"the member '{self._path}' is damaged{how}")
