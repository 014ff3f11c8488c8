"""Collects notes on a recording; neighbouring passages of a kind become one."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from consumers.documents.note import Note, NoteCode

MOST_PASSAGES = 40
"""Of one recording; where there are more, those that are closest together become one."""
MOST_OTHERS = 20
"""Notes without a passage; a last one says how many more there are."""

LONGEST_TEXT = 250
"""Characters of a note's text."""

_NEIGHBOURS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Passage:
    code: NoteCode
    track: str
    start: float
    end: float
    silence: float
    packets: int

    def follows(self, other: _Passage) -> bool:
        return (self.code, self.track) == (other.code, other.track)

    def joined(self, later: _Passage) -> _Passage:
        return _Passage(
            self.code,
            self.track,
            min(self.start, later.start),
            max(self.end, later.end),
            self.silence + later.silence,
            self.packets + later.packets,
        )

    def note(self) -> Note:
        return Note(self.code, self._text(), round(self.start, 3), round(self.end, 3))

    def _text(self) -> str:
        silence = f"{self.silence:.2f} s"
        match self.code:
            case NoteCode.DAMAGED:
                packets = f" ({self.packets} packets)" if self.packets > 1 else ""
                text = f"{silence} of damaged sound{packets} are silence"
            case NoteCode.LATE_START:
                text = f"the sound begins {silence} after the file; until then there is silence"
            case _:
                text = f"the file has no sound for {silence}; there is silence instead"
        return self.track + text


class NoteLog:
    """The notes of one recording. Times are seconds from its start."""

    def __init__(self) -> None:
        self._passages: list[_Passage] = []
        self._others: list[Note] = []
        self._more = 0

    def silence(
        self, code: NoteCode, start: float, end: float, *, packets: int = 0, track: str = ""
    ) -> None:
        """Note silence that stands for sound that is not there; ``track`` introduces the text."""
        new = _Passage(code, track, start, end, end - start, packets)
        for index in range(len(self._passages) - 1, -1, -1):
            old = self._passages[index]
            if new.follows(old):
                if start - old.end < _NEIGHBOURS_SECONDS:
                    self._passages[index] = old.joined(new)
                    return
                break
        self._passages.append(new)
        if len(self._passages) > MOST_PASSAGES:
            self._join_closest()

    def add(self, note: Note) -> None:
        """Add a finished note; the same one is kept once, its text in ASCII and bounded."""
        text = note.text[:LONGEST_TEXT].encode("ascii", "replace").decode()
        note = msgspec.structs.replace(note, text=text)
        if note in self._others:
            return
        if len(self._others) < MOST_OTHERS:
            self._others.append(note)
        else:
            self._more += 1

    def result(self) -> tuple[Note, ...]:
        """Return all notes: those of the whole first, then passages in the order of time."""
        notes = list(self._others)
        if self._more:
            notes.append(Note(notes[-1].code, f"{self._more} more notes are left out"))
        passages = sorted(self._passages, key=lambda passage: passage.start)
        return (*notes, *(passage.note() for passage in passages))

    def _join_closest(self) -> None:
        """Join the two passages of a kind that have the least time between them."""
        latest: dict[tuple[NoteCode, str], int] = {}
        closest, pair = float("inf"), (0, 0)
        for index, passage in enumerate(self._passages):
            before = latest.get((passage.code, passage.track))
            if before is not None and passage.start - self._passages[before].end < closest:
                closest, pair = passage.start - self._passages[before].end, (before, index)
            latest[passage.code, passage.track] = index
        first, second = pair
        if first != second:
            self._passages[first] = self._passages[first].joined(self._passages.pop(second))
