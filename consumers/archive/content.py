"""What a member's content is read through."""

from __future__ import annotations

import io
from typing import BinaryIO

from consumers.archive.members import KIB

_BUFFER_BYTES = 64 * KIB


def lent(raw: io.RawIOBase, size: int) -> BinaryIO:
    """Return ``raw`` as a forward-only file; closing it takes it back from whoever has it."""
    return io.BufferedReader(raw, buffer_size=max(1, min(size, _BUFFER_BYTES)))


def nothing() -> BinaryIO:
    """Return an empty content, for members that are not read."""
    return io.BytesIO()
