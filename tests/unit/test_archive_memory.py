"""Memory stays flat however many members and bytes an archive has."""

from __future__ import annotations

from typing import BinaryIO, cast

from consumers.archive import ArchiveLimits, read_archive
from consumers.archive.members import MIB
from tests.harness.samples.archives import MemorySource, entry, peak_memory, raw_entry
from tests.harness.samples.zips import STORED, RawZipMember, raw_zip

MEMBERS = 60_000
MEMBER_BYTES = 5_000
CONTENT = b"speech and silence" * 300
ON_TAPE = 512 + 5120


class GeneratedTar:
    """A tar of 338 MB that exists only as it is read: one header per member, one content."""

    size = MEMBERS * ON_TAPE + 1024

    def stream(self) -> BinaryIO:
        return cast("BinaryIO", GeneratedStream())

    def read_range(self, start: int, length: int) -> bytes:
        assert start == 0
        return self.stream().read(ON_TAPE)[:length]


class GeneratedStream:
    """Sends one member at a time, as a connection sends what has arrived."""

    def __init__(self) -> None:
        header = raw_entry(entry("recordings/call.wav", size=MEMBER_BYTES))[:512]
        self._member = header + CONTENT[:MEMBER_BYTES] + bytes(-MEMBER_BYTES % 512)
        self._sent = 0

    def read(self, length: int) -> bytes:
        assert length >= len(self._member) == ON_TAPE
        self._sent += 1
        if self._sent <= MEMBERS:
            return self._member
        return bytes(1024) if self._sent == MEMBERS + 1 else b""

    def close(self) -> None:
        self._sent = MEMBERS + 1


def test_sixty_thousand_members_are_read_in_two_mebibytes() -> None:
    count = total = 0

    with peak_memory() as peak:
        for member in read_archive(GeneratedTar(), ArchiveLimits()):
            count += 1
            # Every second one is passed over unread.
            total += len(member.content.read()) if member.ordinal % 2 else MEMBER_BYTES

    assert (count, total) == (MEMBERS, MEMBERS * MEMBER_BYTES)
    assert peak.value < 2 * MIB


def test_a_zip_s_directory_takes_little_memory() -> None:
    names = (b"recordings/2026-05-04/call-%05d.wav" % number for number in range(20_000))
    archive = raw_zip([RawZipMember(name, b"", STORED) for name in names])

    with peak_memory() as peak:
        count = sum(1 for _ in read_archive(MemorySource(archive), ArchiveLimits()))

    assert count == 20_000
    assert peak.value < 5 * MIB
