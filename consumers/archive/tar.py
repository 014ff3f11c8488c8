"""The members of a tar archive, read as a stream."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from consumers.archive.decompress import decompressed
from consumers.archive.formats import HEAD_BYTES, ArchiveFormat, require_tar
from consumers.archive.members import (
    ArchiveLimits,
    ArchiveSource,
    Member,
    content_file,
    size_refusal,
)
from consumers.archive.names import path_note, path_refusal, shown_path
from consumers.archive.streams import PieceReader, SourceStream
from consumers.archive.tar_headers import TarHeader, read_header
from consumers.errors import BadArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_DIRECTORY_TYPES = (tarfile.DIRTYPE, b"D")  # D: GNU's listing of a directory
_FILE_TYPES = (tarfile.REGTYPE, tarfile.CONTTYPE)
_REFUSED_TYPES = {
    tarfile.SYMTYPE: "is a symbolic link: pack the file it points to",
    tarfile.LNKTYPE: "is a hard link to another member: pack a copy of the file",
    tarfile.CHRTYPE: "is a character device",
    tarfile.BLKTYPE: "is a block device",
    tarfile.FIFOTYPE: "is a named pipe",
    b"M": "continues a file from another volume: pack the archive in one piece",
    b"V": "is a volume label, not a file",
}


def read_tar(
    source: ArchiveSource, limits: ArchiveLimits, compression: ArchiveFormat
) -> Iterator[Member]:
    """Yield the members in order, reading the archive once and holding one piece of it.

    The archive ends at its first block of zeros, and later data is ignored, as in tar(1). Many
    tools leave that block out, so the archive may also end where a header would begin; compressed
    archives still need the end mark of their compression.

    Raises:
        BadArchiveError: the archive cannot be read further.
    """
    with closing(source.stream()) as stream:
        stored = SourceStream(stream, source.size)
        archive = PieceReader(decompressed(stored, compression), stored, limits)
        if compression is not ArchiveFormat.TAR:
            head = archive.read(HEAD_BYTES)
            require_tar(head, compression)
            archive.push_back(head)
        yield from _members(archive, limits)
        if compression is not ArchiveFormat.TAR:
            archive.skip_to_end()


def _members(archive: PieceReader, limits: ArchiveLimits) -> Iterator[Member]:
    ordinal = 0
    while (header := _next_header(archive, limits, ordinal)) is not None:
        if ordinal == limits.members:
            raise BadArchiveError(f"the archive has more than the {limits.members} members allowed")
        path = shown_path(header.name)
        data = _Data(archive, header.size, path)
        member = _member(ordinal, header, path, data, limits)
        with closing(member.content):
            yield member
        _skip(archive, header.stored - data.read_bytes, path)
        ordinal += 1


def _next_header(archive: PieceReader, limits: ArchiveLimits, ordinal: int) -> TarHeader | None:
    try:
        return read_header(archive, limits.header_bytes)
    except BadArchiveError as exc:
        raise BadArchiveError(f"{exc}; members read before: {ordinal}") from exc


def _member(
    ordinal: int, header: TarHeader, path: str, data: _Data, limits: ArchiveLimits
) -> Member:
    # Before POSIX, only a trailing slash marked a directory.
    ends_in_slash = header.kind in _FILE_TYPES and header.name.endswith(b"/")
    is_directory = header.kind in _DIRECTORY_TYPES or ends_in_slash
    refusal = _refusal(header, limits, is_directory=is_directory)
    has_content = refusal is None and not is_directory
    return Member(
        ordinal=ordinal,
        path=path.rstrip("/") if is_directory else path,
        size=header.size,
        refusal=refusal,
        is_directory=is_directory,
        note=path_note(header.name) if refusal is None else None,
        content=content_file(data, header.size) if has_content else io.BytesIO(),
    )


def _refusal(header: TarHeader, limits: ArchiveLimits, *, is_directory: bool) -> str | None:
    if header.kind in _REFUSED_TYPES:
        return _REFUSED_TYPES[header.kind]
    if header.sparse:
        return "is stored as a sparse file: pack it without tar's --sparse"
    if not is_directory and header.kind not in _FILE_TYPES:
        return f"is of an unsupported kind (tar type {shown_path(header.kind)})"
    return path_refusal(header.name) or size_refusal(header.size, limits)


def _skip(archive: PieceReader, length: int, path: str) -> None:
    with _in_the_middle_of(path):
        skipped = archive.skip(length)
    if skipped < length:
        raise _cut_off(path)


def _cut_off(path: str) -> BadArchiveError:
    return BadArchiveError(f"the archive is cut off: it ends in the middle of the member '{path}'")


@contextmanager
def _in_the_middle_of(path: str) -> Iterator[None]:
    try:
        yield
    except BadArchiveError as exc:
        raise BadArchiveError(f"{exc}; that is in the middle of the member '{path}'") from exc


class _Data(io.RawIOBase):
    """One member's content, read from the archive's stream."""

    def __init__(self, archive: PieceReader, size: int, path: str) -> None:
        super().__init__()
        self._archive = archive
        self._size = size
        self._path = path
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        wanted = min(len(view), self._size - self.read_bytes)
        if wanted == 0:
            return 0
        with _in_the_middle_of(self._path):
            piece = self._archive.take(wanted)
        if not piece:
            raise _cut_off(self._path)
        view[: len(piece)] = piece
        self.read_bytes += len(piece)
        return len(piece)
