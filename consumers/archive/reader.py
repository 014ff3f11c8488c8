"""The entry point: recognises the format and chooses its reader."""

from __future__ import annotations

from collections.abc import Generator
from typing import Self

from consumers.archive.formats import ArchiveFormat, recognise_source
from consumers.archive.members import Allowance, ArchiveLimits, ArchiveSource, Member
from consumers.archive.tar import read_tar
from consumers.archive.zip import read_zip
from consumers.documents.note import Note


class ArchiveReader:
    """Reads the members of an untrusted archive, in order, with flat memory.

    The formats are zip and tar, plain or compressed with gzip, bzip2, xz or zstd. Nothing is
    read before the first member is requested. Close the reader if you leave it before its end.

    Attributes:
        notes: Remarks for people on the archive as a whole, complete at its end: parts that were
            not read, and how it was repaired.

    Raises:
        BadArchiveError: the archive cannot be read, or not further; all members before that
            point have been yielded.
    """

    def __init__(self, source: ArchiveSource, limits: ArchiveLimits) -> None:
        self.notes: list[Note] = []
        self._allowance = Allowance(limits)
        self._members = self._read(source)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Member:
        return next(self._members)

    def close(self) -> None:
        """Leave the archive."""
        self._members.close()

    def _read(self, source: ArchiveSource) -> Generator[Member, None, None]:
        found = recognise_source(source)
        if found is ArchiveFormat.ZIP:
            yield from read_zip(source, self._allowance, self.notes, is_outermost=True)
        else:
            yield from read_tar(source, found, self._allowance, self.notes, is_outermost=True)


def read_archive(source: ArchiveSource, limits: ArchiveLimits) -> ArchiveReader:
    """Read an archive. See `ArchiveReader`."""
    return ArchiveReader(source, limits)
