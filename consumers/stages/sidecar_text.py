"""The content of small texts that lie beside recordings, such as ``a.json`` beside ``a.wav``."""

from __future__ import annotations

import codecs
from pathlib import PurePosixPath
from typing import BinaryIO

LONGEST = 64 << 10
"""Bytes of a file."""

MOST_IN_ARCHIVE = 256 << 20
"""Bytes of all texts of an archive, as they are stored in its manifest."""

_SUFFIXES = frozenset(
    {".csv", ".json", ".md", ".srt", ".tsv", ".txt", ".vtt", ".xml", ".yaml", ".yml"}
)


class SidecarTexts:
    """Reads the texts of one archive, within limits, in the order of its members."""

    def __init__(self, most: int = MOST_IN_ARCHIVE) -> None:
        self._left = most

    def read(self, path: str, file: BinaryIO, size: int) -> tuple[str | None, str]:
        """Read a text whose name is that of a sidecar.

        Args:
            path: Of the member.
            file: Its content, at any position.
            size: Bytes of the content.

        Returns:
            Its text, or None if it is not kept; and for people why, or an empty string.
        """
        if PurePosixPath(path).suffix.lower() not in _SUFFIXES:
            return None, ""
        if size > LONGEST:
            return None, f"more than {LONGEST >> 10} KiB, so its content is not kept"
        file.seek(0)
        text = _decoded(file.read(LONGEST))
        if text is None:
            return None, "neither UTF-8 nor UTF-16, so its content is not kept"
        length = len(text.encode())
        if length > self._left:
            return None, "its content is not kept, as the archive has too many texts"
        self._left -= length
        return text or None, ""


def _decoded(data: bytes) -> str | None:
    """Decode UTF-8, or UTF-16 with a byte order mark; None if it is neither."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
