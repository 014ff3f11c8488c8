"""Checks a policy's headings against those that CoPE was trained on.

https://huggingface.co/zentropi-ai/cope-a-9b, "Input Format"::

    # Policy
    ## Overview
    ## Definition of Terms
    ## Interpretation of Language
    ## Definition of Labels
    ### (XX): Label
    #### Includes
    #### Excludes
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

TITLE = "Policy"
SECTIONS = (
    "Overview",
    "Definition of Terms",
    "Interpretation of Language",
    "Definition of Labels",
)
LISTS = ("Includes", "Excludes")

# A Markdown parser would add a dependency, and the line numbers and exact forms matter here.
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_ITEM = re.compile(r"\s*([-*+]|\d{1,3}[.)])[ \t]+\S.*")
_LABEL = re.compile(r"\(([A-Z][A-Z0-9]{1,3})\): (\S.*)")

#: The prompt's own headings: one of these words over such a line.
_PARTS = re.compile(r"\s*(INSTRUCTIONS|POLICY|CONTENT|ANSWER)\s*", re.IGNORECASE)
_UNDERLINE = re.compile(r"\s*={3,}\s*")

#: Possible special tokens of a tokenizer: `<eos>`, `<start_of_turn>`, `<|end|>`, `</s>`.
_TOKEN = re.compile(r"</?[a-z]+(_[a-z]+)*\d*>|<\|[^<>|\s]+\|>|\[@\w+@\]")


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


@dataclass(frozen=True, slots=True)
class Problem:
    """A deviation from the structure.

    Attributes:
        line: Its number, from 1.
        nature: An ``error`` must be fixed; a ``remark`` is advice.
        message: The problem and the remedy.
    """

    line: int
    nature: Literal["error", "remark"]
    message: str


@dataclass(frozen=True, slots=True)
class Label:
    """One of a policy's labels: ``(HS): Hate Speech``."""

    code: str
    name: str


def check_structure(text: str) -> list[Problem]:
    """Return the problems of a policy, in the order of its lines."""
    if not text.strip():
        return [Problem(1, "error", "the policy is empty")]
    problems = [*_prompt_problems(text), *_title_problems(_parse(text))]
    return sorted(problems, key=lambda problem: problem.line)


def read_labels(text: str) -> tuple[Label, ...]:
    """Read the labels of a policy, in order; invalid ones are skipped."""
    matches = (
        _LABEL.fullmatch(part.title)
        for title in _parse(text).children
        for section in title.children
        if section.title == SECTIONS[-1]
        for part in section.children
    )
    return tuple(Label(match[1], match[2]) for match in matches if match)


def _prompt_problems(text: str) -> Iterator[Problem]:
    """Find lines that the model would take for a part of the prompt around the policy."""
    lines = text.split("\n")
    for number, (line, following) in enumerate(pairwise([*lines, ""]), start=1):
        if _PARTS.fullmatch(line) and _UNDERLINE.fullmatch(following):
            yield Problem(
                number,
                "error",
                f"`{line.strip()}` over a line of = is a part of the prompt itself: the model "
                "would take the policy to end here",
            )
        for match in _TOKEN.finditer(line):
            yield Problem(
                number,
                "error",
                f"`{match[0]}` may be a special token to the model: put a space after its first "
                "character",
            )


def _title_problems(whole: MarkdownSection) -> Iterator[Problem]:
    if whole.has_text:
        yield Problem(1, "remark", f"there is text before the heading `# {TITLE}`")
    titles = [part for part in whole.children if part.level == 1]
    if len(titles) != 1 or titles != whole.children:
        yield Problem(
            titles[1].line if len(titles) > 1 else 1,
            "error",
            f"a policy begins with the heading `# {TITLE}` and has no other of its level",
        )
        return
    (title,) = titles
    if title.title != TITLE:
        yield Problem(title.line, "remark", f"the model knows {title.heading} as `# {TITLE}`")
    yield from _order_problems(title, SECTIONS)
    for section in title.children:
        if section.title == SECTIONS[-1]:
            yield from _label_problems(section)
        elif not section.has_text and not section.children:
            yield Problem(section.line, "error", f"there is nothing under {section.heading}")


def _label_problems(section: MarkdownSection) -> Iterator[Problem]:
    if not section.children:
        yield Problem(
            section.line, "error", f"no label is defined under {section.heading}: `### (XX): Label`"
        )
    codes: set[str] = set()
    for part in section.children:
        match = _LABEL.fullmatch(part.title)
        if match is None or part.level != section.level + 1:
            yield Problem(
                part.line,
                "error",
                f"{part.heading} is not of the form `### (XX): Label`, with a code of two to four "
                "capital letters or digits",
            )
        elif match[1] in codes:
            yield Problem(part.line, "error", f"the code {match[1]} is another label's, too")
        else:
            codes.add(match[1])
        yield from _list_problems(part)


def _list_problems(label: MarkdownSection) -> Iterator[Problem]:
    yield from _order_problems(label, LISTS)
    for part in label.children:
        if part.title in LISTS and not part.has_items:
            yield Problem(
                part.line,
                "error",
                f"there is no list under {part.heading}: its lines begin with `- `",
            )


def _order_problems(parent: MarkdownSection, expected: Sequence[str]) -> Iterator[Problem]:
    """Compare the subheadings of a heading with the expected ones."""
    marks = "#" * (parent.level + 1)
    found: dict[str, MarkdownSection] = {}
    for part in parent.children:
        if part.title not in expected or part.level != parent.level + 1:
            yield Problem(
                part.line, "remark", f"{part.heading} is not a heading that the model knows"
            )
        elif part.title in found:
            yield Problem(part.line, "error", f"{part.heading} appears twice")
        else:
            found[part.title] = part
    for title in expected:
        if title not in found:
            yield Problem(
                parent.line, "error", f"there is no `{marks} {title}` under {parent.heading}"
            )
    for earlier, later in pairwise(found.values()):
        if expected.index(later.title) < expected.index(earlier.title):
            yield Problem(
                later.line, "error", f"{later.heading} has to come before {earlier.heading}"
            )


def _parse(text: str) -> MarkdownSection:
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
