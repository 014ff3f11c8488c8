"""The announcement that a batch is complete: ``.complete.json``."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from consumers.documents.codec import BatchIdText, Count, Document, Time


class BatchCompletion(Document, frozen=True):
    """A batch's end.

    Attributes:
        batch_id: The batch's id.
        state: ``failed`` where the archive could not be read, or not to its end.
        failure: Why it could not.
        completed_at: When the last recording was done.
        counts: Recordings by the state in which they ended.
        moderated: Whether they were checked against policies; None in documents from before
            there were any.
        flagged: Recordings that a policy flags; None as for ``moderated``.
        with_losses: Recordings with a note of missing sound; None in early documents.
        notes: Notes about recordings, by code.
    """

    NOUN: ClassVar[str] = "the announcement of completion"

    batch_id: BatchIdText
    state: Literal["complete", "failed"]
    failure: str | None
    completed_at: Time
    counts: dict[str, Count]
    moderated: bool | None = None
    flagged: Count | None = None
    with_losses: Count | None = None
    notes: dict[str, Count] = msgspec.field(default_factory=dict)
