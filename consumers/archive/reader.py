"""The way in: which kind of archive it is, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.archive.formats import HEAD_BYTES, ArchiveFormat, recognise
from consumers.archive.members import ArchiveLimits, ArchiveSource, Member
from consumers.archive.ranged_file import read_range
from consumers.archive.tar import read_tar
from consumers.archive.zip import read_zip


def read_archive(source: ArchiveSource, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield the members of an archive that may be hostile, in order, with flat memory.

    Read are tar, plain or under gzip, bzip2, xz or zstd, and zip; which one it is the first bytes
    say. Nothing is written to disk. Close the iterator if you leave it before its end.

    Args:
        source: the archive; read when the first member is asked for.
        limits: what it may ask for.

    Raises:
        BadArchiveError: the archive cannot be read, or not further; all good members before that
            point have been yielded.
    """
    head = read_range(source, 0, min(source.size, HEAD_BYTES)) if source.size else b""
    found = recognise(head)
    if found is ArchiveFormat.ZIP:
        yield from read_zip(source, limits)
    else:
        yield from read_tar(source, limits, found)
