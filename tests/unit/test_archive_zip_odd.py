"""Zips that programs write although no specification says so: their recordings are read."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.archive import ArchiveLimits, ArchiveReader, Member, MemberError, read_archive
from consumers.archive.members import GIB, KIB, MIB
from consumers.documents.note import NoteCode
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    RECORDINGS,
    MemorySource,
    as_read,
    listed,
    only_member,
    peak_memory,
    zip_of,
)
from tests.harness.samples.zips import (
    BZIP2,
    DEFLATE64,
    LZMA,
    STORED,
    XZ,
    ZSTANDARD,
    RawZipMember,
    raw_local,
    raw_zip,
    unicode_path,
)

SPEECH = b"one two three four " * 500
NOISE = os.urandom(5000)
LATIN = "Gespräch.wav".encode("cp437")
GBK = "访谈.wav".encode("gbk")


def reader_of(data: bytes) -> ArchiveReader:
    return read_archive(MemorySource(data), ArchiveLimits())


def notes_of(member: Member) -> list[tuple[NoteCode, str]]:
    return [(note.code, note.text) for note in member.notes]


@pytest.mark.parametrize("method", [DEFLATE64, BZIP2, LZMA, ZSTANDARD, XZ])
@pytest.mark.parametrize("data", [b"", SPEECH, NOISE, bytes(300_000)])
def test_rarer_compressions_are_read(method: int, data: bytes) -> None:
    archive = raw_zip([RawZipMember(b"a.wav", data, method), RawZipMember(b"b.wav")])

    assert as_read(archive) == [("a.wav", data), ("b.wav", b"sound" * 100)]


@pytest.mark.parametrize("method", [DEFLATE64, BZIP2, LZMA, ZSTANDARD, XZ])
def test_rarer_compressions_are_unpacked_in_small_pieces(method: int) -> None:
    archive = raw_zip([RawZipMember(b"a.wav", bytes(16 * MIB), method)])
    reader = reader_of(archive)
    member = next(reader)

    with peak_memory() as peak:
        while member.content.read(64 * KIB):
            pass

    assert peak.value < 12 * MIB
    reader.close()


@pytest.mark.parametrize("method", [STORED, 8, DEFLATE64, BZIP2, LZMA, ZSTANDARD, XZ])
def test_damage_in_any_compression_is_the_fault_of_one_member(method: int) -> None:
    archive = bytearray(raw_zip([RawZipMember(b"a.wav", NOISE, method), RawZipMember(b"b.wav")]))
    start = archive.index(b"a.wav") + 100
    archive[start : start + 40] = bytes(40)
    members = reader_of(bytes(archive))

    with pytest.raises(MemberError, match=r"the member 'a\.wav' is damaged"):
        next(members).content.read()
    assert next(members).content.read() == b"sound" * 100
    assert next(members, None) is None


def test_an_lzma_dictionary_of_gigabytes_is_not_given() -> None:
    archive = raw_zip([RawZipMember(b"a.wav", SPEECH, LZMA, size=2 * GIB)])
    archive = archive.replace((1 << 18).to_bytes(4, "little"), (0xFFFFFFFF).to_bytes(4, "little"))

    reader = read_archive(MemorySource(archive), ArchiveLimits(ratio_floor=4 * GIB))
    member = next(reader)

    with pytest.raises(MemberError, match="Memory usage limit"):
        member.content.read()
    reader.close()


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_a_device_that_has_content_is_a_recording(kind: int) -> None:
    reader = reader_of(raw_zip([RawZipMember(b"a.wav", SPEECH, mode=kind | 0o644)]))
    member = next(reader)

    assert member.content.read() == SPEECH
    ((code, text),) = notes_of(member)
    assert code is NoteCode.ARCHIVE
    assert text.endswith("by its attributes, but has content")


def test_a_link_longer_than_any_path_is_a_recording() -> None:
    reader = reader_of(raw_zip([RawZipMember(b"a.wav", SPEECH, mode=stat.S_IFLNK | 0o777)]))
    member = next(reader)

    assert member.content.read() == SPEECH


@pytest.mark.parametrize("name", [b"a.wav", b"a.wav/"])
def test_a_folder_that_has_content_is_a_recording(name: bytes) -> None:
    reader = reader_of(raw_zip([RawZipMember(name, SPEECH, mode=stat.S_IFDIR | 0o755)]))
    member = next(reader)

    assert not member.is_directory
    assert member.content.read() == SPEECH


@pytest.mark.parametrize(
    ("member", "path", "text"),
    [
        (
            RawZipMember(b"a.wav", local_name=b"b.wav"),
            "a.wav",
            "its name is the directory's; its own header has 'b.wav'",
        ),
        (
            RawZipMember(b"day\\one.wav", local_name=b"day/one.wav"),
            "day/one.wav",
            "the folders of its name are divided by backslashes",
        ),
        (
            RawZipMember(b"day\\one.wav", host=0),
            "day/one.wav",
            "the folders of its name are divided by backslashes",
        ),
        (RawZipMember(b"a\\b.wav"), "a\\b.wav", None),
        (
            RawZipMember(LATIN, extra=unicode_path(LATIN, "Gespräch.wav")),
            "Gespräch.wav",
            "its name is of its Unicode Path field",
        ),
        (
            RawZipMember(LATIN, local_extra=unicode_path(LATIN, "Gespräch.wav")),
            "Gespräch.wav",
            "its name is of its Unicode Path field",
        ),
        (
            RawZipMember(LATIN, extra=unicode_path(b"other.wav", "other.wav")),
            r"Gespr\x84ch.wav",
            "its name is not UTF-8",
        ),
        (
            RawZipMember(GBK, local_name="访谈.wav".encode()),
            "访谈.wav",
            "its name is of its own header, as the directory's is not UTF-8",
        ),
        (
            RawZipMember("Gespräch.wav".encode("latin-1"), flags=0x800),
            r"Gespr\xe4ch.wav",
            "its name is marked as UTF-8 and is not",
        ),
        (RawZipMember("Zoë.wav".encode()), "Zoë.wav", None),
        (
            RawZipMember(b"", local_name=b"a.wav"),
            "a.wav",
            "its name is of its own header, as the directory's is empty",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_follows_the_best_evidence(
    member: RawZipMember, path: str, text: str | None
) -> None:
    found, other = reader_of(raw_zip([member, RawZipMember(b"plain.wav")]))

    assert found.refusal is None
    assert found.path == path
    assert notes_of(found) == ([] if text is None else [(NoteCode.NAME, text)])
    assert (other.path, other.notes) == ("plain.wav", ())
    assert [data for _, data in as_read(raw_zip([member]))] == [member.data]


def test_a_unicode_path_that_leads_out_is_refused() -> None:
    member = RawZipMember(b"a.wav", extra=unicode_path(b"a.wav", "../../a.wav"))

    assert "'..'" in str(only_member(raw_zip([member])).refusal)


@pytest.mark.parametrize("prefix", [b"PK00", b"PK\x07\x08", b"MZ" + NOISE, b"#!/bin/sh\nexit\n"])
@pytest.mark.parametrize("counts_prefix", [True, False])
def test_what_stands_before_a_zip_is_noted(prefix: bytes, counts_prefix: bool) -> None:
    members = [RawZipMember(b"a.wav", SPEECH), RawZipMember(b"b.wav", NOISE)]
    reader = reader_of(raw_zip(members, prefix=prefix, counts_prefix=counts_prefix))

    assert [(m.path, m.content.read()) for m in reader] == [("a.wav", SPEECH), ("b.wav", NOISE)]
    (note,) = reader.notes
    assert note.code is NoteCode.ARCHIVE
    assert f"behind {len(prefix)} other bytes" in note.text
    assert note.text.endswith("a marker of split archives") == (len(prefix) == 4)


@pytest.mark.parametrize("padding", [b"", b"\r\n", bytes(5000), bytes(MIB)])
def test_joined_zips_are_one_archive(padding: bytes) -> None:
    second, third = {"second.wav": SPEECH}, {"third.wav": NOISE}
    data = zip_of() + zip_of(second) + zip_of(third) + padding

    assert as_read(data) == [*RECORDINGS.items(), *second.items(), *third.items()]
    assert reader_notes(data) == []


def reader_notes(data: bytes) -> list[NoteCode]:
    reader = reader_of(data)
    for member in reader:
        member.content.read()
    return [note.code for note in reader.notes]


def test_what_stands_behind_a_zip_is_noted() -> None:
    data = zip_of() + b"fLaC" + NOISE

    assert as_read(data) == list(RECORDINGS.items())
    assert reader_notes(data) == [NoteCode.UNREAD]


def test_a_member_that_no_directory_lists_is_read_with_a_note() -> None:
    hidden = raw_local(RawZipMember(b"hidden.wav", NOISE))
    data = raw_zip([RawZipMember(b"a.wav", gap=hidden), RawZipMember(b"b.wav")])

    members = listed(data)

    assert [member.path for member in members] == ["a.wav", "b.wav", "hidden.wav"]
    assert notes_of(members[2]) == [(NoteCode.ARCHIVE, "the archive's directory does not list it")]
    assert [member.ordinal for member in members] == [0, 1, 2]


def test_alignment_between_members_means_nothing() -> None:
    data = raw_zip([RawZipMember(b"a.wav", gap=bytes(4096)), RawZipMember(b"b.wav")])

    assert [path for path, _ in as_read(data)] == ["a.wav", "b.wav"]
    assert reader_notes(data) == []


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_member_whose_own_header_is_damaged_is_read_by_the_directory(damaged: int) -> None:
    data = bytearray(raw_zip([RawZipMember(b"a.wav"), RawZipMember(b"b.wav")]))
    data[data.index(b"PK\3\4", 4) if damaged else 0] = 0

    read = as_read(bytes(data))

    assert read == [("a.wav", b"sound" * 100), ("b.wav", b"sound" * 100)]
    assert notes_of(listed(bytes(data))[damaged]) == [
        (NoteCode.ARCHIVE, "its own header is damaged")
    ]


MEMBERS = st.lists(
    st.builds(
        RawZipMember,
        name=st.text("abc", min_size=1).map(lambda name: f"{name}.wav".encode()),
        data=st.binary(max_size=2000),
        method=st.sampled_from([STORED, 8, BZIP2, DEFLATE64, LZMA]),
        has_descriptor=st.booleans(),
        has_descriptor_magic=st.booleans(),
        # Where other data ends, before a descriptor without its magic bytes, only a record shows.
    ).map(
        lambda member: member if member.method == 8 else replace(member, has_descriptor_magic=True)
    ),
    min_size=1,
    max_size=5,
)


@given(members=MEMBERS, data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_whole_member_of_a_zip_without_its_directory_is_read(
    members: list[RawZipMember], data: st.DataObject
) -> None:
    archive = raw_zip(members)
    start = archive.index(b"PK\1\2")
    cut = data.draw(st.integers(start, len(archive) - 22))

    read, error = read_until_it_fails(archive[:cut])

    assert read == [(member.name.decode(), member.data) for member in members]
    assert "cut off or damaged" in str(error)


@given(members=MEMBERS, data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_whole_member_of_a_zip_cut_anywhere_is_read(
    members: list[RawZipMember], data: st.DataObject
) -> None:
    archive = raw_zip(members)
    lengths = [len(raw_local(member)) for member in members]
    cut = data.draw(st.integers(30, sum(lengths)))
    whole = [member for index, member in enumerate(members) if sum(lengths[: index + 1]) <= cut]

    read, error = read_until_it_fails(archive[:cut])

    assert read[: len(whole)] == [(member.name.decode(), member.data) for member in whole]
    assert error is not None


def read_until_it_fails(
    data: bytes,
) -> tuple[list[tuple[str, bytes | None]], BadArchiveError | None]:
    read: list[tuple[str, bytes | None]] = []
    try:
        for member in reader_of(data):
            try:
                read.append((member.path, member.content.read()))
            except MemberError:
                read.append((member.path, None))
    except BadArchiveError as exc:
        return read, exc
    return read, None


def test_members_behind_damage_are_found_without_a_directory() -> None:
    members = [RawZipMember(f"{n}.wav".encode(), os.urandom(1000), STORED) for n in range(3)]
    data = bytearray(raw_zip(members))
    second = data.index(b"PK\3\4", 4)
    data[second : second + 20] = bytes(20)

    read, error = read_until_it_fails(bytes(data[: data.index(b"PK\1\2")]))

    assert [path for path, _ in read] == ["0.wav", "2.wav"]
    assert error is not None


@pytest.mark.parametrize("flip", [10, 20, 28, 42])
def test_a_damaged_directory_does_not_hide_members(flip: int) -> None:
    members = [RawZipMember(f"{n}.wav".encode(), os.urandom(1000), STORED) for n in range(3)]
    data = bytearray(raw_zip(members))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)
    data[second + flip] ^= 0x41

    read, _ = read_until_it_fails(bytes(data))

    expected = [(f"{n}.wav", member.data) for n, member in enumerate(members)]
    assert [each for each in read if each in expected] == expected


def test_overlapping_members_are_read_once_each() -> None:
    data = raw_zip([RawZipMember(b"a.wav", NOISE, STORED), RawZipMember(b"b.wav", NOISE, STORED)])
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)

    read, error = read_until_it_fails(data[: second + 42] + bytes(4) + data[second + 46 :])

    assert read == [("a.wav", NOISE), ("b.wav", NOISE)]
    assert "overlap" in str(error)


@dataclass(frozen=True)
class SparseSource(MemorySource):
    """A file of which only some parts are other than zeros."""

    length: int
    parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.length

    def read_range(self, start: int, length: int) -> bytes:
        data = bytearray(length)
        for position, part in self.parts.items():
            first, last = max(position, start), min(position + len(part), start + length)
            if first < last:
                data[first - start : last - start] = part[first - position : last - position]
        return bytes(data)


def test_a_zip_of_more_than_four_gibibytes_without_zip64_is_read() -> None:
    """As Finder writes it: sizes and offsets are cut off at 32 bits."""
    length = 5 * GIB + 1000
    first, second = RawZipMember(b"first.wav", SPEECH), RawZipMember(b"second.wav", NOISE)
    large = RawZipMember(
        b"large.wav", b"", STORED, size=length - 4 * GIB, packed_size=length - 4 * GIB
    )
    small = raw_zip([first, large, second])
    start, directory = small.index(b"PK\3\4", len(raw_local(first)) + 4), small.index(b"PK\1\2")
    entry = bytearray(small[directory:])
    third = entry.rindex(b"PK\1\2")
    offsets = {third + 42: start + length, len(entry) - 6: directory + length}
    for place, offset in offsets.items():
        entry[place : place + 4] = (offset % (4 * GIB)).to_bytes(4, "little")
    parts = {0: small[:start], start + length: small[start:directory] + bytes(entry)}
    reader = read_archive(SparseSource(b"", len(small) + length, parts), ArchiveLimits())

    read = [(m.path, m.content.read()) for m in reader if m.path != "large.wav"]

    assert read == [("first.wav", SPEECH), ("second.wav", NOISE)]
    assert [note.code for note in reader.notes] == [NoteCode.ARCHIVE]


def split_zip() -> tuple[bytes, bytes]:
    """Split a zip, as `zip -s` does, within its second member: the marker, then the parts."""
    members = [RawZipMember(b"a.wav", SPEECH), RawZipMember(b"b.wav", NOISE)]
    whole = raw_zip(members)
    end = whole.rindex(b"PK\x05\x06")
    first, last = b"PK\x07\x08" + whole[:3000], bytearray(whole[3000:])
    struct.pack_into("<2H", last, end - 3000 + 4, 1, 1)
    struct.pack_into("<I", last, end - 3000 + 16, whole.index(b"PK\x01\x02") - 3000)
    return first, bytes(last)


def test_a_split_zip_is_read_if_its_parts_are_joined() -> None:
    reader = reader_of(b"".join(split_zip()))

    assert [(m.path, m.content.read()) for m in reader] == [("a.wav", SPEECH), ("b.wav", NOISE)]
    (note,) = reader.notes
    assert note.text == "the zip is joined from 2 parts: read by its members' own headers"
    assert not note.is_loss


@pytest.mark.parametrize(
    ("part", "words", "read"),
    [(0, "the first part of a split zip", 2), (1, "the last of 2 parts of a split zip", 0)],
)
def test_a_part_of_a_split_zip_is_named(part: int, words: str, read: int) -> None:
    with pytest.raises(BadArchiveError, match=f"{words}.*; members read: {read}"):
        for _ in reader_of(split_zip()[part]):
            pass


@pytest.mark.parametrize("length", [100, 512, 10_240])
def test_a_zip_behind_zeros_is_read(length: int) -> None:
    reader = reader_of(bytes(length) + zip_of())

    assert [(m.path, m.content.read()) for m in reader] == list(RECORDINGS.items())
    (note,) = reader.notes
    assert note.text == f"the zip begins behind {length} other bytes: zeros"


def test_a_directory_that_is_shorter_than_its_end_record_says_is_damage() -> None:
    data = raw_zip([RawZipMember(b"a.wav", SPEECH), RawZipMember(b"b.wav", NOISE)])
    last, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    lost = data[:last] + data[end:]

    reader = reader_of(lost)
    assert [next(reader).path, next(reader).path] == ["a.wav", "b.wav"]
    with pytest.raises(BadArchiveError, match="directory"):
        next(reader)
