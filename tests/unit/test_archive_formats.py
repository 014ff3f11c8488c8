"""Every format is read whatever its name, and everything else is named for what it is."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import pytest

from consumers.archive import ArchiveLimits, read_archive
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    COMPRESSORS,
    EVERY_FORMAT,
    RECORDINGS,
    MemorySource,
    TarFormat,
    as_read,
    entry,
    listed,
    only_member,
    raw_entry,
    tar_of,
    tar_of_entries,
    with_checksum,
    zip_entry,
    zip_of,
    zip_of_entries,
)

Builder = Callable[[Mapping[str, bytes]], bytes]

every_format = pytest.mark.parametrize("build", EVERY_FORMAT.values(), ids=list(EVERY_FORMAT))


@every_format
def test_members_come_in_order_with_their_contents(build: Builder) -> None:
    assert as_read(build(RECORDINGS)) == list(RECORDINGS.items())


@every_format
def test_members_that_nobody_reads_are_passed_over(build: Builder) -> None:
    members = listed(build(RECORDINGS))

    assert [member.ordinal for member in members] == [0, 1, 2, 3]
    assert [member.size for member in members] == [len(data) for data in RECORDINGS.values()]
    assert all(member.refusal is None and member.notes == () for member in members)


@every_format
def test_a_content_half_read_does_not_disturb_the_next(build: Builder) -> None:
    first, *rest = RECORDINGS.items()
    members = read_archive(MemorySource(build(RECORDINGS)), ArchiveLimits())

    assert next(members).content.read(7) == first[1][:7]
    assert [(member.path, member.content.read()) for member in members] == rest


@every_format
def test_a_content_can_be_read_only_until_the_next_member(build: Builder) -> None:
    members = read_archive(MemorySource(build(RECORDINGS)), ArchiveLimits())
    first = next(members)
    next(members)

    with pytest.raises(ValueError, match="closed"):
        first.content.read()
    members.close()


@every_format
def test_an_archive_without_members_yields_nothing(build: Builder) -> None:
    assert listed(build({})) == []


@every_format
def test_more_members_than_allowed_end_the_archive(build: Builder) -> None:
    with pytest.raises(BadArchiveError, match="more than the 3 members"):
        listed(build(RECORDINGS), ArchiveLimits(members=3))


@every_format
def test_a_member_above_the_size_limit_is_refused_and_the_rest_is_read(build: Builder) -> None:
    limits = ArchiveLimits(member_bytes=2000)

    contents = [content for _, content in as_read(build(RECORDINGS), limits)]
    refusals = [member.refusal for member in listed(build(RECORDINGS), limits)]

    a, _, empty, b = RECORDINGS.values()
    assert contents == [a, b"", empty, b]
    assert refusals == [None, "is too large: 3.4 KiB, and the limit is 2.0 KiB", None, None]


@every_format
def test_more_bytes_in_total_than_allowed_end_the_archive(build: Builder) -> None:
    with pytest.raises(BadArchiveError, match=r"unpacks to .*1\.0 KiB"):
        as_read(build(RECORDINGS), ArchiveLimits(total_bytes=1024))


@pytest.mark.parametrize(
    "tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
)
def test_long_names_survive_in_every_kind_of_tar(tar_format: TarFormat) -> None:
    name = "recordings/" + "deep/" * 30 + "Zoë.wav"

    assert as_read(tar_of({name: b"sound"}, tar_format)) == [(name, b"sound")]


def test_a_tar_from_before_ustar_is_known_by_its_checksum() -> None:
    header = raw_entry(entry("old.au", size=5))[:512]
    v7 = with_checksum(header[:257] + bytes(255)) + b"sound" + bytes(507)

    assert as_read(v7 + bytes(1024)) == [("old.au", b"sound")]


def test_gnu_times_are_not_taken_for_part_of_the_name() -> None:
    header = raw_entry(entry("a.wav", size=0))[:512]
    incremental = with_checksum(header[:345] + b"14000000000\x00" + header[357:])

    assert as_read(incremental + bytes(1024)) == [("a.wav", b"")]


def test_a_tar_without_end_mark_is_complete() -> None:
    assert as_read(tar_of()[:-1024]) == list(RECORDINGS.items())


def test_global_pax_headers_are_read_over() -> None:
    comment = tarfile.TarInfo.create_pax_global_header({"comment": "commit", "path": "evil"})

    assert as_read(comment + tar_of()) == list(RECORDINGS.items())


def test_directories_are_no_refusals_and_have_no_content() -> None:
    tar = tar_of_entries([(entry("calls", tarfile.DIRTYPE), b""), (entry("old/"), b"")])
    for archive in (tar, zip_of_entries([(zip_entry("calls/"), b""), (zip_entry("old/"), b"")])):
        members = listed(archive)
        assert [(m.path, m.is_directory, m.refusal) for m in members] == [
            ("calls", True, None),
            ("old", True, None),
        ]


def test_zip64_is_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("a.wav", "w", force_zip64=True) as new:
        new.write(b"sound")

    assert as_read(file.getvalue()) == [("a.wav", b"sound")]


def test_a_zip_with_a_long_comment_is_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", b"sound")
        archive.comment = b"recorded in May " * 4000

    assert as_read(file.getvalue()) == [("a.wav", b"sound")]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "is empty"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7z archive, which is not supported: pack the"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(100), "a RAR archive"),
        (b"ID3\x04" + bytes(1000), "an MP3 recording, not an archive: pack the"),
        (b"\xff\xfb\x90\x00" + bytes(1000), "an MP3 recording"),
        (b"fLaC\x00" + bytes(1000), "a FLAC recording"),
        (b"RIFF\x24\x08\x00\x00WAVEfmt " + bytes(1000), "a WAV recording"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(1000), "an MP4 or M4A recording"),
        ("Grüße aus Köln\n".encode() * 100, "this is text"),
        (bytes(range(255, 0, -1)) * 10, "a file of an unknown kind"),
        (bytes(100), "a file of an unknown kind"),
    ],
)
def test_unknown_formats_are_named(head: bytes, words: str) -> None:
    with pytest.raises(BadArchiveError, match=words):
        listed(head)


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=list(COMPRESSORS))
@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (b"", "is empty inside"),
        (b"fLaC" + bytes(5000), "holds a FLAC recording, not a tar: pack the"),
        (b"dear all,\n" * 100, "holds text, not a tar"),
        (gzip.compress(tar_of()), "holds a gzip file, not a tar"),
        (zip_of(), "holds a zip file, not a tar"),
    ],
    ids=["nothing", "flac", "text", "gzip", "zip"],
)
def test_a_compressed_file_that_is_no_tar_is_named(
    compress: Callable[[bytes], bytes], inner: bytes, words: str
) -> None:
    with pytest.raises(BadArchiveError, match=words):
        listed(compress(inner))


def test_an_archive_in_an_archive_is_a_member_like_others() -> None:
    inner = zip_of()

    assert as_read(tar_of({"inner.zip": inner})) == [("inner.zip", inner)]
    assert only_member(zip_of({"inner.zip": inner})).path == "inner.zip"
