"""Tar archives made to do harm."""

from __future__ import annotations

import re
import tarfile

import pytest

from consumers.archive import ArchiveLimits, read_archive
from consumers.archive.members import KIB, MIB
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    RECORDINGS,
    MemorySource,
    as_read,
    entry,
    listed,
    only_member,
    pax_record,
    peak_memory,
    raw_entry,
    tar_of,
    with_checksum,
)

AFTER = raw_entry(entry("after.wav", size=5), b"sound") + bytes(1024)
MEBIBYTE = b"x" * MIB


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (b"M", "continues a file"),
        (b"V", "volume label"),
        (b"Z", r"an unsupported kind \(tar type Z\)"),
        (b"\xfe", r"an unsupported kind \(tar type \\xfe\)"),
    ],
)
def test_members_that_are_no_regular_files_are_refused(kind: bytes, words: str) -> None:
    link = raw_entry(entry("link.wav", kind, linkname="/etc/passwd"))

    refused, after = listed(link + AFTER)

    assert refused.refusal is not None
    assert re.search(words, refused.refusal)
    assert (after.path, after.ordinal, after.refusal) == ("after.wav", 1, None)


def test_gnu_sparse_members_are_refused_and_passed_over() -> None:
    plain = raw_entry(entry("holes.wav", tarfile.GNUTYPE_SPARSE, size=512))[:512]
    # One more block of the map, then the data: 512 bytes that stand for a gibibyte.
    header = with_checksum(plain[:482] + b"\x01" + b"%011o\x00" % (1 << 30) + plain[495:])

    refused, after = listed(header + bytes(512) + b"d" * 512 + AFTER)

    assert refused.refusal == "is stored as a sparse file: pack it without tar's --sparse"
    assert after.path == "after.wav"


def test_pax_sparse_members_are_refused_and_passed_over() -> None:
    records = (
        pax_record(b"GNU.sparse.major", b"1")
        + pax_record(b"GNU.sparse.minor", b"0")
        + pax_record(b"GNU.sparse.name", b"holes.wav")
        + pax_record(b"GNU.sparse.realsize", b"9" * 18)
    )
    extended = raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records)
    data = raw_entry(entry("GNUSparseFile.1/holes.wav", size=1024), b"1\n0\n0\n".ljust(1024))

    refused, after = listed(extended + data + AFTER)

    assert (refused.path, after.path) == ("holes.wav", "after.wav")
    assert "sparse" in str(refused.refusal)


def test_an_endless_sparse_map_is_not_followed() -> None:
    header = raw_entry(entry("holes.wav", tarfile.GNUTYPE_SPARSE))[:512]
    more = bytes(504) + b"\x01" + bytes(7)
    archive = with_checksum(header[:482] + b"\x01" + header[483:]) + more * 10_000

    with pytest.raises(BadArchiveError, match="headers of one member take more than"):
        listed(archive)


@pytest.mark.parametrize(
    "kind",
    [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK],
)
def test_headers_that_claim_gigabytes_are_not_read_into_memory(kind: bytes) -> None:
    archive = raw_entry(entry("x", kind, size=4 << 30)) + MEBIBYTE * 32

    with peak_memory() as peak, pytest.raises(BadArchiveError, match=r"more than the 1\.0 MiB"):
        listed(archive)

    assert peak.value < 2 * MIB


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_long_chain_of_headers_is_not_followed(kind: bytes) -> None:
    with pytest.raises(BadArchiveError, match="headers of one member take more"):
        listed(raw_entry(entry("x", kind, size=0)) * 5000 + AFTER)


@pytest.mark.parametrize(
    "records",
    [b"2 " * (MIB // 2 - 1024) + b"a=", b"1" * (MIB - 2048), b"1 " * 1000, b"\xff" * 600],
    ids=["nested", "digits", "short", "noise"],
)
def test_pax_records_made_to_take_memory_or_time_are_damage(records: bytes) -> None:
    # Python's own reader, before 3.11.10 and 3.12.6, takes gigabytes or minutes for these.
    archive = raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records) + AFTER

    with peak_memory() as peak, pytest.raises(BadArchiveError, match="pax"):
        listed(archive)

    assert peak.value < 8 * MIB


def test_many_small_pax_records_take_no_more_memory_than_their_bytes() -> None:
    records = b"".join(pax_record(b"k%d" % number, b"") for number in range(80_000))
    archive = raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records) + AFTER

    with peak_memory() as peak:
        assert [member.path for member in listed(archive)] == ["after.wav"]

    assert peak.value < 8 * MIB


@pytest.mark.parametrize("value", [b"-1", b"1e3", b"9" * 21, b" 5", b"\xd9\xa1"])
def test_pax_sizes_that_are_no_numbers_are_damage(value: bytes) -> None:
    records = pax_record(b"size", value)
    archive = raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records) + AFTER

    with pytest.raises(BadArchiveError, match="damaged"):
        listed(archive)


def test_a_pax_size_counts_instead_of_the_header_s() -> None:
    records = pax_record(b"size", b"700")
    archive = (
        raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records)
        + raw_entry(entry("large.wav", size=0), b"l" * 700)
        + AFTER
    )

    assert as_read(archive) == [("large.wav", b"l" * 700), ("after.wav", b"sound")]


def test_a_negative_size_is_damage() -> None:
    with pytest.raises(BadArchiveError, match="negative size"):
        listed(raw_entry(entry("x", size=-512)) + AFTER)


def test_a_size_beyond_all_measure_ends_at_the_end_of_the_archive() -> None:
    source = MemorySource(raw_entry(entry("x", size=1 << 80)) + AFTER)
    members = read_archive(source, ArchiveLimits())

    assert "too large" in str(next(members).refusal)
    with pytest.raises(BadArchiveError, match="ends in the middle of the member 'x'"):
        next(members)


def test_a_damaged_header_does_not_pass_for_the_end() -> None:
    good = tar_of()
    second = 512 + 1536  # header and data of a.wav
    archive = good[:second] + b"?" + good[second + 1 :]
    members = read_archive(MemorySource(archive), ArchiveLimits())

    # The name that a header before it held is damaged, too.
    assert [next(members).path for _ in range(4)] == [
        "a.wav",
        "calls/Zo?.mp3",
        *list(RECORDINGS)[2:],
    ]
    with pytest.raises(BadArchiveError, match=r"damaged .*; members read before: 1"):
        next(members)


def test_a_member_cut_short_says_so_and_so_does_the_archive() -> None:
    archive = tar_of()[: 512 + 700]
    members = read_archive(MemorySource(archive), ArchiveLimits())
    content = next(members).content

    assert content.read(512) == RECORDINGS["a.wav"][:512]
    with pytest.raises(BadArchiveError, match=r"ends in the middle of the member 'a\.wav'"):
        content.read()
    with pytest.raises(BadArchiveError, match=r"ends in the middle of the member 'a\.wav'"):
        next(members)


def test_an_archive_cut_in_a_header_says_how_much_was_read() -> None:
    archive = tar_of()[: 512 + 1536 + 100]

    with pytest.raises(
        BadArchiveError, match=r"cut off in the middle of a header; members read before: 1"
    ):
        listed(archive)


def test_an_archive_cut_behind_a_long_header_is_cut_off() -> None:
    records = pax_record(b"path", b"a.wav")

    with pytest.raises(
        BadArchiveError, match="no member follows a long header; members read before: 0"
    ):
        listed(raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records))


def test_zeros_that_compress_well_are_no_bomb_in_a_plain_tar() -> None:
    silence = bytes(64 * KIB)
    limits = ArchiveLimits(ratio=1, ratio_floor=0)

    assert as_read(tar_of({"silence.wav": silence}), limits) == [("silence.wav", silence)]


def test_an_unusual_type_of_a_regular_file_is_read() -> None:
    archive = raw_entry(entry("contiguous.wav", tarfile.CONTTYPE, size=5), b"sound")

    assert only_member(archive).refusal is None
