"""Tars joined in one file, and what stands between and behind them."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.archive import ArchiveLimits, ArchiveReader, read_archive
from consumers.archive.members import MIB
from consumers.documents.note import NoteCode
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    RECORDINGS,
    MemorySource,
    as_read,
    entry,
    listed,
    pax_record,
    peak_memory,
    raw_entry,
    tar_of,
    with_checksum,
)

SECOND = {"second.wav": b"s" * 700, "third.wav": b"t" * 5}
BOTH = [*RECORDINGS.items(), *SECOND.items()]


def reader_of(data: bytes) -> ArchiveReader:
    return read_archive(MemorySource(data), ArchiveLimits())


@pytest.mark.parametrize(
    "between",
    [b"", bytes(512), bytes(10_240), bytes(MIB), b"\r\n", b"\r\n" + bytes(100)],
    ids=["nothing", "a block", "a tape's block", "a mebibyte", "a line end", "odd"],
)
def test_joined_tars_are_one_archive(between: bytes) -> None:
    reader = reader_of(tar_of() + between + tar_of(SECOND))

    assert [(member.path, member.content.read()) for member in reader] == BOTH
    assert reader.notes == []


def test_a_lone_block_of_zeros_is_no_end() -> None:
    first, second = tar_of()[:-1024], tar_of(SECOND)

    assert as_read(first + bytes(512) + second) == BOTH


def test_ordinals_go_on_in_the_next_tar() -> None:
    assert [member.ordinal for member in listed(tar_of() + tar_of(SECOND))] == list(range(6))


@pytest.mark.parametrize("length", [1, 100, 511, 512, 1000, 100_000])
def test_members_behind_junk_are_read_and_the_junk_is_noted(length: int) -> None:
    reader = reader_of(tar_of() + b"?" * length + tar_of(SECOND))

    assert [(member.path, member.content.read()) for member in reader] == BOTH
    (note,) = reader.notes
    assert note.code is NoteCode.UNREAD
    assert note.is_loss
    assert note.text.startswith(f"{length} bytes of the archive between its members")


def test_an_old_tape_s_rest_is_read() -> None:
    """A shorter tar was written over a longer one: the rest begins within a member's data."""
    old = tar_of({"old.wav": b"o" * 30_000, "older.wav": b"older"})
    new = tar_of()

    reader = reader_of(new + old[len(new) :])

    assert [member.path for member in reader] == [*RECORDINGS, "older.wav"]
    assert [note.code for note in reader.notes] == [NoteCode.UNREAD]


def test_what_stands_behind_the_last_member_is_noted_by_its_kind() -> None:
    reader = reader_of(tar_of() + b"fLaC" + b"\x01" * 3000)

    assert [member.path for member in reader] == list(RECORDINGS)
    (note,) = reader.notes
    assert note.text == (
        "3004 bytes of the archive behind its last member were not read: a FLAC recording"
    )


@pytest.mark.parametrize("padding", [b"\r\n", b"\n", b"\x1a" + bytes(100), bytes(5000)])
@pytest.mark.parametrize("has_end", [True, False])
def test_padding_behind_the_last_member_means_nothing(padding: bytes, has_end: bool) -> None:
    tar = tar_of() if has_end else tar_of()[:-1024]
    reader = reader_of(tar + padding)

    assert [member.path for member in reader] == list(RECORDINGS)
    assert reader.notes == []


def test_a_joined_tar_from_before_ustar_is_found_by_its_checksum() -> None:
    header = raw_entry(entry("old.au", size=5))[:512]
    v7 = with_checksum(header[:257] + bytes(255)) + b"sound" + bytes(507)

    assert [path for path, _ in as_read(tar_of() + v7)] == [*RECORDINGS, "old.au"]


@given(
    tars=st.lists(
        st.dictionaries(
            st.text("abc/.", min_size=1).filter(lambda name: name.strip("/.")),
            st.binary(max_size=1500),
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
    between=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    tar_format=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
)
@settings(deadline=None)
def test_every_member_of_any_joined_tars_is_read(
    tars: list[dict[str, bytes]], between: list[int], tar_format: int
) -> None:
    members = [{f"{name}.wav": data for name, data in tar.items()} for tar in tars]
    data = b"".join(
        tar_of(tar, tar_format) + bytes(512 * blocks)  # type: ignore[arg-type]
        for tar, blocks in zip(members, between, strict=False)
    )

    read = [(member.path, member.size) for member in reader_of(data)]

    assert read == [(name, len(data)) for tar in members for name, data in tar.items()]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_header_costs_its_member_alone(data: st.DataObject) -> None:
    members = {f"{name}.wav": bytes(700) for name in "abc"}
    good = tar_of(members) + tar_of(members)
    headers = [start for start in range(0, len(good), 512) if good[start + 257 :][:5] == b"ustar"]
    # The checksum's own field says the same in several ways.
    where = data.draw(st.sampled_from(headers)) + data.draw(st.integers(0, 147))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != good[where]))
    damaged = good[:where] + bytes([value]) + good[where + 1 :]
    reader = reader_of(damaged)
    read: list[str] = []
    failure = None

    try:
        read.extend(member.path for member in reader)
    except BadArchiveError as exc:
        failure = str(exc)

    assert len(read) == 5
    assert "damaged" in (failure or "") or [note.is_loss for note in reader.notes] == [True]


def test_a_pax_header_of_two_mebibytes_costs_its_member_alone() -> None:
    records = pax_record(b"path", b"large.wav") + pax_record(b"LIBARCHIVE.xattr.x", b"x" * 2 * MIB)
    large = raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records) + raw_entry(
        entry("short.wav", size=600), b"l" * 600
    )

    with peak_memory() as peak:
        first, *others = listed(large + tar_of())

    assert (first.path, first.refusal) == (
        "large.wav",
        "has headers of more than the 1.0 MiB allowed",
    )
    assert [member.path for member in others] == list(RECORDINGS)
    assert peak.value < 6 * MIB


def test_a_global_header_of_two_mebibytes_costs_nothing() -> None:
    records = pax_record(b"comment", b"x" * 2 * MIB)
    header = raw_entry(entry("x", tarfile.XGLTYPE, size=len(records)), records)

    assert as_read(header + tar_of()) == list(RECORDINGS.items())


def test_junk_is_searched_in_flat_memory() -> None:
    archive = tar_of() + b"ustar" * (MIB // 8) + bytes(4 * MIB) + tar_of(SECOND)

    with peak_memory() as peak:
        members = listed(archive)

    assert len(members) == 6
    assert peak.value < MIB


@pytest.mark.parametrize(
    ("junk", "words"),
    [
        (b"Welcome to host\r\n", "15 bytes of the archive before its first member were not read"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "before its first member were not read: text"),
        (b"\x7f" * 512, "512 bytes"),
        (b"\xef\xbb\xbf", "3 bytes"),
        (b"?" * 60_000, "60000 bytes"),
    ],
    ids=["a greeting", "a header of HTTP", "a block", "a byte order mark", "much"],
)
def test_members_behind_leading_junk_are_read_and_the_junk_is_noted(
    junk: bytes, words: str
) -> None:
    reader = reader_of(junk + tar_of())

    assert [(member.path, member.content.read()) for member in reader] == list(RECORDINGS.items())
    (note,) = reader.notes
    assert note.is_loss
    assert words in note.text


def test_zeros_before_a_tar_mean_nothing() -> None:
    reader = reader_of(bytes(3) + tar_of())

    assert [member.path for member in reader] == list(RECORDINGS)


def test_much_that_looks_like_headers_is_no_tar() -> None:
    with pytest.raises(BadArchiveError, match="not an archive"):
        listed(b"ustar" * 100_000)


def test_a_name_with_a_trailing_slash_is_a_file_s_if_it_has_content() -> None:
    header = raw_entry(entry("a.wav", size=5))[:512]
    slashed = with_checksum(b"a.wav/" + header[6:]) + b"sound" + bytes(507)

    first, second = listed(slashed + tar_of({"b.wav": b"sound"}))

    assert (first.is_directory, first.size) == (False, 5)
    assert second.path == "b.wav"
