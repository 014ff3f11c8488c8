"""A part of a file that is a complete file of its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from consumers.audio.fileview import Piece, Span
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

    def moved(self, offset: int) -> Section:
        """Return it as a part of a file in which so many bytes precede what it was found in."""
        return replace(self, pieces=moved(self.pieces, offset)) if offset else self


def moved(pieces: tuple[Piece, ...], offset: int) -> tuple[Piece, ...]:
    """Return pieces so many bytes further on in the file."""
    return tuple(
        Span(piece.start + offset, piece.end + offset) if isinstance(piece, Span) else piece
        for piece in pieces
    )
