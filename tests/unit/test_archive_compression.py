"""Compressed tars: several streams in one file, ends that are missing, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable

import pytest
import zstandard

from consumers.archive import ArchiveLimits, ArchiveReader, read_archive
from consumers.archive.members import GIB, MIB
from consumers.errors import BadArchiveError
from tests.harness.samples.archives import (
    COMPRESSORS,
    RECORDINGS,
    MemorySource,
    as_read,
    entry,
    listed,
    peak_memory,
    raw_entry,
    tar_of,
    zstd,
)

Compress = Callable[[bytes], bytes]


def reader_of(data: bytes) -> ArchiveReader:
    return read_archive(MemorySource(data), ArchiveLimits())


every_compression = pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=list(COMPRESSORS))
NOISE = {f"{number}.wav": os.urandom(200_000) for number in range(5)}
ALL_READ = list(NOISE.items())


@every_compression
@pytest.mark.parametrize("piece_bytes", [513, 100_000])
def test_streams_one_after_another_are_one_archive(compress: Compress, piece_bytes: int) -> None:
    tar = tar_of() if piece_bytes == 513 else tar_of(NOISE)
    pieces = [tar[start : start + piece_bytes] for start in range(0, len(tar), piece_bytes)]

    read = as_read(b"".join(compress(piece) for piece in pieces))

    assert read == (list(RECORDINGS.items()) if piece_bytes == 513 else ALL_READ)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_zeros_around_streams_are_padding(compress: Compress) -> None:
    tar = tar_of()
    padded = compress(tar[:3000]) + bytes(4096) + compress(tar[3000:]) + bytes(4096)

    assert as_read(padded) == list(RECORDINGS.items())


@every_compression
def test_an_archive_of_many_pieces_is_read(compress: Compress) -> None:
    assert as_read(compress(tar_of(NOISE))) == ALL_READ


@pytest.mark.parametrize("level", [-5, 1, 19])
@pytest.mark.parametrize("with_sizes", [True, False])
def test_every_zstd_frame_layout_is_read(level: int, with_sizes: bool) -> None:
    compressor = zstandard.ZstdCompressor(
        level=level, write_content_size=with_sizes, write_checksum=with_sizes
    )
    mixed = {**NOISE, "silence.wav": bytes(500_000), "speech.wav": b"hello world" * 40_000}

    assert as_read(compressor.compress(tar_of(mixed))) == list(mixed.items())


def test_a_zstd_stream_written_and_flushed_piece_by_piece_is_read() -> None:
    file = io.BytesIO()
    tar = tar_of(NOISE)
    with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as writer:
        for start in range(0, len(tar), 50_001):
            writer.write(tar[start : start + 50_001])
            writer.flush(zstandard.FLUSH_BLOCK)

    assert as_read(file.getvalue()) == ALL_READ


def test_zstd_skippable_frames_are_passed_over() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + bytes(300_000)
    tar = tar_of()

    read = as_read(skippable + zstd(tar[:2000]) + skippable + zstd(tar[2000:]) + skippable)

    assert read == list(RECORDINGS.items())


@every_compression
@pytest.mark.parametrize("missing", [1, 4, 9, 500])
def test_a_stream_without_its_end_is_truncated(compress: Compress, missing: int) -> None:
    # What is missing lies behind the tar's own end.
    cut = compress(tar_of()) + compress(os.urandom(20_000))[:-missing]
    members = read_archive(MemorySource(cut), ArchiveLimits())

    assert [next(members).path for _ in RECORDINGS] == list(RECORDINGS)
    with pytest.raises(BadArchiveError, match="cut off"):
        next(members)


@every_compression
def test_a_stream_cut_in_a_member_says_so_to_both_who_read(compress: Compress) -> None:
    whole = compress(tar_of(NOISE))
    members = read_archive(MemorySource(whole[: len(whole) * 58 // 100]), ArchiveLimits())
    where = r"in the middle of the member '2\.wav'"
    next(members)
    next(members)
    content = next(members).content

    with pytest.raises(BadArchiveError, match=where):
        content.read()
    with pytest.raises(BadArchiveError, match=where):
        next(members)


@every_compression
def test_a_damaged_stream_is_reported_as_damage(compress: Compress) -> None:
    whole = bytearray(compress(tar_of(NOISE)))
    whole[-5 if compress is gzip.compress else len(whole) // 2] ^= 0x55

    with pytest.raises(BadArchiveError, match="damaged"):
        as_read(bytes(whole))


@pytest.mark.parametrize("where", [-5, -1], ids=["the checksum", "the length"])
def test_members_before_the_damaged_end_of_a_small_gzip_archive_are_read(where: int) -> None:
    whole = bytearray(gzip.compress(tar_of(), 6))
    whole[where] ^= 0x55
    members = reader_of(bytes(whole))

    assert [next(members).content.read() for _ in RECORDINGS] == list(RECORDINGS.values())
    with pytest.raises(BadArchiveError, match="damaged"):
        next(members)


@every_compression
def test_data_after_a_stream_that_is_no_stream_is_noted(compress: Compress) -> None:
    reader = reader_of(compress(tar_of()) + b"no stream at all, but long enough to be one")

    assert [member.path for member in reader] == list(RECORDINGS)
    (note,) = reader.notes
    assert note.is_loss
    assert "43 bytes behind the archive's" in note.text
    assert note.text.endswith("were not read: text")


@every_compression
@pytest.mark.parametrize("padding", [b"\r\n", bytes(9), b"\x00\r\n\x1a"])
def test_padding_behind_a_stream_means_nothing(compress: Compress, padding: bytes) -> None:
    reader = reader_of(compress(tar_of()) + padding)

    assert [member.path for member in reader] == list(RECORDINGS)
    assert reader.notes == []


@every_compression
@pytest.mark.parametrize("other", COMPRESSORS.values(), ids=list(COMPRESSORS))
def test_joined_archives_of_any_compression_are_read_on(
    compress: Compress, other: Compress
) -> None:
    second = {"second.wav": b"second" * 999}
    reader = reader_of(compress(tar_of()) + b"\r\n" + other(tar_of(second)))

    read = [(member.path, member.content.read()) for member in reader]

    assert read == [*RECORDINGS.items(), *second.items()]
    assert reader.notes == []


@every_compression
def test_a_plain_tar_behind_a_compressed_one_is_read_on(compress: Compress) -> None:
    assert as_read(compress(tar_of()) + tar_of({"b.wav": b"b"})) == [
        *RECORDINGS.items(),
        ("b.wav", b"b"),
    ]


@every_compression
def test_a_decompression_bomb_stops_at_the_ratio_in_flat_memory(
    compress: Compress,
) -> None:
    bomb = compress(raw_entry(entry("bomb.wav", size=GIB))[:512] + bytes(64 * MIB))
    limits = ArchiveLimits(ratio=50, ratio_floor=40 * MIB)

    with peak_memory() as peak, pytest.raises(BadArchiveError, match="more than 50 times"):
        listed(bomb, limits)

    assert peak.value < 4 * MIB


@every_compression
def test_a_bomb_behind_the_end_of_the_tar_is_stopped_too(compress: Compress) -> None:
    bomb = compress(tar_of() + bytes(64 * MIB))
    limits = ArchiveLimits(total_bytes=10 * MIB)

    with peak_memory() as peak, pytest.raises(BadArchiveError, match=r"more than the 10\.0 MiB"):
        listed(bomb, limits)

    assert peak.value < 4 * MIB


def test_a_zstd_bomb_of_four_bytes_a_block_unpacks_block_by_block() -> None:
    """2 GiB from 64 KiB: each run-length block of 4 bytes stands for 128 KiB of zeros."""
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x38"  # no size, a window of 128 KiB
    tar_header = raw_entry(entry("bomb.wav", size=4 * GIB))[:512]
    raw_block = (len(tar_header) << 3).to_bytes(3, "little") + tar_header
    run_block = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\x00"
    bomb = header + raw_block + run_block * 16_384

    with peak_memory() as peak, pytest.raises(BadArchiveError, match="more than 250 times"):
        listed(bomb)

    assert peak.value < 4 * MIB


def test_a_zstd_window_of_gigabytes_is_not_given() -> None:
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xa8"  # a window of 2 GiB
    with pytest.raises(BadArchiveError, match=r"zstd data is damaged .*memory"):
        listed(header + b"\x01\x00\x00")


def test_an_xz_dictionary_of_gigabytes_is_not_given() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    whole = bytearray(lzma.compress(tar_of(), filters=filters))
    # Block header (xz format, 3.1): size, flags, filter id, size of properties, dictionary, CRC32.
    assert whole[14:16] == b"\x21\x01"
    whole[16] = 37  # 1.5 GiB
    whole[20:24] = zlib.crc32(whole[12:20]).to_bytes(4, "little")

    with pytest.raises(BadArchiveError, match="Memory usage limit"):
        listed(bytes(whole))


def test_bytes_of_a_compressed_archive_are_read_as_they_are_needed() -> None:
    whole = gzip.compress(tar_of({f"{n}.wav": os.urandom(MIB) for n in range(8)}))
    source = CountingSource(whole)
    members = read_archive(source, ArchiveLimits())

    next(members)

    assert source.file.tell() < 2 * MIB
    members.close()
    assert source.file.closed


class CountingSource(MemorySource):
    """Keeps the stream that it gave out."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        object.__setattr__(self, "file", io.BytesIO(data))

    file: io.BytesIO

    def stream(self) -> io.BytesIO:
        return self.file


def test_a_tar_of_one_type_of_data_survives_every_piece_size() -> None:
    members = {f"{size}.wav": b"s" * size for size in (511, 512, 513, 262_143, 262_144, 262_145)}

    for compress in COMPRESSORS.values():
        assert as_read(compress(tar_of(members, tarfile.GNU_FORMAT))) == list(members.items())
