"""The members of a zip archive."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from consumers.archive.formats import HEAD_BYTES, described
from consumers.archive.members import Allowance, ArchiveSource, Member
from consumers.archive.ranged_file import RangedFile
from consumers.archive.streams import PADDING
from consumers.archive.zip_content import PackedMember, zip_member
from consumers.archive.zip_directory import ZipDirectory, ZipDirectoryError, ZipEnd, find_end
from consumers.archive.zip_headers import (
    DESCRIPTOR_MAGIC,
    HAS_DESCRIPTOR,
    LOCAL,
    LOCAL_MAGIC,
    RECORD_START,
    CentralEntry,
    LocalHeader,
    local_header,
    local_length,
)
from consumers.archive.zip_methods import METHODS_READ
from consumers.archive.zip_names import best_name
from consumers.archive.zip_sequence import SPLIT_MARKERS, ZipSequence
from consumers.documents.note import Note, NoteCode
from consumers.errors import BadArchiveError

_MOST_JOINED = 64
"""Zips in one file whose directories are used; more are read by their members' headers."""
_UNLISTED = Note(NoteCode.ARCHIVE, "the archive's directory does not list it")
_DAMAGED_HEADER = Note(NoteCode.ARCHIVE, "its own header is damaged")
_CONTRADICTION = Note(NoteCode.ARCHIVE, "its own header contradicts the directory")
_JOIN = "join all parts in order, the .zip last, and drop the whole"
_ENTRIES_OF_NARROW_ZIP = 1 << 16


def read_zip(
    source: ArchiveSource, allowance: Allowance, notes: list[Note], *, is_outermost: bool
) -> Iterator[Member]:
    """Yield the members in the order of the central directory.

    Then those that it does not list, by their own headers. If there is no directory, or it
    contradicts itself, all are read that way.

    Raises:
        ArchiveLimitError: the archive exceeds a limit.
        BadArchiveError: the archive is damaged; all members that are readable have been yielded.
            The fault of one member is the ``MemberError`` of its content.
    """
    if is_outermost:
        allowance.stored += source.size
    yield from _ZipReader(source, allowance, notes).read()


class _ZipReader:
    """Reads one file, in which several zips may be joined."""

    def __init__(self, source: ArchiveSource, allowance: Allowance, notes: list[Note]) -> None:
        self._size = source.size
        self._allowance = allowance
        self._notes = notes
        # Headers and contents in turn, without fetching either again.
        self._look = RangedFile(source)
        self._file = RangedFile(source)

    def read(self) -> Iterator[Member]:
        end = find_end(self._look, self._size)
        try:
            directories = self._directories(end)
        except ZipDirectoryError as exc:
            yield from self._read_all(exc, end)
            return
        position = 0
        for directory in directories:
            yield from self._read_directory(directory)
            yield from self._read_before(position, directory.first)
            position = directory.end.end
        yield from self._read_rest(position, self._size, "behind its end")

    def _directories(self, end: ZipEnd | None) -> list[ZipDirectory]:
        """Return the directories of the zips that are joined, in the file's order.

        Raises:
            ZipDirectoryError: One is damaged, or a zip has none.
        """
        if end is None and self._read(0, len(DESCRIPTOR_MAGIC)) == DESCRIPTOR_MAGIC:
            raise ZipDirectoryError(f"this is the first part of a split zip archive: {_JOIN}")
        if end is None:
            raise ZipDirectoryError(
                "the zip archive is cut off or damaged: its directory cannot be read"
            )
        if end.parts > 1:
            # Its positions count from the starts of the parts.
            raise ZipDirectoryError(
                f"this is the last of {end.parts} parts of a split zip archive: {_JOIN}"
            )
        directories = [ZipDirectory(self._look, end, self._allowance)]
        while directories[0].begin > 0 and len(directories) < _MOST_JOINED:
            before = find_end(self._look, directories[0].begin)
            if before is None or before.end < directories[0].begin - HEAD_BYTES:
                break
            directories.insert(0, ZipDirectory(self._look, before, self._allowance))
        if directories[0].first > 0 and self._read(0, len(LOCAL_MAGIC)) == LOCAL_MAGIC:
            raise ZipDirectoryError(
                "the zip archive is cut off or damaged: its directory is not where the archive says"
            )
        self._allowance.check_members(sum(map(len, directories)))
        return directories

    def _read(self, position: int, length: int) -> bytes:
        self._look.seek(position)
        return self._look.read(length)

    def _read_directory(self, directory: ZipDirectory) -> Iterator[Member]:
        data_starts = array("Q")
        for entry in directory.entries():
            position = directory.begin + entry.offset
            header = self._local_header(position)
            length = LOCAL.size + len(entry.name.raw) if header is None else header.length
            data_starts.append(position + length)
            packed = self._packed(entry, header, position + length)
            member = zip_member(packed, self._file, self._allowance)
            with closing(member.content):
                yield member
        for start, end in directory.gaps(data_starts):
            yield from self._read_rest(start, end, "between its members")

    def _local_header(self, position: int) -> LocalHeader | None:
        # By the file for contents: the data follows.
        self._file.seek(position)
        fixed = self._file.read(LOCAL.size)
        if len(fixed) < LOCAL.size or not fixed.startswith(LOCAL_MAGIC):
            return None
        return local_header(fixed + self._file.read(local_length(fixed) - LOCAL.size))

    def _packed(self, entry: CentralEntry, header: LocalHeader | None, start: int) -> PackedMember:
        name, notes = best_name(entry.name, None if header is None else header.name, entry.host)
        packed = PackedMember(
            name=name,
            notes=notes,
            mode=entry.mode,
            flags=entry.flags,
            method=entry.method,
            crcs=(entry.crc,),
            size=entry.size,
            disk=entry.disk,
            start=start,
            end=start + entry.packed,
        )
        if header is None:
            return replace(packed, notes=(*notes, _DAMAGED_HEADER))
        if header.flags & HAS_DESCRIPTOR or header.agrees_with(entry):
            return packed
        return self._weighed(packed, header)

    def _weighed(self, packed: PackedMember, header: LocalHeader) -> PackedMember:
        """Choose between a member's own header and the directory, which differ."""
        packed = replace(
            packed, notes=(*packed.notes, _CONTRADICTION), crcs=(*packed.crcs, header.crc)
        )
        if packed.method not in METHODS_READ:
            packed = replace(packed, method=header.method)
        end = packed.start + header.packed
        is_own = self._read(packed.end, 2) != RECORD_START and self._read(end, 2) == RECORD_START
        return replace(packed, end=end, size=header.size) if is_own else packed

    def _read_before(self, start: int, end: int) -> Iterator[Member]:
        """Read what stands before a zip: a marker, a program that unpacks it, members."""
        if start > 0:
            yield from self._read_rest(start, end, "between its zips")
        elif end > 0:
            head = self._read(0, min(HEAD_BYTES, end))
            what = "zeros" if not any(head) else described(head)
            what = "a marker of split archives" if head in SPLIT_MARKERS else what
            text = f"the zip begins behind {end} other bytes: {what}"
            self._notes.append(Note(NoteCode.ARCHIVE, text))
            sequence = ZipSequence(self._look, self._file, self._allowance, notes=(_UNLISTED,))
            yield from sequence.read(0, end)

    def _read_rest(self, start: int, end: int, place: str) -> Iterator[Member]:
        """Read the members that are in a part of the file that no directory lists."""
        head = self._read(start, min(HEAD_BYTES, end - start)) if start < end else b""
        if not head:
            return
        sequence = ZipSequence(self._look, self._file, self._allowance, notes=(_UNLISTED,))
        yield from sequence.read(start, end)
        if sequence.unread:
            text = (
                f"{sequence.unread} bytes of the archive {place} were not read: "
                f"{described(head.lstrip(PADDING) or head)}"
            )
            self._notes.append(Note(NoteCode.UNREAD, text))

    def _read_all(self, why: ZipDirectoryError, end: ZipEnd | None) -> Iterator[Member]:
        """Read all members by their own headers."""
        sequence = ZipSequence(self._look, self._file, self._allowance)
        yield from sequence.read(0, self._size)
        if end is not None and not sequence.unread:
            count = sequence.count if end.is_wide else sequence.count % _ENTRIES_OF_NARROW_ZIP
            odd = "is larger than its format allows" if end.is_wrapped else None
            odd = f"is joined from {end.parts} parts" if end.parts > 1 else odd
            if odd and count == end.count:
                text = f"the zip {odd}: read by its members' own headers"
                self._notes.append(Note(NoteCode.ARCHIVE, text))
                return
        raise BadArchiveError(f"{why}; members read: {sequence.count}") from why
