"""Archives within archives, and files that are no archives."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

import pytest

from consumers.archive import (
    ArchiveLimits,
    ArchiveReader,
    Member,
    MemberError,
    NotAnArchiveError,
    read_archive,
)
from consumers.archive.members import KIB, MIB
from consumers.documents.note import NoteCode
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    COMPRESSORS,
    EVERY_FORMAT,
    RECORDINGS,
    MemorySource,
    listed,
    tar_of,
    zip_of,
)

Builder = Callable[[Mapping[str, bytes]], bytes]
every_format = pytest.mark.parametrize("build", EVERY_FORMAT.values(), ids=list(EVERY_FORMAT))
PATHS = list(RECORDINGS)


@dataclass
class ReadArchive:
    """What was read of an archive and those within it, as the consumer reads them."""

    members: list[Member]
    contents: dict[str, bytes]
    refused: dict[str, str]
    reader: ArchiveReader

    @property
    def paths(self) -> list[str]:
        return [member.path for member in self.members]

    @property
    def notes(self) -> list[str]:
        return [note.text for note in self.reader.notes]


def read_with_inner(data: bytes, limits: ArchiveLimits | None = None) -> ReadArchive:
    read = ReadArchive([], {}, {}, read_archive(MemorySource(data), limits or ArchiveLimits()))
    with closing(read.reader):
        for member in read.reader:
            read.members.append(member)
            with ExitStack() as stack:
                file = stack.enter_context(spooled(member))
                read.contents[member.path] = file.read()
                if member.refusal is None and not member.is_directory:
                    try:
                        read.reader.enter(member, file).push(stack.pop_all())
                    except NotAnArchiveError:
                        pass
                    except BadArchiveError as exc:
                        read.refused[member.path] = str(exc)
    return read


@contextmanager
def spooled(member: Member) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        with suppress(MemberError, BadArchiveError):
            while piece := member.content.read(1000):
                file.write(piece)
        file.flush()
        file.seek(0)
        yield cast("BinaryIO", file)


@every_format
@pytest.mark.parametrize("outer", [tar_of, zip_of], ids=["in a tar", "in a zip"])
def test_an_archive_within_an_archive_is_read(build: Builder, outer: Builder) -> None:
    read = read_with_inner(
        outer({"first.wav": b"first", "inner": build(RECORDINGS), "last.wav": b"last"})
    )

    assert read.paths == ["first.wav", "inner", *(f"inner/{path}" for path in PATHS), "last.wav"]
    assert [member.ordinal for member in read.members] == list(range(7))
    assert [member.depth for member in read.members] == [0, 0, 1, 1, 1, 1, 0]
    assert read.contents["last.wav"] == b"last"
    for path, content in RECORDINGS.items():
        assert read.contents[f"inner/{path}"] == content


def test_the_same_archive_gives_the_same_ordinals() -> None:
    data = tar_of({"a.zip": zip_of(), "b.tar": tar_of(), "c.wav": b"c"})

    first, second = (
        [(member.ordinal, member.path) for member in read_with_inner(data).members]
        for _ in range(2)
    )

    assert first == second
    assert len(first) == 11


@every_format
def test_deeper_archives_are_refused(build: Builder) -> None:
    read = read_with_inner(tar_of({"a.zip": zip_of({"b": build(RECORDINGS), "c.wav": b"c"})}))

    assert read.paths == ["a.zip", "a.zip/b", "a.zip/c.wav"]
    assert list(read.refused) == ["a.zip/b"]
    assert "an archive within an archive" in read.refused["a.zip/b"]


def test_an_archive_of_another_kind_is_refused_by_its_name() -> None:
    read = read_with_inner(tar_of({"a.7z": b"7z\xbc\xaf\x27\x1c" + bytes(100), "b.wav": b"b"}))

    assert read.paths == ["a.7z", "b.wav"]
    assert "this is a 7z archive, which is not supported" in read.refused["a.7z"]


def test_a_damaged_archive_within_an_archive_is_noted_and_the_rest_is_read() -> None:
    inner = tar_of(RECORDINGS)[:2500]
    read = read_with_inner(tar_of({"inner.tar": inner, "last.wav": b"last"}))

    assert read.paths == ["inner.tar", "inner.tar/a.wav", "last.wav"]
    assert [note.code for note in read.reader.notes] == [NoteCode.UNREAD]
    assert read.notes[0].startswith("inner.tar: the archive is cut off")


def test_an_archive_without_a_readable_member_is_refused() -> None:
    read = read_with_inner(tar_of({"inner.tar.gz": gzip.compress(tar_of())[:30], "b.wav": b"b"}))

    assert read.paths == ["inner.tar.gz", "b.wav"]
    assert "cut off" in read.refused["inner.tar.gz"]


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=list(COMPRESSORS))
def test_a_compressed_recording_is_a_member_of_its_own(
    compress: Callable[[bytes], bytes],
) -> None:
    speech = b"fLaC" + b"speech" * 1000
    read = read_with_inner(tar_of({"call.flac.gz": compress(speech), "b.wav": b"b"}))

    assert read.paths == ["call.flac.gz", "call.flac.gz/call.flac", "b.wav"]
    assert read.contents["call.flac.gz/call.flac"] == speech


def test_members_are_counted_together() -> None:
    data = tar_of({"a.zip": zip_of(), "b.tar": tar_of()})

    with pytest.raises(BadArchiveError, match="more than the 8 members"):
        read_with_inner(data, ArchiveLimits(members=8))


def test_a_zip_of_more_members_than_are_left_is_refused_as_a_whole() -> None:
    read = read_with_inner(tar_of({"a.zip": zip_of(), "b.wav": b"b"}), ArchiveLimits(members=4))

    assert read.paths == ["a.zip", "b.wav"]
    assert "more than the 4 members" in read.refused["a.zip"]


def test_bytes_are_counted_together() -> None:
    data = tar_of({f"{n}.zip": zip_of({"silence.wav": bytes(MIB)}) for n in range(8)})
    limits = ArchiveLimits(total_bytes=4 * MIB)

    with pytest.raises(BadArchiveError, match=r"more than the 4\.0 MiB"):
        read_with_inner(data, limits)


def test_a_bomb_of_bombs_stops_at_the_ratio_to_the_outermost() -> None:
    """Each level stays below the ratio by itself."""
    inner = gzip.compress(tar_of({"silence.wav": bytes(8 * MIB)}))
    data = gzip.compress(tar_of({f"{n}.tar.gz": inner for n in range(8)}))
    limits = ArchiveLimits(ratio=1100, ratio_floor=KIB)

    with pytest.raises(BadArchiveError, match="more than 1100 times its size"):
        read_with_inner(data, limits)


def test_parts_of_a_document_are_told() -> None:
    document = {"[Content_Types].xml": b"<xml/>", "ppt/media/media1.m4a": b"sound"}
    deeper = zip_of({"slides.pptx": zip_of(document)})
    read = read_with_inner(tar_of({"deeper.zip": deeper, "a.wav": b"a"}))

    assert read.paths[-2:] == ["deeper.zip/slides.pptx/ppt/media/media1.m4a", "a.wav"]
    assert [member.is_part for member in read.members] == [False, False, True, True, False]


def test_leaving_early_closes_what_was_entered() -> None:
    reader = read_archive(MemorySource(tar_of({"a.zip": zip_of()})), ArchiveLimits())
    member = next(reader)
    closed: list[bool] = []
    with spooled(member) as file:
        reader.enter(member, file).callback(closed.append, True)
        next(reader)
        reader.close()

    assert closed == [True]


LONE = [b"fLaC" + bytes(5000), b"\xff\xfb\x90\x00" + bytes(1000), b"?" * 3000 + b"\x00\xff"]


@pytest.mark.parametrize("data", LONE)
@pytest.mark.parametrize("compress", [bytes, *COMPRESSORS.values()], ids=["plain", *COMPRESSORS])
def test_a_lone_file_is_its_only_member(data: bytes, compress: Callable[[bytes], bytes]) -> None:
    reader = read_archive(MemorySource(compress(data)), ArchiveLimits())

    with pytest.raises(NotAnArchiveError):
        next(reader)
    member = reader.lone_member("calls/one.flac" if compress is bytes else "calls/one.flac.gz")

    with closing(member.content):
        assert (member.ordinal, member.path) == (0, "one.flac")
        assert member.content.read() == data


def test_a_lone_file_above_the_size_limit_is_refused() -> None:
    limits = ArchiveLimits(member_bytes=100)
    reader = read_archive(MemorySource(LONE[0]), limits)

    assert "is too large" in str(reader.lone_member("a.flac").refusal)
    with (
        closing(
            read_archive(MemorySource(gzip.compress(LONE[0])), limits).lone_member("a.gz").content
        ) as content,
        pytest.raises(MemberError, match="limit"),
    ):
        content.read()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(32768) + b"\x01CD001\x01" + bytes(4000), "an ISO image"),
        (os.urandom(512) + bytes(32256) + b"\x01CD001\x01" + bytes(4000), "an ISO image"),
        (b"070707" + bytes(100), "a cpio archive"),
        (b"\xc7\x71" + bytes(100), "a cpio archive"),
        (b"!<arch>\n" + bytes(100), "an ar archive"),
        (b"\x00\x00-lh5-" + bytes(100), "an LHA archive"),
    ],
)
def test_what_is_not_read_is_named(data: bytes, words: str) -> None:
    with pytest.raises(BadArchiveError, match=words) as caught:
        listed(data)

    assert not isinstance(caught.value, NotAnArchiveError)


@pytest.mark.parametrize("data", [bytes(20_000), bytes(20_000) + LONE[1]])
def test_a_recording_that_begins_with_zeros_is_no_tar(data: bytes) -> None:
    read = read_with_inner(tar_of({"zeros.mp3": data, "b.wav": b"b"}))

    assert (read.paths, read.refused) == (["zeros.mp3", "b.wav"], {})


def test_a_lone_recording_that_begins_with_zeros_is_no_tar() -> None:
    with pytest.raises(NotAnArchiveError, match="an MP3 recording"):
        listed(bytes(20_000) + LONE[1])


def test_an_image_that_mentions_zips_is_no_archive() -> None:
    image = b"\xff\xd8\xff" + b"PK\x05\x06" * 100 + bytes(1000)
    read = read_with_inner(tar_of({"a.jpg": image, "b.wav": b"b"}))

    assert (read.paths, read.refused) == (["a.jpg", "b.wav"], {})
