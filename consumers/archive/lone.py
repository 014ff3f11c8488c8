"""A file that is no archive, or a compressed one: a member of its own."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from consumers.archive.decompress import decompressed
from consumers.archive.formats import HEAD_BYTES, ArchiveFormat, stream_format
from consumers.archive.members import (
    KIB,
    Allowance,
    ArchiveSource,
    HarmfulMemberError,
    Member,
    content_file,
    size_refusal,
)
from consumers.archive.names import shown_path
from consumers.archive.ranged_file import read_range
from consumers.archive.streams import PieceReader, SourceStream, StoredReader
from consumers.documents.note import Note

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 64 * KIB
_SUFFIXES = frozenset({".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd"})


def lone_member(
    source: ArchiveSource,
    name: str,
    allowance: Allowance,
    notes: list[Note],
    *,
    is_outermost: bool,
) -> Member:
    """Return the file as a member, decompressed if it is compressed.

    Its content must be closed.

    Raises:
        ArchiveLimitError: There are too many members.
    """
    found = stream_format(read_range(source, 0, min(source.size, HEAD_BYTES)))
    is_compressed = found is not None and found is not ArchiveFormat.TAR
    path = PurePosixPath(name)
    if is_compressed and path.suffix.lower() in _SUFFIXES:
        path = path.with_suffix("")
    size = 0 if is_compressed else source.size
    refusal = size_refusal(size, allowance.limits)
    shown = shown_path(path.name.encode(errors="replace")) or "recording"
    content: io.BufferedIOBase = io.BytesIO()
    if refusal is None:
        compression = found if found is not None and is_compressed else ArchiveFormat.TAR
        raw = _LoneContent(source, compression, allowance, notes, is_outermost=is_outermost)
        content = content_file(raw, size or _BUFFER_BYTES)
    return Member(
        ordinal=allowance.add_member(),
        path=shown,
        size=size,
        refusal=refusal,
        is_directory=False,
        notes=(),
        content=content,
    )


class _LoneContent(io.RawIOBase):
    """A file's content, decompressed within bounds."""

    def __init__(
        self,
        source: ArchiveSource,
        compression: ArchiveFormat,
        allowance: Allowance,
        notes: list[Note],
        *,
        is_outermost: bool,
    ) -> None:
        super().__init__()
        self._opened = ExitStack()
        stream = self._opened.enter_context(source.stream())
        stored = SourceStream(stream, source.size, allowance if is_outermost else None)
        self._pieces = PieceReader(
            decompressed(StoredReader(stored), compression, notes), allowance
        )
        self._left = allowance.limits.member_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        piece = self._pieces.take(len(view))
        self._left -= len(piece)
        if self._left < 0:
            raise HarmfulMemberError("the recording unpacks to more than the limit of one member")
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._opened.close()
        super().close()
