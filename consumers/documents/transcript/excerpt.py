"""The words of a passage. Times are seconds from the recording's start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consumers.documents.transcript import Segment, Transcript
from consumers.documents.transcript.character_times import CharacterTimes


def text_between(transcript: Transcript, start: float, end: float) -> str:
    """Give what is said between two times, in one line.

    Of a segment that is only partly between them, those words are whose middle is.
    Where that leaves none, as in a script without spaces, it is the whole segment.
    """
    heard = [each for each in transcript.segments if each.start <= end and start <= each.end]
    words = _line(word for segment in heard for word in _words_between(segment, start, end))
    return words or _line(segment.text for segment in heard)


def _line(parts: Iterable[str]) -> str:
    # Without the one character that Postgres does not hold.
    return " ".join(" ".join(parts).replace("\x00", "\ufffd").split())


def _words_between(segment: Segment, start: float, end: float) -> Iterator[str]:
    if start <= segment.start and segment.end <= end:
        yield segment.text
        return
    clock = CharacterTimes(segment)
    offset = 0
    for word in segment.text.split():
        begin, offset = offset, offset + len(word)
        middle = (clock.start_of(begin) + clock.end_of(offset)) / 2
        if start <= middle < end:
            yield word
