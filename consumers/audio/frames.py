"""Recognises raw streams of frames (MPEG audio, AAC, AC-3) by their headers.

The magic of one header, two or three bytes, occurs by chance in random data; a frame
counts only if another of its kind follows.
"""

# ruff: noqa: PLR2004 - bit fields have the values that the standards give them

from __future__ import annotations

import re
from collections.abc import Callable

from consumers.audio.signatures import AAC, AC3, EAC3, LATM, MP3, MPEG_AUDIO, Sniffed

# How many frames have to follow one another, and where the bytes end before, at least how many.
_FEW = (3, 2)
_MANY = (10, 10)
_FIRST_BYTE = re.compile(rb"[\xff\x56\x0b]")
_SEARCHED_BYTES = 1 << 14

# Bits per second over 1000, by index, from ISO/IEC 11172-3 and 13818-3.
_MPEG_1_RATES = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG_2_RATES = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_SAMPLE_RATES = (44_100, 48_000, 32_000)
_MPEG_DIVISORS = {3: 1, 2: 2, 0: 4}  # of the sample rate, by version: MPEG 1, 2 and 2.5
# The same by half the code, from ATSC A/52, table 5.18.
_AC3_RATES = (
    32,
    40,
    48,
    56,
    64,
    80,
    96,
    112,
    128,
    160,
    192,
    224,
    256,
    320,
    384,
    448,
    512,
    576,
    640,
)
_AC3_SAMPLE_RATES = (48_000, 44_100, 32_000)
_AC3_VERSIONS = range(11)
_EAC3_VERSIONS = range(11, 17)
_HEADER_BYTES = 6


def find_frames(head: bytes) -> Sniffed | None:
    """Find a stream of frames at or shortly after the start of a file's first 64 KiB."""
    for start in range(min(len(head), _SEARCHED_BYTES)):
        if start and _is_layer_1(head, start):
            continue
        if (found := _frames_at(head, start, _FEW)) is not None:
            return found
    return None


def find_frames_behind(head: bytes) -> tuple[int, Sniffed] | None:
    """Find a long row of frames behind any junk, and where it begins."""
    for start in map(re.Match.start, _FIRST_BYTE.finditer(head)):
        if _is_layer_1(head, start):
            continue
        if (found := _frames_at(head, start, _MANY)) is not None:
            return start, found
    return None


def _is_layer_1(head: bytes, start: int) -> bool:
    """Whether this may be MPEG audio of layer I, whose short frames occur in programs and video."""
    return head[start] == 0xFF and _mpeg_layer(head[start + 1 : start + 2]) == 1


def _frames_at(head: bytes, start: int, row: tuple[int, int]) -> Sniffed | None:
    if head[start] == 0xFF:
        if _follow(head, start, row, _mpeg_audio_size):
            return MP3 if _mpeg_layer(head[start + 1 : start + 2]) == 3 else MPEG_AUDIO
        if _follow(head, start, row, _adts_size):
            return AAC
    elif head[start] == 0x56 and _follow(head, start, row, _loas_size):
        return LATM
    elif head[start] == 0x0B and _follow(head, start, row, _ac3_size):
        return EAC3 if head[start + 5] >> 3 in _EAC3_VERSIONS else AC3
    return None


def _follow(head: bytes, start: int, row: tuple[int, int], size_of: Callable[[bytes], int]) -> bool:
    """Whether frames follow one another from there on."""
    most, least = row
    found = 0
    while found < most:
        header = head[start : start + _HEADER_BYTES]
        if not header:
            break
        size = size_of(header) if len(header) == _HEADER_BYTES else 0
        if not size:
            return False
        found += 1
        start += size
    return found >= least


def _mpeg_layer(header: bytes) -> int:
    return 4 - (header[0] >> 1 & 3) if header else 0


def _mpeg_audio_size(header: bytes) -> int:
    """Return the bytes of a frame of MPEG audio; 0 if the header is invalid."""
    layer, version = _mpeg_layer(header[1:2]), header[1] >> 3 & 3
    rate, frequency, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if header[0] != 0xFF or header[1] < 0xE0 or layer == 4 or version == 1:
        return 0
    if rate in (0, 15) or frequency == 3:
        return 0
    bits = (_MPEG_1_RATES if version == 3 else _MPEG_2_RATES)[layer][rate] * 1000
    samples = _MPEG_SAMPLE_RATES[frequency] // _MPEG_DIVISORS[version]
    if layer == 1:
        return (12 * bits // samples + padding) * 4
    slots = 72 if layer == 3 and version != 3 else 144
    return slots * bits // samples + padding


def _adts_size(header: bytes) -> int:
    """Return the bytes of a frame of AAC in ADTS, or 0 (ISO/IEC 14496-3, 1.A.2)."""
    if header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else 0


def _loas_size(header: bytes) -> int:
    """Return the bytes of a frame of AAC in LOAS, or 0 (ISO/IEC 14496-3, 1.7.2)."""
    if header[0] != 0x56 or header[1] & 0xE0 != 0xE0:
        return 0
    return ((header[1] & 0x1F) << 8 | header[2]) + 3


def _ac3_size(header: bytes) -> int:
    """Return the bytes of a frame of AC-3 or E-AC-3, or 0 (ATSC A/52)."""
    version, frequency, code = header[5] >> 3, header[4] >> 6, header[4] & 63
    if header[:2] != b"\x0b\x77":
        return 0
    if version in _EAC3_VERSIONS:
        return (((header[2] & 7) << 8 | header[3]) + 1) * 2
    if version not in _AC3_VERSIONS or frequency == 3 or code >> 1 >= len(_AC3_RATES):
        return 0
    sample_rate = _AC3_SAMPLE_RATES[frequency]
    words = _AC3_RATES[code >> 1] * 1000 * 1536 // sample_rate // 16
    odd = code & 1 if sample_rate == 44_100 else 0
    return (words + odd) * 2
