"""Archive formats, recognised by their first bytes, never by name."""

from __future__ import annotations

import tarfile
from enum import Enum

from consumers.archive.members import KIB, ArchiveSource, NotAnArchiveError
from consumers.archive.ranged_file import RangedFile, read_range
from consumers.archive.zip_directory import find_end
from consumers.errors import BadArchiveError

HEAD_BYTES = 512
"""Bytes that recognition needs: one tar block."""

_ADVICE = "pack the recordings as tar or zip"


class ArchiveFormat(Enum):
    """The supported formats, under the names that people use."""

    TAR = "tar"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    ZIP = "zip"


_ARCHIVES = (
    (b"PK\x03\x04", ArchiveFormat.ZIP),
    (b"PK\x05\x06", ArchiveFormat.ZIP),
    # Markers of split archives, also in one piece (APPNOTE 8.5.4, 8.5.5).
    (b"PK\x07\x08PK", ArchiveFormat.ZIP),
    (b"PK00PK", ArchiveFormat.ZIP),
    (b"\x1f\x8b\x08", ArchiveFormat.GZIP),
    (b"BZh", ArchiveFormat.BZIP2),
    (b"\xfd7zXZ\x00", ArchiveFormat.XZ),
    (b"\x28\xb5\x2f\xfd", ArchiveFormat.ZSTD),
    # A skippable frame (RFC 8878, 3.1.2) may stand first: pzstd writes one.
    *((bytes([0x50 + n]) + b"\x2a\x4d\x18", ArchiveFormat.ZSTD) for n in range(16)),
)

_OTHER_ARCHIVES = (
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"LZIP", "an lzip file"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file"),
    (0, b"\x1f\x9d", "a compress (.Z) file"),
    (0, b"]\x00\x00", "an LZMA file"),
    (0, b"\x89LZO\x00", "an lzop file"),
    (0, b"MSCF", "a cabinet archive"),
    (0, b"ISc(", "an InstallShield cabinet"),
    (0, b"MSWIM\x00\x00\x00", "a WIM image"),
    (0, b"070701", "a cpio archive"),
    (0, b"070702", "a cpio archive"),
    (0, b"070707", "a cpio archive"),
    (0, b"\xc7\x71", "a cpio archive"),
    (0, b"\x71\xc7", "a cpio archive"),
    (0, b"!<arch>\n", "an ar archive"),
    (0, b"xar!\x00", "a xar archive"),
    (0, b"hsqs", "a SquashFS image"),
    (0, b"\x60\xea", "an ARJ archive"),
    (0, b"ZOO ", "a ZOO archive"),
    (0, b"SIT!", "a StuffIt archive"),
    (0, b"StuffIt (c)", "a StuffIt archive"),
    (2, b"-lh", "an LHA archive"),
    (2, b"-lz", "an LHA archive"),
    (7, b"**ACE**", "an ACE archive"),
)

_ZIP_NAME_OFFSET = 30
_FIRST_OF_DOCUMENT = (
    *(b"[Content_Types].xml", b"mimetype", b"_rels/", b"docProps/", b"word/", b"xl/", b"ppt/"),
    *(b"META-INF/", b"customXml/", b"Index/"),
)
"""First names in the zips that are Office's, OpenDocument's, EPUB's, Java's and Apple's."""

_TAR_MAGIC = b"ustar"
_TAR_MAGIC_OFFSET = 257
_MOST_BEFORE_TAR = 64 * KIB

_IMAGE_START = 16 * 2048
_IMAGE_MARKS = (b"CD001", b"BEA01", b"NSR02", b"NSR03", b"CDROM")
"""Of ISO 9660, UDF and High Sierra, near the start of their first volume descriptor."""

_RECORDINGS = (
    (0, b"ID3", "an MP3 recording"),
    (0, b"fLaC", "a FLAC recording"),
    (0, b"OggS", "an Ogg recording"),
    (0, b"FORM", "an AIFF recording"),
    (0, b"caff", "a CAF recording"),
    (0, b".snd", "an AU recording"),
    (0, b"#!AMR", "an AMR recording"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media recording"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM recording"),
    (4, b"ftyp", "an MP4 or M4A recording"),
    (8, b"WAVE", "a WAV recording"),
    *((0, bytes([0xFF, second]), "an MP3 recording") for second in (0xFB, 0xFA, 0xF3, 0xF2)),
    *((0, bytes([0xFF, second]), "an AAC recording") for second in (0xF1, 0xF9)),
)


def recognise(head: bytes) -> ArchiveFormat:
    """Return the format of the archive that begins with ``head`` (up to 512 bytes).

    Raises:
        NotAnArchiveError: it is not an archive.
        BadArchiveError: it is empty, or an archive of a format that is not supported.
    """
    if not head:
        raise BadArchiveError("the archive is empty (0 bytes): drop it again")
    found = _archive_format(head)
    if found is not None:
        return found
    if (words := _other_archive(head)) is not None:
        raise unsupported(words)
    raise not_an_archive(head)


def not_an_archive(head: bytes) -> NotAnArchiveError:
    """Make the error of a file that begins with ``head``."""
    return NotAnArchiveError(f"this is {described(head)}, not an archive: {_ADVICE}")


def unsupported(words: str) -> BadArchiveError:
    """Make the error of an archive of another kind."""
    return BadArchiveError(f"this is {words}, which is not supported: {_ADVICE}")


def recognise_source(source: ArchiveSource) -> ArchiveFormat:
    """Return the format of an archive; raises as `recognise`.

    A zip may begin with anything, for example a program that unpacks it, a tar with up to 64 KiB
    of other bytes, for example a server's greeting, and a disk image with zeros, like an empty tar.
    """
    head = read_range(source, 0, min(source.size, HEAD_BYTES)) if source.size else b""
    try:
        found = recognise(head)
    except NotAnArchiveError:
        if _is_image(source):
            raise unsupported("an ISO image") from None
        behind = None if _recording(head) is not None else _behind_others(source)
        if behind is None:
            raise
        return behind
    if found is ArchiveFormat.TAR and not any(head) and _is_image(source):
        raise unsupported("an ISO image")
    return found


def begins_document(head: bytes) -> bool:
    """Whether ``head`` begins a zip that is an office document, a book or a program."""
    return head.startswith(_FIRST_OF_DOCUMENT, _ZIP_NAME_OFFSET) and head.startswith(b"PK\x03\x04")


def stream_format(head: bytes) -> ArchiveFormat | None:
    """Return the compression of the stream that begins with ``head``, or a tar's format."""
    found = _archive_format(head)
    return None if found is ArchiveFormat.ZIP else found


def described(head: bytes) -> str:
    """Say what begins with ``head``."""
    found = _archive_format(head)
    if found is not None:
        return f"{'an' if found is ArchiveFormat.XZ else 'a'} {found.value} file"
    return _other_archive(head) or _recording(head) or _text_or_unknown(head)


def require_tar(head: bytes, compression: ArchiveFormat) -> None:
    """Check that decompressed data begins like a tar.

    Raises:
        NotAnArchiveError: it is something else, which the message names.
        BadArchiveError: there is none.
    """
    if not head:
        raise BadArchiveError(f"the {compression.value} file is empty inside: drop it again")
    if _archive_format(head) is not ArchiveFormat.TAR:
        raise NotAnArchiveError(
            f"the {compression.value} file holds {described(head)}, not a tar: {_ADVICE}"
        )


def begins_tar(head: bytes) -> bool:
    """Whether ``head`` begins with a tar header, or with an empty tar's zeros.

    The header's checksum decides: tars from before 1988 have no magic bytes.
    """
    if head and not any(head):
        return len(head) >= tarfile.BLOCKSIZE
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _archive_format(head: bytes) -> ArchiveFormat | None:
    # A damaged header is a tar's all the same.
    for magic, found in _ARCHIVES:
        if head.startswith(magic):
            return found
    return ArchiveFormat.TAR if begins_tar(head) or head[257:262] == _TAR_MAGIC else None


def _other_archive(head: bytes) -> str | None:
    for offset, magic, words in _OTHER_ARCHIVES:
        if head.startswith(magic, offset):
            return words
    return None


def _behind_others(source: ArchiveSource) -> ArchiveFormat | None:
    """Return the format of the archive that stands behind other bytes, if one does."""
    head = read_range(source, 0, min(source.size, _MOST_BEFORE_TAR))
    tar = _first_tar(head)
    if tar is not None and b"PK\x03\x04" not in head[:tar]:
        return ArchiveFormat.TAR
    is_zip = find_end(RangedFile(source), source.size) is not None
    return ArchiveFormat.ZIP if is_zip else None


def _first_tar(head: bytes) -> int | None:
    found = head.find(_TAR_MAGIC, _TAR_MAGIC_OFFSET)
    while found >= 0:
        start = found - _TAR_MAGIC_OFFSET
        # Octal digits spare the sum over most of what is no header.
        if head[start + 148 : start + 154].strip(b" \x00").isdigit() and begins_tar(
            head[start : start + tarfile.BLOCKSIZE]
        ):
            return start
        found = head.find(_TAR_MAGIC, found + 1)
    return None


def _is_image(source: ArchiveSource) -> bool:
    length = min(source.size - _IMAGE_START, 16)
    return length > 0 and any(
        mark in read_range(source, _IMAGE_START, length) for mark in _IMAGE_MARKS
    )


def _recording(head: bytes) -> str | None:
    for offset, magic, words in _RECORDINGS:
        if head.startswith(magic, offset):
            return words
    return None


def _text_or_unknown(head: bytes) -> str:
    # The last character may be incomplete.
    text = head.decode("utf-8", "ignore")
    is_text = len(text.encode()) > len(head) - 4 and b"\x00" not in head
    return "text" if is_text and len(text) > 0 else "a file of an unknown kind"
