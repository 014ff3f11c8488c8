"""A part of a file that is a complete file of its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumers.audio.fileview import Piece
from consumers.audio.framed import Hole


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
    holes: tuple[Hole, ...] = ()
    """Bytes left out of the pieces, as they are no sound."""
    end_page: int | None = None
    """Where the page begins with which it ends; only for formats of pages."""
    ends: bool = True
    """Whether it has an end, where the format marks it."""
