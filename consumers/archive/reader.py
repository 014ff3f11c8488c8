"""The entry point: recognises the format and chooses its reader."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.archive.formats import HEAD_BYTES, ArchiveFormat, recognise
from consumers.archive.members import ArchiveLimits, ArchiveSource, Member
from consumers.archive.ranged_file import read_range
from consumers.archive.tar import read_tar
from consumers.archive.zip import read_zip


def read_archive(source: ArchiveSource, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield the members of an untrusted archive, in order, with flat memory.

    The formats are zip and tar, plain or compressed with gzip, bzip2, xz or zstd. Nothing is
    written to disk, and nothing is read before the first member is requested. Close the iterator
    if you leave it before its end.

    Raises:
        BadArchiveError: the archive cannot be read, or not further; all members before that
            point have been yielded.
    """
    head = read_range(source, 0, min(source.size, HEAD_BYTES)) if source.size else b""
    found = recognise(head)
    if found is ArchiveFormat.ZIP:
        yield from read_zip(source, limits)
    else:
        yield from read_tar(source, limits, found)
