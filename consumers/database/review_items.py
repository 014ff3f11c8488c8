"""Review items, as the stage `review` writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from consumers.database.repository import Repository
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.reviewable import Reviewable
from consumers.documents.transcript import Segment, Transcript
from consumers.documents.verdict import PolicyFinding
from events.keys import AudioId, BatchId

#: Most bytes of transcripts on a page, as Postgres stores them (compressed), and most recordings.
_PAGE_BYTES = 256 << 10
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """When a batch's last recording was done, and when its review items were made."""

    completed_at: datetime | None
    itemised_at: datetime | None


class ReviewItemRepository(Repository):
    """Review items, and the recordings of which they are made."""

    def progress(self, batch: BatchId) -> ReviewProgress:
        """Read a batch's progress towards review."""
        rows = self._values(ReviewProgress, "review_round", batch_id=str(batch))
        return rows[0] if rows else ReviewProgress(None, None)

    def recordings(self, batch: BatchId) -> Iterator[Reviewable]:
        """Read the batch's recordings that have a transcript, in order, page by page."""
        for rows in self._pages(
            "reviewable_recordings",
            by="ordinal",
            after=-1,
            batch_id=str(batch),
            limit=_PAGE,
            bytes=_PAGE_BYTES,
        ):
            yield from map(_reviewable, rows)

    def put_items(self, items: Sequence[ReviewItem]) -> None:
        """Write items; those with a decision stay as they are."""
        self._execute("put_review_items", items=Jsonb([_row(item) for item in items]))

    def supersede(self, batch: BatchId, current: Collection[str]) -> None:
        """Take the batch's undecided items from the queue, but for those with ``current`` ids."""
        self._execute("supersede_review_items", batch_id=str(batch), current=list(current))

    def itemised(self, batch: BatchId, completed_at: datetime) -> None:
        """Record that the items are made for this completion of the batch."""
        self._execute("mark_itemised", batch_id=str(batch), completed_at=completed_at)

    def stall(self, batch: BatchId, error: str) -> None:
        """Record why the batch's items are not made."""
        self._execute("stall_review", batch_id=str(batch), stalled=error)


def _row(item: ReviewItem) -> dict[str, Any]:
    return {
        **item.to_document(),
        "batch_id": str(item.audio.batch),
        "ordinal": item.audio.ordinal,
        "starts": item.start,
        "ends": item.end,
        "clip_starts": item.clip_start,
    }


def _reviewable(row: dict[str, Any]) -> Reviewable:
    audio = AudioId(BatchId(row["batch_id"]), row["ordinal"])
    duration = row["duration"] or 0.0
    return Reviewable(
        audio=audio,
        path=row["path"],
        duration=duration,
        flagged=row["flagged"],
        findings=msgspec.convert(row["findings"], tuple[PolicyFinding, ...]),
        transcript=Transcript(
            audio_id=str(audio),
            state="transcribed",
            reason=None,
            duration=duration,
            language=row["language"],
            language_probability=row["language_probability"],
            model=row["model"],
            alignment=row["alignment"],
            segments=msgspec.convert(row["segments"], tuple[Segment, ...]),
        ),
    )
