"""Archives made in memory, and the sources that they are read from."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

import zstandard

from consumers.archive import ArchiveLimits, ArchiveSource, Member, read_archive

RECORDINGS: Mapping[str, bytes] = {
    "a.wav": b"RIFF" + bytes(range(256)) * 5,
    "calls/Zoë.mp3": b"ID3" + b"sound" * 700,
    "empty.ogg": b"",
    "calls/b.flac": b"fLaC" * 128,
}
LIMITS = ArchiveLimits()
TarFormat = Literal[0, 1, 2]


@dataclass(frozen=True)
class MemorySource:
    """An archive in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def stream(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def read_range(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]


def as_read(
    source: ArchiveSource | bytes, limits: ArchiveLimits = LIMITS
) -> list[tuple[str, bytes]]:
    """Read path and content of all members; errors pass through."""
    source = MemorySource(source) if isinstance(source, bytes) else source
    return [(member.path, member.content.read()) for member in read_archive(source, limits)]


def listed(source: ArchiveSource | bytes, limits: ArchiveLimits = LIMITS) -> list[Member]:
    """Read the members alone, passing over their contents."""
    source = MemorySource(source) if isinstance(source, bytes) else source
    return list(read_archive(source, limits))


def only_member(source: ArchiveSource | bytes, limits: ArchiveLimits = LIMITS) -> Member:
    (member,) = listed(source, limits)
    return member


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar_of(
    members: Mapping[str, bytes] = RECORDINGS, tar_format: TarFormat = tarfile.PAX_FORMAT
) -> bytes:
    return tar_of_entries(
        ((entry(name, size=len(data)), data) for name, data in members.items()), tar_format
    )


def tar_of_entries(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]], tar_format: TarFormat = tarfile.PAX_FORMAT
) -> bytes:
    return b"".join(raw_entry(*each, tar_format) for each in entries) + bytes(1024)


def raw_entry(
    info: tarfile.TarInfo, data: bytes = b"", tar_format: TarFormat = tarfile.GNU_FORMAT
) -> bytes:
    """Header and data, which need not agree."""
    header = info.tobuf(tar_format, "utf-8", "surrogateescape")
    return header + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def with_checksum(header: bytes) -> bytes:
    """Make a header that was written by hand pass for whole."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\x00 " % sum(blank) + blank[156:]


def pax_record(keyword: bytes, value: bytes) -> bytes:
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def zip_of(
    members: Mapping[str, bytes] = RECORDINGS, compression: int = zipfile.ZIP_DEFLATED
) -> bytes:
    return zip_of_entries(
        ((zip_entry(name), data) for name, data in members.items()), compression=compression
    )


def zip_of_entries(
    entries: Iterable[tuple[zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_DEFLATED
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for info, data in entries:
            archive.writestr(info, data, compress_type=compression)
    return file.getvalue()


def zip_entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix: the mode counts
    info.external_attr = mode << 16
    return info


def bzip2(data: bytes) -> bytes:
    return bz2.compress(data, 1)  # blocks of 100 KB: a truncated file starts readable


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)  # a dictionary of 256 KiB, and fast


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bzip2,
    "xz": xz,
    "zstd": zstd,
}

EVERY_FORMAT: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "tar": tar_of,
    "tar.gz": lambda members: gzip.compress(tar_of(members)),
    "tar.bz2": lambda members: bzip2(tar_of(members)),
    "tar.xz": lambda members: xz(tar_of(members)),
    "tar.zst": lambda members: zstd(tar_of(members)),
    "zip": zip_of,
}


class Peak:
    """The most memory in bytes that Python's allocator gave out."""

    value: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak above the memory in use at the beginning."""
    peak = Peak()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield peak
        peak.value = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
