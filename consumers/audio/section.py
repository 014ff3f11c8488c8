"""A part of a file that is a complete file of its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumers.audio.fileview import Piece


@dataclass(frozen=True, slots=True)
class Section:
    """What the demuxer gets to read at once, and what the file's structure says about it."""

    pieces: tuple[Piece, ...]
    declared: float | None = None
    """Seconds of sound by its header; None: the demuxer is asked."""
    held: float | None = None
    """Seconds of sound that are there; None: the demuxer tells."""
    options: Mapping[str, str] = field(default_factory=dict)
    """For the demuxer."""
    unread: int = 0
    """Bytes behind it of which nothing is known."""
