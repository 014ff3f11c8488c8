"""Repetitive text, by exact repetition of words and by compression.

A recogniser that fails writes the same words again and again, within a segment or across
many. Comparing words finds exact repetitions; compression, Whisper's own measure, finds
inexact ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from consumers.documents.transcript.document import Segment

#: The most words whose repetition is looked for.
_LONGEST = 20
#: Characters of the longest word; a longer one is text in a script without spaces.
_LONGEST_WORD = 24
_BYTES_BEYOND_ASCII = 128


class RepeatedWords(msgspec.Struct, frozen=True):
    """Words that are repeated without a break.

    Attributes:
        start: Of the first word, in seconds.
        end: Of the last word, in seconds.
        words: The repeated words; characters in a script without spaces.
        times: How often they occur.
    """

    start: float
    end: float
    words: int
    times: int


class Redundancy(msgspec.Struct, frozen=True):
    """Consecutive segments whose text compresses too well; times in seconds."""

    start: float
    end: float
    ratio: float


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: float
    end: float


def repeated_words(
    segments: Sequence[Segment], *, times: int, words: int
) -> Iterator[RepeatedWords]:
    """Find words that are repeated without a break.

    Args:
        segments: In order.
        times: The fewest occurrences.
        words: The fewest words of all occurrences together.
    """
    tokens = [token for segment in segments for token in _tokens(segment)]
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(token.text, len(numbers)) for token in tokens], np.int64)
    for period in range(1, _LONGEST + 1):
        for first, length in _runs(ids[period:] == ids[:-period]):
            last = first + length + period - 1
            said = length // period + 1
            if said >= times and last - first + 1 >= words:
                start = tokens[first].start
                yield RepeatedWords(start, max(start, tokens[last].end), period, said)


def redundancies(
    segments: Sequence[Segment], *, ratio: float, characters: int, seconds: float
) -> Iterator[Redundancy]:
    """Find the shortest stretches of consecutive segments whose text compresses too well.

    Args:
        segments: In order.
        ratio: The highest acceptable ratio; see `compression_ratio`.
        characters: The shortest text of a stretch: the ratio of less means nothing.
        seconds: The longest stretch of several segments, as any long text compresses well.
    """
    # Backwards: a stretch that contains another adds nothing.
    shortest = len(segments)
    found = []
    for first in reversed(range(len(segments))):
        text = ""
        for last in range(first, shortest):
            if last > first and segments[last].end - segments[first].start > seconds:
                break
            text += " " * bool(text) + segments[last].text.strip()
            value = compression_ratio(text) if len(text) >= characters else 0.0
            if value > ratio:
                end = max(segment.end for segment in segments[first : last + 1])
                found.append(Redundancy(segments[first].start, end, value))
                shortest = last
                break
    yield from reversed(found)


def compression_ratio(text: str) -> float:
    """The ratio of a text's size to its size compressed by zlib; for ASCII the same as Whisper's.

    Whisper compresses UTF-8, in which any text in Hindi or Thai looks repetitive: two of a
    character's three bytes are always the same. Here a character is one byte in every
    script, so that a limit means the same in all of them.
    """
    data = text.encode() if text.isascii() else _one_byte_each(text)
    return len(data) / len(zlib.compress(data))


def _one_byte_each(text: str) -> bytes:
    codes: dict[str, int] = {}
    return bytes(
        ord(character)
        if character.isascii()
        else _BYTES_BEYOND_ASCII + codes.setdefault(character, len(codes)) % _BYTES_BEYOND_ASCII
        for character in text
    )


def _runs(equal: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First index and length of each run of True."""
    edges = np.flatnonzero(np.diff(equal, prepend=False, append=False))
    for first, behind in edges.reshape(-1, 2).tolist():
        yield first, behind - first


def _tokens(segment: Segment) -> Iterator[_Token]:
    """The segment's words without case and punctuation; words without times share the segment's."""
    if segment.words:
        end = segment.start
        for word in segment.words:
            start = end if word.start is None else word.start
            end = start if word.end is None else max(start, word.end)
            if text := _plain(word.text):
                yield _Token(text, start, end)
        return
    texts = list(filter(None, map(_plain, _split(segment.text))))
    share = max(0.0, segment.end - segment.start) / max(1, sum(map(len, texts)))
    end = segment.start
    for text in texts:
        start, end = end, end + share * len(text)
        yield _Token(text, start, end)


def _split(text: str) -> Iterator[str]:
    for word in text.split():
        if len(word) > _LONGEST_WORD:
            yield from word
        else:
            yield word


def _plain(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))
