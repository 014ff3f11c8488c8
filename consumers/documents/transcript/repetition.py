"""Find where a text goes in circles: by its words, and by how well it compresses.

A recogniser that has lost the thread writes the same words again and again, in
one segment or over many. Words find each exact loop to the word; compression,
Whisper's own measure, finds those that are not quite exact.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from consumers.documents.transcript.document import Segment

#: Words of the longest passage whose repetition is looked for.
_LONGEST = 20
#: Characters that no word has: a longer one is a script without spaces.
_LONGEST_WORD = 24
_BYTES_BEYOND_ASCII = 128


class RepeatedWords(msgspec.Struct, frozen=True):
    """The same words again and again.

    Attributes:
        start: Seconds, of its first word.
        end: The same, of its last.
        words: How many are repeated; characters in a script without spaces.
        times: How often they are said.
    """

    start: float
    end: float
    words: int
    times: int


class Redundancy(msgspec.Struct, frozen=True):
    """Following segments whose text compresses too well; times in seconds."""

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
    """Find the same words repeated without anything between them.

    Args:
        segments: In order.
        times: How often they must at least be said.
        words: How many words all repetitions must at least have together.
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
    """Find the shortest stretches of following segments whose text compresses too well.

    Args:
        segments: In order.
        ratio: The most that is not too well; see `compression_ratio`.
        characters: Of a stretch's text, at least: shorter ones tell nothing.
        seconds: From a stretch's start to its end, at most, unless it is one segment. Any
            text compresses well if only it is long.
    """
    # From the last one on: a stretch that holds another one says no more.
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
    """How much smaller zlib makes a text; Whisper's measure, and for ASCII its values.

    Whisper compresses UTF-8, in which any text in Hindi or Thai passes for a
    loop: three bytes a character, two of them always the same. Here a character is
    one byte in every script, so that a limit says the same in all of them.
    """
    codes: dict[str, int] = {}
    data = bytes(
        ord(character)
        if character.isascii()
        else _BYTES_BEYOND_ASCII + codes.setdefault(character, len(codes)) % _BYTES_BEYOND_ASCII
        for character in text
    )
    return len(data) / len(zlib.compress(data))


def _runs(equal: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First index and length of each stretch of truths."""
    edges = np.flatnonzero(np.diff(equal, prepend=False, append=False))
    for first, behind in edges.reshape(-1, 2).tolist():
        yield first, behind - first


def _tokens(segment: Segment) -> Iterator[_Token]:
    """The segment's words without case and punctuation; where they lack times, they share."""
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
