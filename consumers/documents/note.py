"""Notes on a recording or a member: what is lost, guessed or doubtful, for the people who read it.

Each stage adds notes; none replaces another stage's. A reason, in contrast, says why something was
rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from urllib.parse import quote

import msgspec


class NoteCode(StrEnum):
    """Kinds of notes. Programs tell them apart by these; the texts are for people."""

    #: Sound could not be decoded; silence of its length stands in its place.
    DAMAGED = "damaged"
    #: The sound ends before the length that the file declares.
    BREAKS_OFF = "breaks_off"
    #: The file holds more sound than it declares, and all of it was read.
    LONGER_THAN_DECLARED = "longer_than_declared"
    #: A part of the file was not read.
    UNREAD = "unread"
    #: An audio track cannot be decoded at all.
    UNDECODABLE_TRACK = "undecodable_track"
    #: The container has no sound for a time; silence of its length stands there.
    GAP = "gap"
    #: The sound begins later than the container.
    LATE_START = "late_start"
    #: The file's timestamps contradict themselves; the sound is counted on instead.
    TIMESTAMPS = "timestamps"
    #: Channels or tracks without audible sound were left out.
    SILENT_CHANNEL = "silent_channel"
    #: Channels or tracks that repeat another one were left out.
    DUPLICATE_CHANNEL = "duplicate_channel"
    #: A channel of opposite phase was inverted, so that the mix does not cancel.
    OPPOSITE_PHASE = "opposite_phase"
    #: Channels that hold different voices are kept apart.
    CHANNELS_SPLIT = "channels_split"
    #: Channels were mixed into one, on a setting or since there were too many.
    CHANNELS_MIXED = "channels_mixed"
    #: A channel's speech could not be recognised; the other channels' was.
    UNHEARD_CHANNEL = "unheard_channel"
    #: Captions without a letter or a digit were left out; the recogniser makes them up.
    WORDLESS = "wordless"
    #: The format was found by FFmpeg's probe, as no known signature was found.
    FORMAT_PROBED = "format_probed"
    #: The name follows the best evidence of several.
    NAME = "name"
    #: The archive contradicts itself about this member, or was repaired to read it.
    ARCHIVE = "archive"
    #: The same bytes are in another recording.
    DUPLICATE = "duplicate"
    #: Words of the transcript, or all of them, have no times of their own.
    NO_WORD_TIMES = "no_word_times"
    #: There are more notes than the metadata of an object holds; the manifest has them all.
    NOTES_LEFT_OUT = "notes_left_out"


LOSSES = frozenset(
    {
        NoteCode.DAMAGED,
        NoteCode.BREAKS_OFF,
        NoteCode.UNREAD,
        NoteCode.UNDECODABLE_TRACK,
        NoteCode.UNHEARD_CHANNEL,
    }
)
"""Notes of sound that is missing from the result. Their archive does not expire by itself."""


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """A note.

    Attributes:
        code: The kind of note.
        text: For people: one sentence without a full stop.
        start: Seconds from the recording's start; None where no passage is concerned.
        end: Likewise, the end of the passage.
    """

    code: NoteCode
    text: str
    start: float | None = msgspec.field(name="from", default=None)
    end: float | None = msgspec.field(name="to", default=None)

    @property
    def is_loss(self) -> bool:
        """Whether sound is missing from the result."""
        return self.code in LOSSES


#: What ends a note, and a field of it, in `packed_notes`.
_END, _FIELD_END = "|", ";"

#: The most characters of a text; it becomes shorter until all notes fit.
_TEXT_LENGTHS = (300, 150, 80, 40, 20, 0)

_MORE = "+"


def packed_notes(notes: Sequence[Note], room: int) -> str:
    """Write notes compactly, within ``room`` bytes of percent-encoded text.

    Texts are cut first. Where even codes and times do not fit, the last notes are left out, those
    about missing sound after all others, and their number is written.
    """
    kept = sorted(notes, key=lambda note: not note.is_loss)
    for longest in _TEXT_LENGTHS:
        text = _END.join(_packed(note, longest) for note in kept)
        if _size(text) <= room:
            return text
    while kept:
        kept.pop()
        more = f"{_MORE}{len(notes) - len(kept)}"
        text = _END.join([*(_packed(note, 0) for note in kept), more])
        if _size(text) <= room:
            return text
    return ""


def unpacked_notes(text: str) -> tuple[Note, ...]:
    """Read what `packed_notes` wrote; notes of kinds that are unknown here are skipped."""
    return tuple(_unpacked(text))


def _size(text: str) -> int:
    return len(quote(text, safe=" /:;,.=+()'|"))


def _packed(note: Note, longest: int) -> str:
    text = note.text.replace(_END, "/")
    if len(text) > longest:
        text = text[:longest].rstrip() + "..."
    return _FIELD_END.join([note.code.value, _seconds(note.start), _seconds(note.end), text])


def _seconds(time: float | None) -> str:
    return "" if time is None else f"{time:.3f}".rstrip("0").rstrip(".")


def _unpacked(text: str) -> Iterator[Note]:
    for each in text.split(_END) if text else ():
        if each.startswith(_MORE):
            more = f"{each[1:]} more notes are in the manifest"
            yield Note(NoteCode.NOTES_LEFT_OUT, more)
            continue
        try:
            code, start, end, words = each.split(_FIELD_END, 3)
            yield Note(NoteCode(code), words, *(float(t) if t else None for t in (start, end)))
        except ValueError:
            continue
