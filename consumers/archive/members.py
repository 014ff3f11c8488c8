"""What an archive is read from, what comes out of it, and how much is too much."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from consumers.errors import PermanentError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_BUFFER_BYTES = 64 * KIB


class MemberError(PermanentError):
    """One member's content is damaged; the members after it can still be read."""


class ArchiveSource(Protocol):
    """The bytes of one archive, wherever they are.

    What its methods raise (``TransientError``) reaches the reader's caller unchanged.
    """

    @property
    def size(self) -> int:
        """Length of the archive in bytes."""

    def stream(self) -> BinaryIO:
        """Open the archive at byte 0, to be read forward once and closed."""

    def read_range(self, start: int, length: int) -> bytes:
        """Return exactly the ``length`` bytes from ``start``."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may ask for before it is taken for an attack.

    Attributes:
        members: entries of every kind, directories included.
        member_bytes: decompressed size of one member; a larger one is refused, the rest is read.
        total_bytes: decompressed size of the whole archive.
        ratio: decompressed bytes per compressed byte. Speech as WAV packs 2:1, silence under
            deflate at most 1032:1, so it is looked at only past ``ratio_floor``.
        ratio_floor: decompressed bytes that every archive (and zip member) may have whatever
            its ratio.
        header_bytes: one member's tar headers, its long name and pax records included.
        directory_bytes: zip's central directory, which is held in memory.
    """

    members: int = 1_000_000
    member_bytes: int = 8 * GIB
    total_bytes: int = 1 * TIB
    ratio: int = 250
    ratio_floor: int = 256 * MIB
    header_bytes: int = 1 * MIB
    directory_bytes: int = 512 * MIB


@dataclass(frozen=True, slots=True)
class Member:
    r"""One entry of an archive.

    Attributes:
        ordinal: 0-based position, counting every entry: the same at each reading.
        path: the member's name made safe to show and to store: valid UTF-8 without control
            characters; those, and bytes that are not UTF-8, are shown as ``\xNN``.
        size: bytes as the archive declares them.
        refusal: why the content must not be read, in words for people; ``None`` if it may be.
        is_directory: a directory has no content and needs no refusal.
        note: something a person should know about a member that is read all the same.
        content: forward only, and closed when the next member is asked for; empty for refused
            members and directories. Reading can raise ``BadArchiveError`` or ``MemberError``.
    """

    ordinal: int
    path: str
    size: int
    refusal: str | None
    is_directory: bool
    note: str | None
    content: BinaryIO


def content_file(raw: io.RawIOBase, size: int) -> BinaryIO:
    """Return ``raw`` as a buffered file; closing it also ends reading for whoever holds it."""
    return io.BufferedReader(raw, buffer_size=max(1, min(size, _BUFFER_BYTES)))


def in_units(size: int) -> str:
    """Return ``size`` bytes as people write them, e.g. ``8.0 GiB``."""
    for unit, bytes_each in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size} bytes"


def size_refusal(size: int, limits: ArchiveLimits) -> str | None:
    """Say why a member of this declared size is not read, or ``None``."""
    if size <= limits.member_bytes:
        return None
    return f"is too large: {in_units(size)}, at most {in_units(limits.member_bytes)} are read"
