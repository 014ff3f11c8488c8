"""The members of a zip archive, in the order of its directory."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING

from consumers.archive.members import (
    Allowance,
    ArchiveLimits,
    ArchiveSource,
    Member,
    MemberError,
    content_file,
    size_refusal,
)
from consumers.archive.names import path_notes, path_refusal, shown_path
from consumers.archive.zip_directory import ZIP_FAULTS, DirectoryFile, open_zip

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # APPNOTE 4.4.4: classic, strong, masked headers
_PATCHED = 0x20
_UTF_8 = 0x800
# zipfile does not bound the output or memory of the other methods.
_METHODS_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_METHOD_NAMES = {
    9: "Deflate64",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "LZMA",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
}
_REFUSED_MODES = {
    stat.S_IFLNK: "is a symbolic link: pack the file it points to",
    stat.S_IFCHR: "is a character device",
    stat.S_IFBLK: "is a block device",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
}


def read_zip(source: ArchiveSource, allowance: Allowance) -> Iterator[Member]:
    """Yield the members in the order of the central directory.

    ``zipfile`` keeps an object per member, about 600 bytes and its name (measured): 60 MB for
    100,000. For very many members tar is the better format.

    Raises:
        BadArchiveError: the archive as a whole is damaged or exceeds a limit; only before the
            first member. The fault of one member is the ``MemberError`` of its content.
    """
    limits = allowance.limits
    with DirectoryFile(source, limits) as file, open_zip(file, limits) as archive:
        for entry in archive.infolist():
            member = _member(allowance.add_member(), entry, archive, file, limits)
            with closing(member.content):
                yield member


def _member(
    ordinal: int,
    entry: zipfile.ZipInfo,
    archive: zipfile.ZipFile,
    file: DirectoryFile,
    limits: ArchiveLimits,
) -> Member:
    name = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF_8 else "latin-1")
    path = shown_path(name)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    is_directory = name.endswith(b"/") or kind == stat.S_IFDIR
    refusal = _REFUSED_MODES.get(kind) or path_refusal(name)
    if refusal is None and not is_directory:
        refusal = _content_refusal(entry, limits)
    has_content = refusal is None and not is_directory
    content = _Data(archive, entry, file, path)
    return Member(
        ordinal=ordinal,
        path=path.rstrip("/") if is_directory else path,
        size=entry.file_size,
        refusal=refusal,
        is_directory=is_directory,
        notes=path_notes(name) if refusal is None else (),
        content=content_file(content, entry.file_size) if has_content else io.BytesIO(),
    )


def _content_refusal(entry: zipfile.ZipInfo, limits: ArchiveLimits) -> str | None:
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted: pack it without a password"
    if entry.compress_type not in _METHODS_READ or entry.flag_bits & _PATCHED:
        method = _METHOD_NAMES.get(entry.compress_type, f"method {entry.compress_type}")
        return f"uses an unsupported compression ({method}): pack it with Deflate or stored"
    if entry.volume:
        return "lies in another part of a split archive: pack the archive in one piece"
    if entry.file_size > max(limits.ratio_floor, limits.ratio * entry.compress_size):
        return f"unpacks to more than {limits.ratio} times its size, as if made to do harm"
    return size_refusal(entry.file_size, limits)


class _Data(io.RawIOBase):
    """One member's content, opened at the first read, so that its faults concern it alone."""

    def __init__(
        self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: DirectoryFile, path: str
    ) -> None:
        super().__init__()
        self._archive = archive
        self._entry = entry
        self._file = file
        self._path = path
        self._data: IO[bytes] | None = None
        self._left = entry.file_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        try:
            piece = self._read(len(view))
        except ZIP_FAULTS as exc:
            if self._file.failure is not None:
                raise self._file.failure from exc
            raise MemberError(f"the member '{self._path}' is damaged ({exc})") from exc
        self._left -= len(piece)
        if not piece and self._left:
            raise MemberError(
                f"the member '{self._path}' is damaged: {self._left} bytes are missing"
            )
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if self._data is not None:
            self._data.close()
        super().close()

    def _read(self, most: int) -> bytes:
        if self._data is None:
            self._data = self._archive.open(self._entry)
        return self._data.read(most)
