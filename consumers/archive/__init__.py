"""Reads the members of archives that nobody vouches for."""

from __future__ import annotations

from consumers.archive.members import ArchiveLimits, Member, MemberError, Source
from consumers.archive.reading import read_archive

__all__ = ["ArchiveLimits", "Member", "MemberError", "Source", "read_archive"]
