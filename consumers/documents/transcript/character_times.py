"""When each character of a segment is said, as well as is known."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from consumers.documents.transcript.document import Segment


class CharacterTimes:
    """Tells times within a segment by offsets: how many characters, without white space, before.

    They are the words' own times; between these, and where words have none or are
    not those of the text, time passes evenly with the characters. It never runs
    back, nor leaves the segment.
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
        """Tell when what begins at an offset begins: after the pause, if there is one."""
        index = bisect_right(self._offsets, offset)
        if index == len(self._offsets):
            return self._times[-1]
        return self._between(index - 1, offset)

    def end_of(self, offset: int) -> float:
        """Tell when what ends at an offset ends: before the pause, if there is one."""
        index = bisect_left(self._offsets, offset)
        return self._between(max(index - 1, 0), offset)

    def _between(self, index: int, offset: int) -> float:
        start, end = self._times[index], self._times[index + 1]
        first, last = self._offsets[index], self._offsets[index + 1]
        if first == last:
            return start
        return min(start + (end - start) * ((offset - first) / (last - first)), end)


def _known(segment: Segment) -> Iterator[tuple[int, float]]:
    """Give the offsets whose times are known, in order, the segment's ends among them."""
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
