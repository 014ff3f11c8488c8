"""Zip archives made to do harm, and members that are damaged alone."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from consumers.archive import ArchiveLimits, HarmfulMemberError, MemberError, read_archive
from consumers.archive.members import KIB, MIB
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    RECORDINGS,
    MemorySource,
    as_read,
    listed,
    only_member,
    peak_memory,
    zip_entry,
    zip_of,
    zip_of_entries,
)

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"


def patched(archive: bytes, *, local: tuple[int, bytes], central: tuple[int, bytes]) -> bytes:
    """Overwrite bytes in the first local header and the first directory entry."""
    changed = bytearray(archive)
    for magic, (offset, value) in ((LOCAL, local), (CENTRAL, central)):
        start = changed.index(magic) + offset
        changed[start : start + len(value)] = value
    return bytes(changed)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (stat.S_IFLNK, "is a symbolic link: pack the file it points to"),
        (stat.S_IFCHR, "is a character device"),
        (stat.S_IFBLK, "is a block device"),
        (stat.S_IFIFO, "is a named pipe"),
        (stat.S_IFSOCK, "is a socket"),
    ],
)
def test_members_that_are_no_regular_files_are_refused(kind: int, words: str) -> None:
    content = b"/etc/passwd" if kind == stat.S_IFLNK else b""
    archive = zip_of_entries([(zip_entry("a.wav", kind | 0o777), content)])

    assert only_member(archive).refusal == words


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2001])
def test_an_encrypted_member_is_refused_and_the_others_are_read(flag: int) -> None:
    flags = struct.pack("<H", flag)
    archive = patched(zip_of(), local=(6, flags), central=(8, flags))

    refusals = [member.refusal for member in listed(archive)]

    assert refusals == ["is encrypted: pack it without a password", None, None, None]
    assert as_read(archive)[1:] == list(RECORDINGS.items())[1:]


@pytest.mark.parametrize(
    ("method", "name"),
    [(1, "Shrink"), (6, "Implode"), (98, "PPMd"), (77, "77")],
)
def test_an_unusual_compression_is_refused_by_its_name(method: int, name: str) -> None:
    value = struct.pack("<H", method)
    archive = patched(zip_of(), local=(8, value), central=(10, value))

    refusal = str(listed(archive)[0].refusal)

    assert name in refusal
    assert "pack it with Deflate or stored" in refusal


def test_a_member_in_another_part_of_a_split_archive_is_refused() -> None:
    archive = patched(zip_of(), local=(0, b""), central=(34, b"\x02\x00"))

    assert "another part of a split archive" in str(listed(archive)[0].refusal)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_checksum_is_the_fault_of_one_member(compression: int) -> None:
    archive = patched(
        zip_of(compression=compression), local=(14, b"\xde\xad"), central=(16, b"\xde\xad")
    )
    members = read_archive(MemorySource(archive), ArchiveLimits())

    with pytest.raises(MemberError, match=r"the member 'a\.wav' is damaged \(Bad CRC-32"):
        next(members).content.read()
    assert [(m.path, m.content.read()) for m in members] == list(RECORDINGS.items())[1:]


def test_damaged_deflate_data_are_the_fault_of_one_member() -> None:
    archive = bytearray(zip_of())
    start = archive.index(b"a.wav") + len(b"a.wav")
    archive[start : start + 4] = b"\xff\xff\xff\xff"
    members = read_archive(MemorySource(bytes(archive)), ArchiveLimits())

    with pytest.raises(MemberError, match="damaged"):
        next(members).content.read()
    assert next(members).content.read() == RECORDINGS["calls/Zoë.mp3"]
    members.close()


def test_a_member_shorter_than_declared_is_damaged() -> None:
    size = struct.pack("<I", 5000)
    archive = patched(zip_of(), local=(22, size), central=(24, size))
    archive = patched(archive, local=(14, b"\xde\xad"), central=(16, b"\xde\xad"))

    with pytest.raises(MemberError, match="3716 bytes are missing"):
        as_read(archive)


def test_a_member_longer_than_declared_is_damaged_if_its_checksum_is_another() -> None:
    size = struct.pack("<I", 100)
    archive = patched(zip_of(), local=(22, size), central=(24, size))
    archive = patched(archive, local=(14, b"\xde\xad"), central=(16, b"\xde\xad"))

    with pytest.raises(MemberError, match="CRC"):
        as_read(archive)


@pytest.mark.parametrize("size", [100, 5000])
def test_the_checksum_says_more_than_the_size(size: int) -> None:
    declared = struct.pack("<I", size)
    archive = patched(zip_of(), local=(22, declared), central=(24, declared))

    assert as_read(archive) == list(RECORDINGS.items())


def test_a_member_that_goes_on_as_if_made_to_do_harm_is_damaged() -> None:
    size = struct.pack("<I", 100)
    bomb = zip_of({"bomb.wav": bytes(MIB), "a.wav": b"sound"})
    archive = patched(bomb, local=(22, size), central=(24, size))
    members = read_archive(MemorySource(archive), ArchiveLimits(ratio=250, ratio_floor=64 * KIB))

    with pytest.raises(HarmfulMemberError, match="unpacks to more than"):
        next(members).content.read()
    members.close()


def test_members_that_share_their_bytes_are_taken_for_a_bomb() -> None:
    archive = zip_of({"a.wav": os.urandom(1000), "b.wav": os.urandom(1000)}, zipfile.ZIP_STORED)
    second = archive.index(CENTRAL, archive.index(CENTRAL) + 1)
    overlapping = archive[: second + 42] + bytes(4) + archive[second + 46 :]

    with pytest.raises(BadArchiveError, match="overlap"):
        listed(overlapping)


def test_a_member_that_lies_beyond_the_end_makes_the_archive_bad() -> None:
    archive = zip_of({"a.wav": b"sound"}, zipfile.ZIP_STORED)
    size = struct.pack("<II", 5000, 5000)

    with pytest.raises(BadArchiveError, match="a member lies beyond its end"):
        listed(patched(archive, local=(18, size), central=(20, size)))


def test_a_member_that_packs_too_well_is_refused() -> None:
    archive = zip_of({"bomb.wav": bytes(MIB), "a.wav": os.urandom(20 * KIB)})

    bomb, fine = listed(archive, ArchiveLimits(ratio=250, ratio_floor=64 * KIB))

    assert bomb.refusal == "unpacks to more than 250 times its size, as if made to do harm"
    assert fine.refusal is None


def test_many_members_that_pack_too_well_are_a_bomb_together() -> None:
    archive = zip_of({f"{number}.wav": bytes(MIB) for number in range(10)})

    with pytest.raises(BadArchiveError, match="more than 100 times"):
        listed(archive, ArchiveLimits(ratio=100, ratio_floor=2 * MIB))


def test_a_directory_larger_than_allowed_is_not_read() -> None:
    archive = zip_of({"n" * 60_000 + str(number): b"" for number in range(40)})

    with (
        peak_memory() as peak,
        pytest.raises(BadArchiveError, match=r"takes 2\.3 MiB; at most 1\.0"),
    ):
        listed(archive, ArchiveLimits(directory_bytes=MIB))

    assert peak.value < MIB


def test_a_directory_of_more_entries_than_it_says_costs_no_memory() -> None:
    entry = zip_of({"": b""})
    directory = entry[entry.index(CENTRAL) : entry.index(b"PK\x05\x06")] * 100_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 30, 0)
    bomb = entry[: entry.index(CENTRAL)] + directory + end

    with peak_memory() as peak, pytest.raises(BadArchiveError, match="more than the 1000 members"):
        listed(bomb, ArchiveLimits(members=1000))

    assert peak.value < 12 * MIB  # the directory's 4.6 MB, and a copy


def test_a_cut_archive_is_not_taken_for_the_zip_inside_it() -> None:
    inner = zip_of({"inner.wav": b"sound"})
    archive = zip_of({"a.wav": b"sound", "inner.zip": inner}, zipfile.ZIP_STORED)

    with pytest.raises(BadArchiveError, match="cut off or damaged"):
        listed(archive[: archive.index(CENTRAL, archive.index(inner) + len(inner))])


def test_an_end_record_in_a_comment_does_not_empty_the_archive() -> None:
    archive = zip_of()[:-2] + struct.pack("<H", 22) + b"PK\x05\x06" + bytes(18)

    assert as_read(archive) == list(RECORDINGS.items())


def test_an_archive_without_its_directory_is_cut_off() -> None:
    with pytest.raises(BadArchiveError, match="cut off or damaged: its directory cannot be read"):
        listed(zip_of()[:-40])


def test_a_member_that_unpacks_to_much_is_read_in_small_pieces() -> None:
    archive = zip_of({"silence.wav": bytes(32 * MIB)})
    members = read_archive(MemorySource(archive), ArchiveLimits())

    with peak_memory() as peak:
        content = next(members).content
        crc = 0
        while piece := content.read(64 * KIB):
            crc = zlib.crc32(piece, crc)

    assert crc == zlib.crc32(bytes(32 * MIB))
    assert peak.value < 2 * MIB
    members.close()


@dataclass(frozen=True)
class LoggedSource(MemorySource):
    """Keeps the ranges that it was asked for."""

    ranges: list[tuple[int, int]] = field(default_factory=list)

    def read_range(self, start: int, length: int) -> bytes:
        self.ranges.append((start, length))
        return super().read_range(start, length)


def in_order(members: dict[str, bytes]) -> bytes:
    return zip_of(members, zipfile.ZIP_STORED)


def test_reading_in_order_takes_few_requests() -> None:
    members = {f"{number}.wav": os.urandom(100 * KIB) for number in range(400)}
    source = LoggedSource(zip_of(members, zipfile.ZIP_STORED))

    assert as_read(source) == list(members.items())

    assert len(source.ranges) < 20  # 40 MB; 1,200 reads by zipfile
    assert sum(length for _, length in source.ranges) < 1.1 * source.size


@pytest.mark.parametrize("order", [reversed, sorted])
def test_reading_out_of_order_fetches_a_bounded_amount(
    order: Callable[[list[bytes]], list[bytes]],
) -> None:
    data = zip_of({f"{n}.wav": os.urandom(100 * KIB) for n in range(100)}, zipfile.ZIP_STORED)
    start, end = data.index(CENTRAL), data.rindex(b"PK\x05\x06")
    entries = [CENTRAL + each for each in data[start:end].split(CENTRAL)[1:]]
    source = LoggedSource(data[:start] + b"".join(order(entries)) + data[end:])

    assert len(as_read(source)) == 100

    assert sum(length for _, length in source.ranges) < 5 * source.size
