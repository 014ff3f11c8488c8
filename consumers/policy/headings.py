"""The headings of a Markdown text, as a tree with the lines under each.

Ours, because a Markdown parser would add a dependency for one regular expression, and the
line numbers and exact forms matter here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_ITEM = re.compile(r"\s*([-*+]|\d{1,3}[.)])[ \t]+\S.*")


@dataclass(slots=True)
class MarkdownSection:
    """A heading with its lines and subheadings; level 0 is the whole text."""

    level: int
    title: str
    line: int
    body: list[str] = field(default_factory=list)
    children: list[MarkdownSection] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """The heading as written."""
        return f"`{'#' * self.level} {self.title}`"

    @property
    def has_text(self) -> bool:
        """Whether any of its own lines is not blank."""
        return any(line.strip() for line in self.body)

    @property
    def has_items(self) -> bool:
        """Whether any of its own lines is a list item."""
        return any(_ITEM.fullmatch(line) for line in self.body)


def parse(text: str) -> MarkdownSection:
    """Parse a text whose lines end in line feeds."""
    path = [MarkdownSection(0, "", 1)]
    for number, line in enumerate(text.split("\n"), start=1):
        match = _HEADING.fullmatch(line)
        if match is None:
            path[-1].body.append(line)
            continue
        part = MarkdownSection(len(match[1]), match[2], number)
        while path[-1].level >= part.level:
            path.pop()
        path[-1].children.append(part)
        path.append(part)
    return path[0]
