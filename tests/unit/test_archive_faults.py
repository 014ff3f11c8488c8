"""Whatever the bytes are, only the archive's own errors come out, and the store's untouched."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumers.archive import ArchiveLimits, MemberError, read_archive
from consumers.errors import BadArchiveError, TransientError
from tests.harness.samples.archives import (
    EVERY_FORMAT,
    RECORDINGS,
    MemorySource,
    entry,
    raw_entry,
    tar_of,
    zip_of,
)

LIMITS = ArchiveLimits(
    members=1000, member_bytes=1 << 24, total_bytes=1 << 26, directory_bytes=1 << 22
)
MEMBERS = {**RECORDINGS, "noise.wav": os.urandom(3000)}
ARCHIVES = {name: build(MEMBERS) for name, build in EVERY_FORMAT.items()}
every_format = pytest.mark.parametrize("name", ARCHIVES)


def read_as_far_as_it_goes(data: bytes) -> tuple[list[tuple[str, bytes | None]], Exception | None]:
    """Read all members; a content that broke off is ``None``."""
    read: list[tuple[str, bytes | None]] = []
    try:
        for member in read_archive(MemorySource(data), LIMITS):
            try:
                content = member.content.read()
            except (BadArchiveError, MemberError):
                read.append((member.path, None))
            else:
                read.append((member.path, content))
    except BadArchiveError as exc:
        return read, exc
    return read, None


@every_format
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_cut_archive_gives_its_first_members_and_says_that_it_is_cut(
    name: str, data: st.DataObject
) -> None:
    archive = ARCHIVES[name]
    length = data.draw(st.integers(0, len(archive) - 1))

    read, error = read_as_far_as_it_goes(archive[:length])

    whole = [(path, content) for path, content in read if content is not None]
    assert whole == list(MEMBERS.items())[: len(whole)]
    assert len(read) - len(whole) <= 1
    # A tar may end wherever a header would begin, and needs no more than its first end mark.
    may_end_here = name == "tar" and (length % 512 == 0 or len(whole) == len(MEMBERS))
    assert error is not None or (may_end_here and len(read) == len(whole))


@every_format
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_changed_archive_raises_nothing_unexpected(name: str, data: st.DataObject) -> None:
    archive = bytearray(ARCHIVES[name])
    # Headers are where it hurts: tar's at the beginning, zip's directory at the end.
    where = st.one_of(
        st.integers(0, len(archive) - 1),
        st.integers(0, 511),
        st.integers(max(0, len(archive) - 400), len(archive) - 1),
    )
    for position, value in data.draw(st.lists(st.tuples(where, st.integers(0, 255)), max_size=8)):
        archive[position] = value

    read_as_far_as_it_goes(bytes(archive))


@given(st.binary(max_size=2000))
@example(b"PK\x03\x04" + bytes(100))
@example(b"PK\x05\x06" + bytes(18))
@example(b"PK\x05\x06" + b"\xff" * 18)
def test_random_bytes_are_no_archive(data: bytes) -> None:
    read, error = read_as_far_as_it_goes(data)

    assert error is not None or read == []


@given(
    magic=st.sampled_from(
        [
            b"\x1f\x8b\x08",
            b"BZh9",
            b"\xfd7zXZ\x00",
            b"\x28\xb5\x2f\xfd",
            b"\x50\x2a\x4d\x18",
            b"PK\3\4",
        ]
    ),
    data=st.binary(max_size=300),
)
def test_random_bytes_behind_a_magic_are_no_archive(magic: bytes, data: bytes) -> None:
    read, error = read_as_far_as_it_goes(magic + data)

    assert (read, type(error)) == ([], BadArchiveError)


@given(
    kind=st.sampled_from([bytes([kind]) for kind in b"0\0xgLKXS157MVDZ"]),
    size=st.integers(-2, 5000),
    payload=st.binary(max_size=3000),
)
@settings(deadline=None)
def test_tar_headers_with_random_payloads_raise_nothing_unexpected(
    kind: bytes, size: int, payload: bytes
) -> None:
    read_as_far_as_it_goes(raw_entry(entry("x", kind, size=size), payload) + tar_of())


@dataclass(frozen=True)
class FailingSource(MemorySource):
    """Fails once this many bytes have been given."""

    after: int
    error: Exception

    def stream(self) -> BinaryIO:
        return FailingStream(self.data, self.after, self.error)

    def read_range(self, start: int, length: int) -> bytes:
        # The directory at the end is read before the members.
        if self.after < start + length < self.size - 1000 or self.after == 0:
            raise self.error
        return super().read_range(start, length)


class FailingStream(io.BytesIO):
    def __init__(self, data: bytes, after: int, error: Exception) -> None:
        super().__init__(data)
        self._after = after
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._after:
            raise self._error
        return super().read(1000)


LARGE = {f"{number}.wav": os.urandom(300_000) for number in range(10)}


def read_everything(source: MemorySource) -> None:
    for member in read_archive(source, LIMITS):
        member.content.read()


@every_format
@pytest.mark.parametrize("after", [0, 1500, 1_000_000])
@pytest.mark.parametrize("error", [TransientError("connection lost"), OSError("timed out")])
def test_errors_of_the_source_pass_unchanged(name: str, after: int, error: Exception) -> None:
    source = FailingSource(EVERY_FORMAT[name](LARGE), after, error)

    with pytest.raises(type(error)) as caught:
        read_everything(source)

    assert caught.value is error


@pytest.mark.parametrize("error", [TransientError("connection lost"), OSError("timed out")])
def test_failing_to_fetch_a_zip_directory_does_not_condemn_the_archive(error: Exception) -> None:
    source = FarEndFails(zip_of(LARGE), 1000, error)

    with pytest.raises(type(error)) as caught:
        read_everything(source)

    assert caught.value is error


class FarEndFails(FailingSource):
    """Fails wherever a range lies behind its first bytes."""

    def read_range(self, start: int, length: int) -> bytes:
        if start > self.after:
            raise self.error
        return self.data[start : start + length]


@pytest.mark.parametrize("name", [name for name in EVERY_FORMAT if name != "zip"])
def test_a_connection_lost_in_a_member_is_still_lost_at_the_next(name: str) -> None:
    error = TransientError("connection lost")
    source = FailingSource(EVERY_FORMAT[name](LARGE), 200_000, error)
    members = read_archive(source, LIMITS)
    content = next(members).content

    with pytest.raises(TransientError):
        content.read()
    with pytest.raises(TransientError):
        next(members)


@dataclass(frozen=True)
class ShortSource(MemorySource):
    """Claims more bytes than arrive, as when a connection is closed half-way."""

    @property
    def size(self) -> int:
        return len(self.data) + 1000


@pytest.mark.parametrize("archive", [tar_of(), EVERY_FORMAT["tar.gz"](LARGE)[:50_000], zip_of()])
def test_fewer_bytes_than_the_store_promised_are_no_bad_archive(archive: bytes) -> None:
    cut = archive[:-1030] if archive == tar_of() else archive

    with pytest.raises(TransientError, match="the store sent"):
        read_everything(ShortSource(cut))
