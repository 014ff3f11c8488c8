"""Notes on a recording or a member: what is lost, guessed or doubtful, for the people who read it.

Each stage adds notes; none replaces another stage's. A reason, in contrast, says why something was
rejected.
"""

from __future__ import annotations

from enum import StrEnum

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
    #: The format was found by FFmpeg's probe, as no known signature was found.
    FORMAT_PROBED = "format_probed"
    #: The name follows the best evidence of several.
    NAME = "name"
    #: The archive contradicts itself about this member, or was repaired to read it.
    ARCHIVE = "archive"
    #: The same bytes are in another recording.
    DUPLICATE = "duplicate"


LOSSES = frozenset(
    {
        NoteCode.DAMAGED,
        NoteCode.BREAKS_OFF,
        NoteCode.UNREAD,
        NoteCode.UNDECODABLE_TRACK,
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
