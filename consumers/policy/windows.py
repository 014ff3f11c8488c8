"""Splits a transcript into windows that fit a model's context, each with its times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from consumers.documents.transcript.document import Segment
from consumers.documents.transcript.timing import CharacterTimes
from consumers.errors import PermanentError
from consumers.policy.cope import clean

#: Tokens that a policy must leave in the model's context for content.
LEAST_ROOM = 64


class NoRoomError(PermanentError):
    """A policy leaves no room for content in the model's context."""

    def __init__(self) -> None:
        super().__init__(
            "the policy is too long: it leaves no room for content in the model's context; "
            "shorten it (`dropscribe policy check FILE` prints its length in tokens)"
        )


@dataclass(frozen=True, slots=True)
class Passage:
    """The speech from ``start`` to ``end``, in seconds; ``text`` is clean and not empty."""

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
    """Split a transcript into windows, which cover it without overlap.

    Each has as many consecutive segments as fit. A longer segment is split between words, and a
    word that does not fit between any two characters. The running time is linear in the
    length of the text.

    Args:
        segments: In order.
        seconds: The longest window; a single word may last longer.
        fits: Whether a content fits the model's context; then any part of it must fit too.

    Raises:
        NoRoomError: Not even a single character fits.
    """
    limits = _Limits(seconds, fits)
    pieces = [piece for segment in segments for piece in _pieces(segment, limits)]
    first = 0
    while first < len(pieces):
        number = _longest(pieces, first, limits)
        yield _joined(pieces[first : first + number])
        first += number


def _longest(pieces: Sequence[Passage], first: int, limits: _Limits) -> int:
    """Count the pieces of the window that begins with ``first``, at least one."""

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
    """Yield a segment, or the parts into which it must be split.

    The text of each begins with a space, unless it continues a word.
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
    """A word, and the number of its segment's characters before it."""

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
    """Yield a word, or the parts into which it must be split to fit."""
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
    """Return the length of the longest part of a word from ``start`` that fits."""
    number = _most(len(word) - start, lambda n: fits(word[start : start + n]))
    if number == 0:
        raise NoRoomError
    return number


def _most(limit: int, allows: Callable[[int], bool]) -> int:
    """Find the largest number up to a limit that is allowed, 0 if none is.

    The numbers tried are at most twice the result (or 1), so that all tries together cost only a
    few times as much as the result's.
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
