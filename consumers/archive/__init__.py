"""Readers of untrusted archives: tar, plain or compressed, and zip.

They stay ours because ``tarfile`` and ``zipfile`` trust the lengths that an archive declares;
`tar_headers` and `zip_directory` name the attacks.
"""

from __future__ import annotations

from consumers.archive.members import (
    ArchiveLimitError,
    ArchiveLimits,
    ArchiveSource,
    HarmfulMemberError,
    Member,
    MemberError,
    NotAnArchiveError,
)
from consumers.archive.reader import ArchiveReader, read_archive

__all__ = [
    "ArchiveLimitError",
    "ArchiveLimits",
    "ArchiveReader",
    "ArchiveSource",
    "HarmfulMemberError",
    "Member",
    "MemberError",
    "NotAnArchiveError",
    "read_archive",
]
