"""Archive formats, recognised by their first bytes, never by name."""

from __future__ import annotations

import tarfile
from enum import Enum

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
    (b"\x1f\x8b\x08", ArchiveFormat.GZIP),
    (b"BZh", ArchiveFormat.BZIP2),
    (b"\xfd7zXZ\x00", ArchiveFormat.XZ),
    (b"\x28\xb5\x2f\xfd", ArchiveFormat.ZSTD),
    # A skippable frame (RFC 8878, 3.1.2) may stand first: pzstd writes one.
    *((bytes([0x50 + n]) + b"\x2a\x4d\x18", ArchiveFormat.ZSTD) for n in range(16)),
)

_OTHER_ARCHIVES = (
    (b"PK\x07\x08", "one part of a split zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"LZIP", "an lzip file"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
    (b"\x1f\x9d", "a compress (.Z) file"),
    (b"]\x00\x00", "an LZMA file"),
    (b"MSCF", "a cabinet archive"),
    (b"070701", "a cpio archive"),
    (b"!<arch>\n", "an ar archive"),
)

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
        BadArchiveError: it is not an archive, or its format is not supported.
    """
    if not head:
        raise BadArchiveError("the archive is empty (0 bytes): drop it again")
    found = _archive_format(head)
    if found is not None:
        return found
    for magic, words in _OTHER_ARCHIVES:
        if head.startswith(magic):
            raise BadArchiveError(f"this is {words}, which is not supported: {_ADVICE}")
    content = _recording(head) or _text_or_unknown(head)
    raise BadArchiveError(f"this is {content}, not an archive: {_ADVICE}")


def require_tar(head: bytes, compression: ArchiveFormat) -> None:
    """Check that decompressed data begins like a tar.

    Raises:
        BadArchiveError: it is something else, which the message names.
    """
    if not head:
        raise BadArchiveError(f"the {compression.value} file is empty inside: drop it again")
    if begins_tar(head):
        return
    inner = _archive_format(head)
    words = f"a {inner.value} file" if inner else _recording(head) or _text_or_unknown(head)
    raise BadArchiveError(f"the {compression.value} file holds {words}, not a tar: {_ADVICE}")


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
    for magic, found in _ARCHIVES:
        if head.startswith(magic):
            return found
    return ArchiveFormat.TAR if begins_tar(head) else None


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
