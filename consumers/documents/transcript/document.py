"""The transcript of one recording.

Times are seconds from the recording's start. Words that the aligner could not
place have no times; without an alignment model a segment has no words at all.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from consumers.documents.codec import Document
from consumers.documents.note import Note

TranscriptState = Literal["transcribed", "silent", "rejected"]

#: The level of digital silence, which has none, and of everything quieter: a third of a
#: 16-bit step.
QUIETEST_DBFS = -100.0


class Word(msgspec.Struct, frozen=True):
    """One word; ``score`` is the aligner's confidence, from 0 to 1."""

    text: str
    start: float | None
    end: float | None
    score: float | None


class Segment(msgspec.Struct, frozen=True):
    """A stretch of speech.

    Attributes:
        start: Seconds, as ``end`` is.
        end: May exceed the recording's duration a little.
        text: The words as the recogniser wrote them.
        avg_logprob: Whisper's mean log probability per token.
        words: With their times, where an alignment model placed them.
        loudness_dbfs: RMS of its sound in its own channel in dB of full scale, at least
            `QUIETEST_DBFS`. None where it was not measured, as in early transcripts.
        channel: The channel in which it was said, counted from 1; None in a recording with one
            channel. Segments of different channels may overlap.
        language: As a code of Whisper's, in a recording whose channels differ in language.
    """

    start: float
    end: float
    text: str
    avg_logprob: float | None
    words: tuple[Word, ...]
    loudness_dbfs: float | None = None
    channel: int | None = None
    language: str | None = None

    @property
    def has_words(self) -> bool:
        """Whether the text holds a letter or a digit."""
        return any(map(str.isalnum, self.text))


class Transcript(Document, frozen=True):
    """The transcript of one recording.

    Attributes:
        audio_id: The recording's id.
        state: ``silent`` and ``rejected`` recordings have no segments.
        reason: Why there is no text (silent, rejected, no speech found). In early transcripts
            also why words have no times.
        duration: Seconds.
        language: As a code of Whisper's; where channels differ, the one that is spoken longest.
        language_probability: None where the language was not detected but configured.
        model: The speech model.
        alignment: The model that placed the words; None where none did.
        segments: By start, those with the same start by channel.
        notes: What is lost, guessed or doubtful: of the conversion first, then of the
            transcription. Where they exceed an object's metadata, those of the conversion are
            cut, and the manifest has them whole.
    """

    NOUN: ClassVar[str] = "the transcript"

    audio_id: str
    state: TranscriptState
    reason: str | None
    duration: float
    language: str | None
    language_probability: float | None
    model: str | None
    alignment: str | None
    segments: tuple[Segment, ...]
    notes: tuple[Note, ...] = ()

    @property
    def text(self) -> str:
        """The whole text, in one line."""
        return " ".join(segment.text for segment in self.segments).strip()
