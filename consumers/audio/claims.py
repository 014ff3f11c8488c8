"""Reads how long a file is by its header, where FFmpeg corrects that by the file's size."""

# ruff: noqa: PLR2004 - bit fields have the values that the standards give them

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from consumers.audio.fileview import FileView

_HEAD_BYTES = 1 << 16
_ID3_BYTES = 10
_ID3_TAGS = 8

# The stream header of sound; Microsoft's AVI RIFF File Reference.
_AVI_SOUND = re.compile(rb"strh....auds.{16}(.{16})", re.DOTALL)

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1

_MPEG_SAMPLE_RATES = (44_100, 48_000, 32_000)
_MPEG_DIVISORS = {3: 1, 2: 2, 0: 4}  # of the sample rate, by version: MPEG 1, 2 and 2.5
_XING_OFFSETS = (36, 21, 13)  # behind the frame's start, by version and channels
_XING_FRAMES = 1

_SOX_BYTES = 28

_VOC_START = 20
_VOC_HEAD = 12
_VOC_SOUND, _VOC_MORE, _VOC_LONG_HEADER = 1, 2, 9
_VOC_OTHERS = (3, 8)  # Silence, and a header that overrules the next block's.
_VOC_PLAIN = {8: 0, 16: 4}  # Codecs by the bits of a sample.
_VOC_BLOCKS = 10_000


def claimed_seconds(view: FileView, demuxer: str) -> float | None:
    """Return how long the header says that the sound is, in seconds, if it does."""
    reader = _READERS.get(demuxer)
    try:
        seconds = reader(view) if reader is not None else None
    except (struct.error, ZeroDivisionError):
        return None
    return seconds if seconds is not None and seconds > 0 else None


def _avi(view: FileView) -> float | None:
    lengths = []
    for fields in _AVI_SOUND.findall(view.peek(0, _HEAD_BYTES)):
        scale, rate, _, length = struct.unpack("<4I", fields)
        lengths.append(length * scale / rate)
    return max(lengths, default=None)


def _asf(view: FileView) -> float | None:
    head = view.peek(0, _HEAD_BYTES)
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0:
        return None
    ticks, _, preroll, flags = struct.unpack_from("<QQQI", head, at + 64)
    return None if flags & _ASF_BROADCAST else float(ticks / 10_000_000 - preroll / 1000)


def _mp3(view: FileView) -> float | None:
    """Read the first frame, where Xing's or LAME's header counts the frames."""
    start = 0
    for _ in range(_ID3_TAGS):
        header = view.peek(start, _ID3_BYTES)
        if len(header) < _ID3_BYTES or header[:3] != b"ID3":
            break
        size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
        start += size + _ID3_BYTES * (2 if header[5] & 0x10 else 1)
    frame = view.peek(start, 64)
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    version, rate = frame[1] >> 3 & 3, frame[2] >> 2 & 3
    if version not in _MPEG_DIVISORS or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    for offset in _XING_OFFSETS:
        if frame[offset : offset + 4] in (b"Xing", b"Info") and frame[offset + 7] & _XING_FRAMES:
            frames = int.from_bytes(frame[offset + 8 : offset + 12], "big")
            return frames * samples * _MPEG_DIVISORS[version] / _MPEG_SAMPLE_RATES[rate]
    return None


def _sox(view: FileView) -> float:
    """Read the header of SoX's own format; soxformat(7)."""
    head = view.peek(0, _SOX_BYTES)
    order = "<" if head.startswith(b".SoX") else ">"
    samples, rate, channels = struct.unpack_from(f"{order}QdI", head, 8)
    return float(samples / channels / rate)


def _voc(view: FileView) -> float | None:
    """Add up the blocks of a VOC file, if its samples are plain ones of 8 or 16 bits.

    A block has a type, a size of three bytes, and a header of its own.
    """
    seconds, position = 0.0, int.from_bytes(view.peek(_VOC_START, 2), "little")
    byte_rate = 0.0
    for _ in range(_VOC_BLOCKS):
        head = view.peek(position, _VOC_HEAD)
        if len(head) < _VOC_HEAD or not head[0]:
            break
        size, header = int.from_bytes(head[1:4], "little"), 0
        if head[0] == _VOC_SOUND:
            byte_rate, header = 1_000_000 / (256 - head[4]), 2
            if head[5] != _VOC_PLAIN[8]:
                return None
        elif head[0] == _VOC_LONG_HEADER:
            rate, bits, channels, codec = struct.unpack_from("<IBBH", head, 4)
            byte_rate, header = rate * bits * channels / 8, 12
            if codec != _VOC_PLAIN.get(bits):
                return None
        elif head[0] in _VOC_OTHERS:
            return None
        if head[0] in (_VOC_SOUND, _VOC_MORE, _VOC_LONG_HEADER):
            seconds += (size - header) / byte_rate
        position += 4 + size
    return seconds


_READERS: dict[str, Callable[[FileView], float | None]] = {
    "asf": _asf,
    "avi": _avi,
    "mp3": _mp3,
    "sox": _sox,
    "voc": _voc,
}
