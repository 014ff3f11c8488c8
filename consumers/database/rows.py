"""The tables' rows as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, Self, TypeVar

import msgspec

from consumers.documents.audio_properties import AudioProperties
from consumers.documents.manifest import Archive, ManifestEntry
from consumers.documents.note import Note
from consumers.documents.transcript import Transcript
from events.keys import AudioId, BatchId

T = TypeVar("T")

#: Columns that hold notes.
_NOTES = frozenset({"notes", "transcript_notes"})

RecordingState = Literal["converted", "transcribed", "moderated", "silent", "rejected"]
BatchState = Literal["waiting", "unpacking", "transcribing", "complete", "failed"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One member of an archive that is, or should have been, a recording.

    Its properties are those of `AudioProperties`, language and text the transcript's.

    Attributes:
        path: The member's path in the archive, safe to show.
        reason: Why it was rejected, or why there is no text.
        flagged: Whether a policy flags it; None where none was asked.
        verdict_reason: Why none was.
        stalled: Why it is stuck: its event is a dead letter.
        notes: Of the conversion: what is lost, guessed or doubtful.
        tags: What the recording says about itself. None where a stage wrote the row that knows
            neither them nor more notes than the Opus object's metadata holds.
        transcript_notes: Notes of the transcription.
    """

    audio: AudioId
    state: RecordingState
    path: str
    reason: str | None = None
    duration: float | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    loudness_dbfs: float | None = None
    source_sha256: str | None = None
    opus_key: str | None = None
    transcript_key: str | None = None
    verdict_key: str | None = None
    flagged: bool | None = None
    verdict_reason: str | None = None
    stalled: str | None = None
    language: str | None = None
    text: str | None = None
    notes: tuple[Note, ...] = ()
    tags: dict[str, str] | None = None
    transcript_notes: tuple[Note, ...] = ()

    @property
    def all_notes(self) -> tuple[Note, ...]:
        """The notes of all stages."""
        return (*self.notes, *self.transcript_notes)

    def to_row(self) -> dict[str, object]:
        """Values by column; `values_of` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["audio"]
        return {
            **values,
            "batch_id": str(self.audio.batch),
            "ordinal": self.audio.ordinal,
            "reason": storable(self.reason),
            "notes": note_values(self.notes),
            "tags": storable(self.tags),
            "transcript_notes": note_values(self.transcript_notes),
        }

    @classmethod
    def converted(
        cls, audio: AudioId, path: str, properties: AudioProperties, notes: tuple[Note, ...] = ()
    ) -> Self:
        """Make the row of a recording whose Opus object is stored."""
        return cls(
            audio=audio,
            state="converted",
            path=path,
            duration=properties.duration,
            codec=properties.codec,
            sample_rate=properties.sample_rate,
            channels=properties.channels,
            loudness_dbfs=properties.loudness_dbfs,
            source_sha256=properties.source_sha256,
            opus_key=audio.opus_key,
            notes=notes,
        )

    def transcribed(self, transcript: Transcript) -> Self:
        """Add what the transcript, whose object is stored, says about the recording."""
        return replace(
            self,
            state=transcript.state,
            reason=transcript.reason,
            transcript_key=self.audio.transcript_key,
            transcript_notes=tuple(note for note in transcript.notes if note not in self.notes),
        )

    @classmethod
    def of_entry(cls, batch: BatchId, entry: ManifestEntry) -> Self | None:
        """Make the row of a manifest's entry; None for an ignored member."""
        audio = AudioId(batch, entry.ordinal)
        if entry.outcome == "ignored":
            return None
        if entry.facts is None:
            row = cls(audio, "rejected", entry.path)
        else:
            row = cls.converted(audio, entry.path, entry.facts)
        return replace(row, reason=entry.reason, notes=entry.notes, tags=entry.tags)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A small text of an archive, by which recordings of its name are found."""

    audio: AudioId
    path: str
    text: str

    @classmethod
    def of_entry(cls, batch: BatchId, entry: ManifestEntry) -> Self | None:
        """Make the row of a manifest's entry; None for one without a text."""
        if entry.text is None:
            return None
        return cls(AudioId(batch, entry.ordinal), entry.path, entry.text)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the conversion of a recording found beside its sound, as `Recording` has it."""

    notes: tuple[Note, ...]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Original:
    """An earlier recording of the same bytes."""

    audio: AudioId
    path: str
    transcript_key: str | None


def archive_columns(archive: Archive | None) -> dict[str, object]:
    """The columns of `batches` that describe an archive; NULL where it is unknown."""
    if archive is None:
        return dict.fromkeys(("archive_key", "etag", "size", "original_name", "dropped_at"))
    return {
        "archive_key": archive.key,
        "etag": archive.etag,
        "size": archive.size,
        "original_name": archive.original_name,
        "dropped_at": archive.dropped_at,
    }


@dataclass(frozen=True, slots=True)
class Batch:
    """One archive's row.

    Times are None until what they are named after happened; ``itemised_at`` is when the
    batch's review items were made. ``stalled`` says why it is stuck: its event is a dead letter.
    The notes are about the archive as a whole. ``is_kept`` says whether the archive does not
    expire by itself, as something of it is missing from the result.
    """

    batch: BatchId
    archive_key: str | None
    etag: str | None
    size: int | None
    original_name: str | None
    dropped_at: datetime | None
    sealed_at: datetime | None
    completed_at: datetime | None
    announced_at: datetime | None
    ignored: int | None
    failure: str | None
    stalled: str | None
    is_moderated: bool
    itemised_at: datetime | None
    notes: tuple[Note, ...]
    is_kept: bool

    @property
    def state(self) -> BatchState:
        """How far the batch is.

        ``failed`` is a batch whose archive could not be read, or not to its
        end: its readable part is processed all the same.
        """
        if self.announced_at is not None:
            return "failed" if self.failure else "complete"
        if self.sealed_at is not None:
            return "transcribing"
        return "unpacking" if self.archive_key else "waiting"


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One transcript that a search found."""

    audio: AudioId
    path: str
    language: str | None
    passage: str


def storable(value: Any) -> Any:
    """Replace NUL, which neither text nor jsonb can hold, in texts at any depth."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case dict():
            return {name: storable(item) for name, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value


def note_values(notes: Iterable[Note]) -> list[Any]:
    """The form of notes in a column."""
    values: list[Any] = storable(msgspec.to_builtins(tuple(notes)))
    return values


def values_of(kind: type[T], rows: Iterable[dict[str, Any]]) -> list[T]:
    """Make values of a dataclass, whose fields are named after columns.

    A field ``batch`` or ``audio`` takes the ids in ``batch_id`` and ``ordinal``. Columns that
    are not fields are left out. Columns of notes become tuples of `Note`.
    """
    names = kind.__annotations__.keys()
    values = []
    for row in rows:
        if "audio" in names:
            row["audio"] = AudioId(BatchId(row["batch_id"]), row["ordinal"])
        if "batch" in names:
            row["batch"] = BatchId(row["batch_id"])
        for name in names & _NOTES:
            row[name] = msgspec.convert(row[name], tuple[Note, ...])
        values.append(kind(**{name: row[name] for name in names}))
    return values
