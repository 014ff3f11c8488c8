"""What a file tells about itself beside its sound: tags and chapters, of a bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from av.audio.stream import AudioStream
from av.container import InputContainer

MOST_TAGS = 64
MOST_CHAPTERS = 200
LONGEST_TEXT = 1024
"""Bytes of one text in UTF-8."""
LONGEST_TAGS = 16 << 10
"""Bytes of all tags in the form in which they are sent."""
LONGEST_CHAPTERS = 8 << 10
"""Likewise of all chapters."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named part of a recording, in seconds from its start."""

    start: float
    end: float
    title: str


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags and chapters; control characters are kept, except NUL."""

    values: Mapping[str, str] = field(default_factory=dict)
    """By FFmpeg's names; those of several tracks as ``track 2: title``."""
    chapters: tuple[Chapter, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.values or self.chapters)


def tags_of(container: InputContainer, streams: Sequence[AudioStream]) -> Tags:
    """Read what fits into the limits, the container's tags first."""
    pairs = list(container.metadata.items())
    for number, stream in enumerate(streams, 1):
        prefix = f"track {number}: " if len(streams) > 1 else ""
        pairs += [(prefix + name, value) for name, value in stream.metadata.items()]
    return Tags(bounded_tags(pairs), _bounded_chapters(container))


def bounded_tags(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keep the tags that fit into the limits; of two of one name, the first."""
    kept: dict[str, str] = {}
    left = LONGEST_TAGS
    for name, value in ((bounded_text(name), bounded_text(value)) for name, value in pairs):
        size = len(json.dumps({name: value}))
        if not name or not value or name in kept or size > left:
            continue
        if len(kept) == MOST_TAGS:
            break
        kept[name] = value
        left -= size
    return kept


def bounded_text(text: str) -> str:
    """Leave out NUL, and what is beyond the limit or no Unicode."""
    encoded = text.replace("\0", "").encode("utf-8", "replace")
    return encoded[:LONGEST_TEXT].decode("utf-8", "ignore")


def _bounded_chapters(container: InputContainer) -> tuple[Chapter, ...]:
    kept: list[Chapter] = []
    left = LONGEST_CHAPTERS
    for chapter in container.chapters()[:MOST_CHAPTERS]:
        tick = chapter["time_base"]
        if not tick:
            continue
        title = bounded_text(chapter["metadata"].get("title", ""))
        start, end = (max(0.0, float(chapter[side] * tick)) for side in ("start", "end"))
        left -= len(json.dumps([start, end, title]))
        if left < 0:
            break
        kept.append(Chapter(round(start, 3), round(end, 3), title))
    return tuple(kept)
