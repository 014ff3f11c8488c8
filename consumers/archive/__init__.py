"""Reads the members of archives that nobody vouches for."""

from __future__ import annotations

from consumers.archive.members import ArchiveLimits, ArchiveSource, Member, MemberError
from consumers.archive.reader import read_archive

__all__ = ["ArchiveLimits", "ArchiveSource", "Member", "MemberError", "read_archive"]
