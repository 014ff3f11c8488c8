"""What stands in the tables, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from consumers.errors import PermanentError
from events.keys import AudioId, BatchId

RecordingState = Literal["converted", "transcribed", "moderated", "silent", "rejected"]
BatchState = Literal["waiting", "unpacking", "transcribing", "complete", "failed"]


@dataclass(frozen=True, slots=True)
class Archive:
    """A dropped archive, as its batch's row keeps it."""

    batch: BatchId
    key: str
    etag: str
    size: int
    original_name: str | None
    dropped_at: datetime


def overwritten(archive: Archive) -> PermanentError:
    """Say that a batch id stands for other content already."""
    return PermanentError(
        f"{archive.key} was overwritten with other content: batch {archive.batch} stands for "
        "what was stored first. Drop the new content as a batch of its own."
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """One member of an archive that is, or should have been, a recording.

    Attributes:
        audio: Its id.
        state: How far it is.
        path: The member's path in the archive, safe to show.
        reason: Why it was rejected, or what is to be known of it.
        duration: Seconds.
        codec: The codec that it came in.
        sample_rate: Hz, of the source.
        channels: Of the source.
        loudness_dbfs: RMS over the whole recording; None for digital silence.
        source_sha256: Of the member's bytes, in hexadecimal.
        opus_key: Where it can be heard.
        transcript_key: Where its transcript is.
        verdict_key: Where is what the policies say of it.
        flagged: Whether one of them flags it; None where none was asked.
        verdict_reason: Why none was.
        stalled: Why it does not go on by itself.
        language: Of its transcript.
        text: Of its transcript.
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

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Read a row of `recordings_of_batch`."""
        return cls(
            audio=AudioId(BatchId(row["batch_id"]), row["ordinal"]),
            state=row["state"],
            path=row["path"],
            reason=row["reason"],
            duration=row["duration"],
            codec=row["codec"],
            sample_rate=row["sample_rate"],
            channels=row["channels"],
            loudness_dbfs=row["loudness_dbfs"],
            source_sha256=row["source_sha256"],
            opus_key=row["opus_key"],
            transcript_key=row["transcript_key"],
            verdict_key=row["verdict_key"],
            flagged=row["flagged"],
            verdict_reason=row["verdict_reason"],
            stalled=row["stalled"],
            language=row["language"],
            text=row["text"],
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One archive's row."""

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

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Read a row of `batches`."""
        return cls(
            batch=BatchId(row["batch_id"]),
            archive_key=row["archive_key"],
            etag=row["etag"],
            size=row["size"],
            original_name=row["original_name"],
            dropped_at=row["dropped_at"],
            sealed_at=row["sealed_at"],
            completed_at=row["completed_at"],
            announced_at=row["announced_at"],
            ignored=row["ignored"],
            failure=row["failure"],
            stalled=row["stalled"],
            is_moderated=row["is_moderated"],
            itemised_at=row["itemised_at"],
        )

    @property
    def state(self) -> BatchState:
        """How far the batch is.

        ``failed`` is a batch whose archive could not be read, or not to its
        end: what was read of it is done all the same.
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

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Read a row of `search`."""
        return cls(
            audio=AudioId(BatchId(row["batch_id"]), row["ordinal"]),
            path=row["path"],
            language=row["language"],
            passage=row["passage"],
        )
