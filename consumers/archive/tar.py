"""The members of a tar archive, read as a stream."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from consumers.archive.decompress import decompressed
from consumers.archive.formats import (
    HEAD_BYTES,
    ArchiveFormat,
    described,
    not_an_archive,
    require_tar,
    stream_format,
)
from consumers.archive.members import (
    Allowance,
    ArchiveLimitError,
    ArchiveLimits,
    ArchiveSource,
    Member,
    content_file,
    in_units,
    size_refusal,
)
from consumers.archive.names import path_notes, path_refusal, shown_path
from consumers.archive.streams import PieceReader, SourceStream, StoredReader
from consumers.archive.tar_headers import TarHeader, TarHeaderError, read_header
from consumers.archive.tar_search import PassedBytes, find_header
from consumers.documents.note import Note, NoteCode
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
    source: ArchiveSource,
    compression: ArchiveFormat,
    allowance: Allowance,
    notes: list[Note],
    *,
    is_outermost: bool,
) -> Iterator[Member]:
    """Yield the members in order, reading the archive once and holding one piece of it.

    A block of zeros ends a tar, and another one may follow: ``cat`` joins them, and tape drives
    leave the rest of an older one behind. What follows and is no tar is noted. Many tools leave
    the block of zeros out, so the archive may also end where a header would begin; compressed
    archives still need the end mark of their compression. Behind a damaged header, reading goes
    on with the next one that is whole.

    Raises:
        BadArchiveError: the archive could not be read further, or a header is damaged; all
            members that are readable have been yielded.
    """
    with closing(source.stream()) as stream:
        stored = SourceStream(stream, source.size, allowance if is_outermost else None)
        pieces = decompressed(StoredReader(stored), compression, notes)
        archive = PieceReader(pieces, allowance)
        if compression is not ArchiveFormat.TAR:
            head = archive.read(HEAD_BYTES)
            require_tar(head, compression)
            archive.push_back(head)
        members = _TarMembers(archive, allowance, notes)
        members.skip_to_first()
        yield from members.read()


class _TarMembers:
    """Reads the members of a decompressed tar."""

    def __init__(self, archive: PieceReader, allowance: Allowance, notes: list[Note]) -> None:
        self._archive = archive
        self._allowance = allowance
        self._notes = notes
        self._failure: BadArchiveError | None = None
        self._count = 0

    def skip_to_first(self) -> None:
        """Move on to the first header if something else stands before it, and note that."""
        head = self._archive.read(HEAD_BYTES)
        self._archive.push_back(head)
        if stream_format(head) is not ArchiveFormat.TAR:
            passed = find_header(self._archive, 0)
            if passed.length:
                self._note_unread(passed, "before its first member")

    def read(self) -> Generator[Member, None, None]:
        is_done = False
        while not is_done:
            header, boundary = self._next_header()
            if header is not None:
                yield from self._member(header)
            else:
                is_done = not self._find_header(boundary)
        if self._failure is not None:
            raise self._failure

    def _next_header(self) -> tuple[TarHeader | None, int]:
        """Return a header, or where the next block begins."""
        try:
            return read_header(self._archive, self._allowance.limits.header_bytes), 0
        except TarHeaderError as exc:
            self._fail(exc)
            return None, exc.boundary
        except BadArchiveError as exc:
            raise self._fail(exc) from exc

    def _fail(self, exc: BadArchiveError) -> BadArchiveError:
        """Keep the first failure, and return it."""
        if self._failure is None:
            text = f"{exc}; members read before: {self._count}"
            is_limit = isinstance(exc, ArchiveLimitError)
            self._failure = ArchiveLimitError(text) if is_limit else BadArchiveError(text)
        return self._failure

    def _member(self, header: TarHeader) -> Iterator[Member]:
        path = shown_path(header.name)
        data = _Data(self._archive, header.size, path)
        member = _member(self._allowance.add_member(), header, path, data, self._allowance.limits)
        with closing(member.content):
            yield member
        _skip(self._archive, header.stored - data.read_bytes, path)
        self._count += 1

    def _find_header(self, boundary: int) -> bool:
        """Move on to the next header, and note what was passed over."""
        passed = find_header(self._archive, boundary)
        if passed.length and self._count == 0 and not passed.is_found and self._failure is None:
            # It begins with zeros, as an empty tar does.
            raise not_an_archive(passed.head)
        if passed.length and self._failure is None:
            place = "between its members" if passed.is_found else "behind its last member"
            self._note_unread(passed, place)
        return passed.is_found

    def _note_unread(self, passed: PassedBytes, place: str) -> None:
        text = (
            f"{passed.length} bytes of the archive {place} were not read: {described(passed.head)}"
        )
        self._notes.append(Note(NoteCode.UNREAD, text))


def _member(
    ordinal: int, header: TarHeader, path: str, data: _Data, limits: ArchiveLimits
) -> Member:
    # Before POSIX, only a trailing slash marked a directory. What has content is none.
    ends_in_slash = header.kind in _FILE_TYPES and header.name.endswith(b"/") and not header.size
    is_directory = header.kind in _DIRECTORY_TYPES or ends_in_slash
    refusal = _refusal(header, limits, is_directory=is_directory)
    has_content = refusal is None and not is_directory
    return Member(
        ordinal=ordinal,
        path=path.rstrip("/") if is_directory else path,
        size=header.size,
        refusal=refusal,
        is_directory=is_directory,
        notes=path_notes(header.name) if refusal is None else (),
        content=content_file(data, header.size) if has_content else io.BytesIO(),
    )


def _refusal(header: TarHeader, limits: ArchiveLimits, *, is_directory: bool) -> str | None:
    if header.kind in _REFUSED_TYPES:
        return _REFUSED_TYPES[header.kind]
    if not header.complete:
        return f"has headers of more than the {in_units(limits.header_bytes)} allowed"
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
