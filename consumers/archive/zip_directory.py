"""A zip archive's central directory, opened within bounds."""

from __future__ import annotations

import struct
import zipfile
import zlib

from consumers.archive.members import ArchiveLimits, ArchiveSource, in_units
from consumers.archive.ranged_file import RangedFile
from consumers.errors import BadArchiveError

ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    ArithmeticError,
)
"""The exceptions of ``zipfile`` on bad archives, documented or not."""

_ENTRY_MAGIC = b"PK\x01\x02"
_END_MAGIC = b"PK\x05\x06"
_LOCAL_HEADER_BYTES = 30


def open_zip(file: DirectoryFile, limits: ArchiveLimits) -> zipfile.ZipFile:
    """Read the central directory and check its claims as a whole.

    Names not marked as UTF-8 are decoded as Latin-1, which keeps their bytes.

    Raises:
        BadArchiveError: there is no directory, it exceeds a limit, or members overlap.
    """
    try:
        archive = zipfile.ZipFile(file, metadata_encoding="latin-1")
    except ZIP_FAULTS as exc:
        if file.failure is not None:
            raise file.failure from exc
        raise BadArchiveError(
            f"the zip archive is cut off or damaged: its directory cannot be read ({exc})"
        ) from exc
    try:
        file.is_directory_read = True
        entries = archive.infolist()
        _check_totals(entries, file.size, limits)
        _check_beginning(entries, file)
        _check_overlaps(entries, file.size)
    except BaseException:
        archive.close()
        raise
    return archive


class DirectoryFile(RangedFile):
    """The file under ``ZipFile``, which bounds the directory.

    ``ZipFile`` reads the whole directory and makes an object of about 600 bytes per entry, so its
    size and the number of entries are checked here, while they are still bytes.
    """

    def __init__(self, source: ArchiveSource, limits: ArchiveLimits) -> None:
        super().__init__(source)
        self.size = source.size
        self.is_directory_read = False
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as ``RangedFile`` does.

        Raises:
            BadArchiveError: the directory is too large or has too many entries.
        """
        limits = self._limits
        if not self.is_directory_read and size is not None and size > limits.directory_bytes:
            raise BadArchiveError(
                f"the zip archive's directory takes {in_units(size)}; "
                f"at most {in_units(limits.directory_bytes)} are allowed"
            )
        data = super().read(size)
        if not self.is_directory_read and data.count(_ENTRY_MAGIC) > limits.members:
            raise _too_many(limits)
        return data


def _check_totals(entries: list[zipfile.ZipInfo], size: int, limits: ArchiveLimits) -> None:
    if len(entries) > limits.members:
        raise _too_many(limits)
    # zipfile reads no more of a member than its declared size.
    total = sum(entry.file_size for entry in entries)
    if total > limits.total_bytes:
        raise BadArchiveError(
            f"the archive unpacks to {in_units(total)}; "
            f"at most {in_units(limits.total_bytes)} are allowed"
        )
    if total > max(limits.ratio_floor, limits.ratio * size):
        raise BadArchiveError(
            f"the archive unpacks to more than {limits.ratio} times its size, "
            "which suggests a decompression bomb"
        )


def _check_beginning(entries: list[zipfile.ZipInfo], file: DirectoryFile) -> None:
    """Refuse the directory of another zip.

    When the end is cut off, ``zipfile`` finds the directory of a zip stored inside.
    """
    if entries:
        is_own = min(entry.header_offset for entry in entries) == 0
    else:
        file.seek(0)
        is_own = file.read(len(_END_MAGIC)) == _END_MAGIC
    if not is_own:
        raise BadArchiveError(
            "the zip archive is cut off or damaged: its directory is not where the archive says"
        )


def _check_overlaps(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse archives whose members share bytes: a small file could claim petabytes.

    ``zipfile`` itself checks this only since Python 3.11.8, 3.12.2 and 3.13.
    """
    free_from = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < free_from:
            raise BadArchiveError(
                "members of the zip archive overlap, which suggests a decompression bomb"
            )
        free_from = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size
    if free_from > size:
        raise BadArchiveError("the zip archive is damaged: a member lies beyond its end")


def _too_many(limits: ArchiveLimits) -> BadArchiveError:
    return BadArchiveError(f"the archive has more than the {limits.members} members allowed")
