"""Recognises a file by its first bytes, never by its name."""

from __future__ import annotations

import codecs
from typing import BinaryIO

from consumers.audio.frames import find_frames
from consumers.audio.signatures import (
    BRANDS,
    EMPTY,
    MP3,
    MP4,
    MPEG_TS,
    SIGNATURES,
    TEXT,
    UNKNOWN,
    Sniffed,
)

__all__ = ["HEAD_BYTES", "Sniffed", "id3_sizes", "recognised", "sniff"]

HEAD_BYTES = 1 << 16

_ID3_HEADER_BYTES = 10
_ID3_TAGS = 8
# Formats before which FFmpeg reads such tags. Most others tell positions in the file, which a tag
# moves; the probe skips it.
_TAGGED = frozenset(
    {"aac", "ac3", "ape", "dts", "eac3", "flac", "loas", "mp3", "mpc", "mpc8", "tak", "tta", "wv"}
)
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes, and where the sync byte is
_TS_IN_A_ROW = 4
_TS_SYNC = 0x47
_WHITE_SPACE = frozenset(b"\t\n\v\f\r\x1b")
_CONTROLS = bytes(set(range(32)) - _WHITE_SPACE) + b"\x7f"
_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def sniff(file: BinaryIO) -> Sniffed:
    """Recognise a seekable file, and return to its start."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not head:
        return EMPTY
    start = _after_id3(file, head)
    if start:
        file.seek(start)
        sniffed = recognised(file.read(HEAD_BYTES))
        # Such a tag that is followed by no other format begins an MP3 file.
        if sniffed is None or sniffed.kind != "audio":
            sniffed = UNKNOWN if _has_wrong_size(file, head) else MP3
        elif sniffed.demuxer not in _TAGGED:
            sniffed = UNKNOWN
    else:
        sniffed = recognised(head) or (TEXT if _is_text(head) else UNKNOWN)
    file.seek(0)
    return sniffed


def recognised(head: bytes) -> Sniffed | None:
    """Recognise the first 64 KiB of a file that begins with no tag; None: no signature fits."""
    for signature in SIGNATURES:
        if signature.matches(head):
            return signature.sniffed
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], MP4)
    if _is_transport_stream(head):
        return MPEG_TS
    return find_frames(head)


def _after_id3(file: BinaryIO, head: bytes) -> int:
    """Return the end of the ID3v2 tags (https://id3.org/id3v2.4.0-structure, 3.1)."""
    end = 0
    header = head[:_ID3_HEADER_BYTES]
    for _ in range(_ID3_TAGS):
        if len(header) < _ID3_HEADER_BYTES or header[:3] != b"ID3" or not header[6:].isascii():
            break
        has_footer = header[5] & 0x10
        end += id3_sizes(header)[0] + (_ID3_HEADER_BYTES if has_footer else 0)
        file.seek(end)
        header = file.read(_ID3_HEADER_BYTES)
    return end


def id3_sizes(header: bytes) -> tuple[int, ...]:
    """Return what the size of an ID3v2 tag may be, without a footer, the most likely first.

    A byte of it has 7 bits; some programs write 8.
    """
    plain = _ID3_HEADER_BYTES + int.from_bytes(header[6:10], "big")
    if not header[6:10].isascii():
        return (plain,)
    right = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
    return (_ID3_HEADER_BYTES + right, plain)


def _has_wrong_size(file: BinaryIO, head: bytes) -> bool:
    """Whether a recording follows where a first tag of 8 bits in a byte would end."""
    file.seek(id3_sizes(head)[-1])
    sniffed = recognised(file.read(HEAD_BYTES))
    return sniffed is not None and sniffed.kind == "audio"


def _is_transport_stream(head: bytes) -> bool:
    return any(
        len(head) > size * (_TS_IN_A_ROW - 1) + first
        and all(head[first + size * index] == _TS_SYNC for index in range(_TS_IN_A_ROW))
        for size, first in _TS_PACKETS
    )


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8, UTF-16 with a byte order mark, or any mostly ASCII encoding."""
    if encoding := _BYTE_ORDER_MARKS.get(head[:2]):
        return _decodes(head, encoding)
    if any(byte in _CONTROLS for byte in head):
        return False
    return _decodes(head, "utf-8") or len(head.decode("ascii", "ignore")) > 0.9 * len(head)


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        # The last character may be incomplete.
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return True
