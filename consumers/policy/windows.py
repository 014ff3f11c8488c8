"""A transcript in passages that a model can judge, each with its times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from consumers.documents.transcript.document import Segment
from consumers.documents.transcript.timing import CharacterTimes
from consumers.errors import PermanentError
from consumers.policy.cope import clean

#: Tokens that a policy has to leave in the model's context: less is no passage.
LEAST_ROOM = 64


class NoRoomError(PermanentError):
    """A policy leaves no room for any content in the model's context."""

    def __init__(self) -> None:
        super().__init__(
            "the policy is too long: it leaves no room for content in the model's context; "
            "shorten it (`dropscribe policy check FILE` tells its length in tokens)"
        )


@dataclass(frozen=True, slots=True)
class Passage:
    """What is said from ``start`` to ``end`` (seconds); ``text`` is clean, and never empty."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class _Limits:
    seconds: float
    fits: Callable[[str], bool]

    def allow(self, passage: Passage) -> bool:
        return passage.end - passage.start <= self.seconds and self.fits(passage.text)


def windows(
    segments: Sequence[Segment], *, seconds: float, fits: Callable[[str], bool]
) -> Iterator[Passage]:
    """Split a transcript into windows.

    Each is as many following segments as there can be. A segment that is too long
    by itself is split between words, and a word that does not fit between any two
    characters. Together the windows are all that was said, and nothing is said in
    two. The time that this takes grows evenly with the length of the text.

    Args:
        segments: In order.
        seconds: The most from a window's start to its end (a single word may last longer).
        fits: Whether the model's context holds a content; then it holds any part of it, too.

    Raises:
        NoRoomError: It does not hold even a single character.
    """
    limits = _Limits(seconds, fits)
    pieces = [piece for segment in segments for piece in _pieces(segment, limits)]
    first = 0
    while first < len(pieces):
        number = _longest(pieces, first, limits)
        yield _joined(pieces[first : first + number])
        first += number


def _longest(pieces: Sequence[Passage], first: int, limits: _Limits) -> int:
    """Count the pieces of the window that begins with one; alone, each is a window."""

    def allows(number: int) -> bool:
        return limits.allow(_joined(pieces[first : first + number]))

    return max(1, _most(len(pieces) - first, allows))


def _joined(pieces: Sequence[Passage]) -> Passage:
    return Passage(
        min(piece.start for piece in pieces),
        max(piece.end for piece in pieces),
        "".join(piece.text for piece in pieces).lstrip(),
    )


def _pieces(segment: Segment, limits: _Limits) -> Iterator[Passage]:
    """Give what is never split: a segment, or what it has to be split into.

    The text of each begins with a space, unless it goes on with a word.
    """
    text = clean(segment.text)
    whole = Passage(segment.start, max(segment.start, segment.end), f" {text}")
    if not text:
        return
    if limits.allow(_joined([whole])):
        yield whole
        return
    clock = CharacterTimes(segment)
    offset = 0
    for word in text.split():
        yield from _fragments(_Word(word, offset, clock), limits.fits)
        offset += len(word)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word, and how many characters of its segment are before it."""

    text: str
    offset: int
    clock: CharacterTimes

    def part(self, start: int, end: int) -> Passage:
        return Passage(
            self.clock.start_of(self.offset + start),
            self.clock.end_of(self.offset + end),
            self.text[start:end] if start else f" {self.text[:end]}",
        )


def _fragments(word: _Word, fits: Callable[[str], bool]) -> Iterator[Passage]:
    """Give a word, or what it has to be cut into to fit; however long it lasts."""
    end = len(word.text)
    if fits(word.text):
        yield word.part(0, end)
        return
    start = 0
    while start < end:
        number = _longest_part(word.text, start, fits)
        yield word.part(start, start + number)
        start += number


def _longest_part(word: str, start: int, fits: Callable[[str], bool]) -> int:
    """Count the characters of the longest part of a word that begins there and fits."""
    number = _most(len(word) - start, lambda n: fits(word[start : start + n]))
    if number == 0:
        raise NoRoomError
    return number


def _most(limit: int, allows: Callable[[int], bool]) -> int:
    """Find the largest number up to a limit that is allowed, 0 if none is.

    What is asked for is never more than twice the answer (but for 1), so that the
    questions together cost no more than some few times the answer's size.
    """
    most, too_many = 0, limit + 1
    while most < limit:
        number = min(max(1, 2 * most), limit)
        if not allows(number):
            too_many = number
            break
        most = number
    while too_many - most > 1:
        number = (most + too_many) // 2
        if allows(number):
            most = number
        else:
            too_many = number
    return most
