"""Times within a transcript: of each character, and of the text between two times.

All are seconds from the recording's start.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from consumers.documents.transcript.document import Segment, Transcript


class CharacterTimes:
    """Times within a segment by offset: the number of characters before, without white space.

    The times are those of the words. Between them, and where words have no times or do not
    add up to the segment's text, time passes evenly with the characters. Times never
    decrease, nor leave the segment.
    """

    def __init__(self, segment: Segment) -> None:
        self._offsets: list[int] = []
        self._times: list[float] = []
        time, latest = segment.start, max(segment.start, segment.end)
        for offset, known in _known(segment):
            time = min(max(time, known), latest)
            self._offsets.append(offset)
            self._times.append(time)

    def start_of(self, offset: int) -> float:
        """The time at which a text begins: after the pause before it, if there is one."""
        index = bisect_right(self._offsets, offset)
        if index == len(self._offsets):
            return self._times[-1]
        return self._between(index - 1, offset)

    def end_of(self, offset: int) -> float:
        """The time at which a text ends: before the pause behind it, if there is one."""
        index = bisect_left(self._offsets, offset)
        return self._between(max(index - 1, 0), offset)

    def _between(self, index: int, offset: int) -> float:
        start, end = self._times[index], self._times[index + 1]
        first, last = self._offsets[index], self._offsets[index + 1]
        if first == last:
            return start
        return min(start + (end - start) * ((offset - first) / (last - first)), end)


def text_between(
    transcript: Transcript, start: float, end: float, channel: int | None = None
) -> str:
    """The text between two times, in one line; of one channel if it is given.

    Of a segment that is partly outside, the words count whose middle is inside. Where that
    leaves none, as in a script without spaces, the whole segment counts.
    """
    heard = [
        each
        for each in transcript.segments
        if each.start <= end and start <= each.end and channel in (None, each.channel)
    ]
    words = _line(word for segment in heard for word in _words_between(segment, start, end))
    return words or _line(segment.text for segment in heard)


def _known(segment: Segment) -> Iterator[tuple[int, float]]:
    """The offsets whose times are known, in order, with the segment's ends."""
    text = "".join(segment.text.split())
    words = ["".join(word.text.split()) for word in segment.words]
    yield 0, segment.start
    if "".join(words) == text:
        offset = 0
        for word, letters in zip(segment.words, words, strict=True):
            if word.start is not None:
                yield offset, word.start
            offset += len(letters)
            if word.end is not None:
                yield offset, word.end
    yield len(text), segment.end


def _line(parts: Iterable[str]) -> str:
    # Postgres cannot store NUL.
    return " ".join(" ".join(parts).replace("\x00", "\ufffd").split())


def _words_between(segment: Segment, start: float, end: float) -> Iterator[str]:
    if start <= segment.start and segment.end <= end:
        yield segment.text
        return
    times = CharacterTimes(segment)
    offset = 0
    for word in segment.text.split():
        begin, offset = offset, offset + len(word)
        middle = (times.start_of(begin) + times.end_of(offset)) / 2
        if start <= middle < end:
            yield word
