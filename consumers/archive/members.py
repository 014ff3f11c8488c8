"""The source of an archive, its members, and its limits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from consumers.documents.note import Note
from consumers.errors import BadArchiveError, PermanentError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_BUFFER_BYTES = 64 * KIB


class MemberError(PermanentError):
    """The content of one member is damaged; later members can still be read."""


class HarmfulMemberError(MemberError):
    """The content of one member exceeds a limit; what was read of it is not to be used."""


class NotAnArchiveError(BadArchiveError):
    """A file is not an archive; it may be a lone recording."""


class ArchiveLimitError(BadArchiveError):
    """An archive exceeds a limit, together with the archives within it."""


class ArchiveSource(Protocol):
    """The bytes of one archive; a ``TransientError`` of its methods passes through the readers."""

    @property
    def size(self) -> int:
        """Length of the archive in bytes."""

    def stream(self) -> BinaryIO:
        """Open the archive at byte 0; the caller reads it forward once and closes it."""

    def read_range(self, start: int, length: int) -> bytes:
        """Return exactly the ``length`` bytes from ``start``."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits beyond which an archive counts as an attack.

    Attributes:
        members: entries of every kind, directories included.
        member_bytes: decompressed size of one member; a larger one alone is refused.
        total_bytes: decompressed size of the whole archive.
        ratio: decompressed bytes per compressed byte. Speech as WAV packs 2:1, but silence under
            deflate up to 1032:1, so the ratio counts only above ``ratio_floor``.
        ratio_floor: decompressed bytes allowed to an archive, or a zip member, at any ratio.
        header_bytes: one member's tar headers, its long name and pax records included.
        directory_bytes: zip's central directory.
    """

    members: int = 1_000_000
    member_bytes: int = 8 * GIB
    total_bytes: int = 1 * TIB
    ratio: int = 250
    ratio_floor: int = 256 * MIB
    header_bytes: int = 1 * MIB
    directory_bytes: int = 512 * MIB


class Allowance:
    """What an archive and the archives within it may still use, together.

    Attributes:
        limits: The limits.
        members: Members so far; the next one's ordinal.
        stored: Bytes of the outermost archive that were read.
    """

    def __init__(self, limits: ArchiveLimits) -> None:
        self.limits = limits
        self.members = 0
        self.stored = 0
        self._unpacked = 0
        self._failure: ArchiveLimitError | None = None

    def add_member(self) -> int:
        """Count one more member, and return its ordinal.

        Raises:
            ArchiveLimitError: There are too many, or a limit was exceeded before.
        """
        if self._failure is not None:
            raise self._failure
        if self.members >= self.limits.members:
            raise self._exceeded(self._too_many())
        self.members += 1
        return self.members - 1

    def check_members(self, more: int) -> None:
        """Raise `ArchiveLimitError` if so many ``more`` members are too many."""
        if self.members + more > self.limits.members:
            raise ArchiveLimitError(self._too_many())

    def add_unpacked(self, length: int) -> None:
        """Count decompressed bytes.

        Raises:
            ArchiveLimitError: There are too many, altogether or for the size of the archive.
        """
        self._unpacked += length
        limits = self.limits
        if self._unpacked > limits.total_bytes:
            raise self._exceeded(
                f"the archive unpacks to more than the {in_units(limits.total_bytes)} allowed"
            )
        if self._unpacked > max(limits.ratio_floor, limits.ratio * self.stored):
            raise self._exceeded(ratio_text(limits))

    def _too_many(self) -> str:
        return f"the archive has more than the {self.limits.members} members allowed"

    def _exceeded(self, text: str) -> ArchiveLimitError:
        self._failure = ArchiveLimitError(text)
        return self._failure


@dataclass(frozen=True, slots=True)
class Member:
    r"""One entry of an archive.

    Attributes:
        ordinal: 0-based position among all entries, the same at each reading.
        path: the name, safe to show and to store: UTF-8, in which control characters and
            invalid bytes are written as ``\xNN``.
        size: bytes, as the archive declares them.
        refusal: why the content must not be read, for people; ``None`` if it may be.
        is_directory: directories have no content and need no refusal.
        notes: remarks for people on a member that is read all the same.
        content: forward only, and closed when the next member is read; empty for refused
            members and directories. Reading can raise ``BadArchiveError`` or ``MemberError``;
            ``read1`` gives all that is readable before that.
        depth: 0 for a member of the archive itself, 1 for a member of an archive within it.
        is_part: it is a part of a document, of which only recordings matter.
    """

    ordinal: int
    path: str
    size: int
    refusal: str | None
    is_directory: bool
    notes: tuple[Note, ...]
    content: io.BufferedIOBase
    depth: int = 0
    is_part: bool = False


def content_file(raw: io.RawIOBase, size: int) -> io.BufferedIOBase:
    """Buffer ``raw``; closing the result ends reading for its holders too."""
    return io.BufferedReader(raw, buffer_size=max(1, min(size, _BUFFER_BYTES)))


def in_units(size: int) -> str:
    """Return ``size`` bytes as people write them, e.g. ``8.0 GiB``."""
    for unit, bytes_each in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size} bytes"


def size_refusal(size: int, limits: ArchiveLimits) -> str | None:
    """Return why a member of this declared size is refused, or ``None``."""
    if size <= limits.member_bytes:
        return None
    return f"is too large: {in_units(size)}, and the limit is {in_units(limits.member_bytes)}"


def ratio_text(limits: ArchiveLimits) -> str:
    """Say that an archive packs too well."""
    return (
        f"the archive unpacks to more than {limits.ratio} times its size, "
        "which suggests a decompression bomb"
    )
