"""A zip archive's central directory, read within bounds.

``zipfile`` trusts the lengths that a directory declares, holds an object of 600 bytes for each
entry, and rejects a whole archive for one odd name. Here two numbers per entry are held.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from consumers.archive.members import (
    KIB,
    MIB,
    Allowance,
    ArchiveLimitError,
    ArchiveLimits,
    in_units,
    ratio_text,
)
from consumers.archive.ranged_file import RangedFile
from consumers.archive.zip_headers import (
    CENTRAL_MAGIC,
    END,
    END64,
    END64_MAGIC,
    END_MAGIC,
    LOCAL,
    LOCAL_MAGIC,
    LOCATOR,
    LOCATOR_MAGIC,
    SIGNATURE_MAGIC,
    CentralEntry,
    central_entry,
    central_extents,
)
from consumers.errors import BadArchiveError

_TAIL_BYTES = (END.size + 68 * KIB, 4 * MIB)
"""How far back the end record is sought: its longest comment and some padding; then further."""
_MOST_ENDS = 64
"""Records that are tried; each can take a request to the store."""
_READ_BYTES = 256 * KIB
_WRAP = 1 << 32
_MOST_DESCRIPTOR_BYTES = 24
_UNKNOWN_DISK = 0xFFFF
_COUNT_MASK = (1 << 10) - 1


class ZipDirectoryError(BadArchiveError):
    """A directory contradicts itself or the archive: the members' own headers may do better."""


@dataclass(frozen=True, slots=True)
class ZipEnd:
    """What the end record of a zip says.

    Attributes:
        begin: The position from which offsets count.
        directory: Where the directory begins.
        size: Bytes of the directory.
        end: Behind the end record.
        offset: Where the record says that it begins, counted from ``begin``.
        count: Members; modulo 65536 without zip64.
        is_wide: Whether it is a zip64, in which no number is cut off.
        parts: Files into which the zip was split.
    """

    begin: int
    directory: int
    size: int
    end: int
    offset: int
    count: int
    is_wide: bool
    parts: int

    @property
    def is_exact(self) -> bool:
        """Whether directory and offsets agree on the file's start, whatever is there."""
        return self.directory == self.offset

    @property
    def is_wrapped(self) -> bool:
        """Whether the offset was cut off at 32 bits, as Finder does beyond 4 GiB."""
        return not self.is_wide and self.begin > 0 and self.begin % _WRAP == 0


def find_end(file: RangedFile, end: int) -> ZipEnd | None:
    """Find the last end record before ``end`` that a directory belongs to."""
    for length in _TAIL_BYTES:
        start = max(0, end - length)
        file.seek(start)
        tail = file.read(end - start)
        position = tail.rfind(END_MAGIC)
        for _ in range(_MOST_ENDS):
            if position < 0:
                break
            if len(tail) - position >= END.size:
                found = _end_at(file, tail, position, start)
                if found is not None:
                    return found
            position = tail.rfind(END_MAGIC, 0, position)
        if start == 0:
            break
    return None


def _end_at(file: RangedFile, tail: bytes, position: int, start: int) -> ZipEnd | None:
    _, disk, _, _, count, size, offset, comment = END.unpack_from(tail, position)
    end = min(start + position + END.size + comment, start + len(tail))
    before = start + position
    wide = _wide_end(file, before)
    if wide is not None:
        before, count, size, offset = wide
    for directory in (before - size, offset):
        if size == 0:
            # An end record in a comment, or of a zip in the zip, empties no archive.
            is_directory = count == 0 and before == offset
        else:
            is_directory = directory >= 0 and _magic_at(file, directory) == CENTRAL_MAGIC
        if is_directory and directory <= before:
            begin = max(0, directory - offset)
            parts = 1 if disk == _UNKNOWN_DISK else disk + 1
            return ZipEnd(begin, directory, size, end, offset, count, wide is not None, parts)
    return None


def _wide_end(file: RangedFile, end: int) -> tuple[int, int, int, int] | None:
    """Return position, count, size and offset of the zip64 end record."""
    if end < LOCATOR.size:
        return None
    file.seek(end - LOCATOR.size)
    data = file.read(LOCATOR.size)
    if not data.startswith(LOCATOR_MAGIC):
        return None
    _, _, recorded, _ = LOCATOR.unpack(data)
    for position in (end - LOCATOR.size - END64.size, recorded):
        if 0 <= position <= end - END64.size:
            file.seek(position)
            data = file.read(END64.size)
            if data.startswith(END64_MAGIC):
                *_, count, size, offset = END64.unpack(data)
                return position, count, size, offset
    return None


def _magic_at(file: RangedFile, position: int) -> bytes:
    file.seek(position)
    return file.read(4)


class ZipDirectory:
    """A directory that was checked as a whole.

    Attributes:
        end: Its end record.
        begin: The position from which offsets count.
        first: The position of the first member.

    Raises:
        ZipDirectoryError: It is damaged, or members overlap or lie elsewhere.
        ArchiveLimitError: It exceeds a limit.
    """

    def __init__(self, file: RangedFile, end: ZipEnd, allowance: Allowance) -> None:
        self.end = end
        self._file = file
        self._offsets = array("Q")
        self._ends = array("Q")
        self._measure(allowance)
        self.begin = self._begin()
        self._check_overlaps()
        self.first = self.begin + min(self._offsets) if self._offsets else end.directory

    def __len__(self) -> int:
        return len(self._offsets)

    def entries(self) -> Iterator[CentralEntry]:
        """Yield the entries in order, reading them again."""
        for data, position, _ in self._entries():
            yield central_entry(data, position)

    def gaps(self, data_starts: array[int]) -> Iterator[tuple[int, int]]:
        """Yield the parts behind the first member that belong to none, in the file's order.

        Args:
            data_starts: Of each entry, the position at which its data begins.
        """
        free_from = self.first
        for index in self._order():
            start = self.begin + self._offsets[index]
            if start - free_from > _MOST_DESCRIPTOR_BYTES:
                yield free_from, start
            packed = self._ends[index] - self._offsets[index] - LOCAL.size
            free_from = max(free_from, data_starts[index] + packed)
        if self.end.directory - free_from > _MOST_DESCRIPTOR_BYTES:
            yield free_from, self.end.directory

    def _measure(self, allowance: Allowance) -> None:
        limits = allowance.limits
        if self.end.size > limits.directory_bytes:
            raise ArchiveLimitError(
                f"the zip archive's directory takes {in_units(self.end.size)}; "
                f"at most {in_units(limits.directory_bytes)} are allowed"
            )
        total = 0
        for _, _, (_, offset, packed, size) in self._entries():
            if offset + packed >= 1 << 63:
                raise ZipDirectoryError("the zip archive is damaged: a member lies beyond its end")
            self._offsets.append(offset)
            self._ends.append(offset + LOCAL.size + packed)
            total += size
            if len(self._offsets) & _COUNT_MASK == 0:
                allowance.check_members(len(self._offsets))
        allowance.check_members(len(self._offsets))
        _check_total(total, self.end.end, limits)

    def _entries(self) -> Iterator[tuple[bytes, int, tuple[int, int, int, int]]]:
        """Yield each entry as a buffer, a position in it, and its extents."""
        start, left = self.end.directory, self.end.size
        data, position = b"", 0
        while True:
            try:
                extents = central_extents(data, position)
            except ValueError:
                if data.startswith(SIGNATURE_MAGIC, position):
                    return
                raise ZipDirectoryError(
                    "the zip archive is damaged: its directory cannot be read"
                ) from None
            if extents is not None:
                yield data, position, extents
                position += extents[0]
            elif left:
                self._file.seek(start)
                piece = self._file.read(min(_READ_BYTES, left))
                if not piece:
                    raise _cut_off()
                start, left = start + len(piece), left - len(piece)
                data, position = data[position:] + piece, 0
            elif position < len(data):
                raise _cut_off()
            else:
                return

    def _begin(self) -> int:
        """Return the position from which offsets count, by where a local header is.

        When an end is cut off, the directory of a zip stored inside is found.
        """
        if not self._offsets:
            return self.end.begin
        lowest = min(self._offsets)
        if self.end.is_exact:
            return 0
        for begin in (self.end.begin, 0):
            if _magic_at(self._file, begin + lowest) == LOCAL_MAGIC and not (
                begin == 0 and self.end.is_wrapped
            ):
                return begin
        raise ZipDirectoryError(
            "the zip archive is cut off or damaged: its directory is not where the archive says"
        )

    def _check_overlaps(self) -> None:
        """Refuse archives whose members share bytes: a small file could claim petabytes."""
        free_from = 0
        for index in self._order():
            if self._offsets[index] < free_from:
                raise ZipDirectoryError(
                    "members of the zip archive overlap, which suggests a decompression bomb"
                )
            free_from = self._ends[index]
        if self.begin + free_from > self.end.end:
            raise ZipDirectoryError("the zip archive is damaged: a member lies beyond its end")

    def _order(self) -> Iterator[int]:
        """Yield the entries' numbers in the order of the file."""
        offsets = self._offsets
        numbers = range(len(offsets))
        if all(offsets[index] <= offsets[index + 1] for index in numbers[:-1]):
            return iter(numbers)
        return iter(sorted(numbers, key=offsets.__getitem__))


def _cut_off() -> ZipDirectoryError:
    return ZipDirectoryError("the zip archive is damaged: its directory is cut off")


def _check_total(total: int, size: int, limits: ArchiveLimits) -> None:
    if total > limits.total_bytes:
        raise ArchiveLimitError(
            f"the archive unpacks to {in_units(total)}; "
            f"at most {in_units(limits.total_bytes)} are allowed"
        )
    if total > max(limits.ratio_floor, limits.ratio * size):
        raise ArchiveLimitError(ratio_text(limits))
