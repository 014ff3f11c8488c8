"""A review item together with its decisions and its place in the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from consumers.documents.review.decision import Answer, Decision
from consumers.documents.review.item import ReviewItem

ReviewState = Literal["open", "claimed", "decided", "disputed"]

#: Undecided and free, undecided and claimed, decided, and decided both ways.
REVIEW_STATES: tuple[ReviewState, ...] = get_args(ReviewState)


@dataclass(frozen=True, slots=True)
class ReviewedItem:
    """An item, and its reviewers' work on it.

    Attributes:
        item: The item.
        state: See `REVIEW_STATES`. A ``disputed`` item has been upheld and rejected.
        decisions: All of them, in the order in which they were made.
        claimed_by: The reviewer who holds it now.
        claimed_until: When that ends, unless the item is decided before.
        is_superseded: Whether its recording was processed again, without this finding.
    """

    item: ReviewItem
    state: ReviewState
    decisions: tuple[Decision, ...] = ()
    claimed_by: str | None = None
    claimed_until: datetime | None = None
    is_superseded: bool = False

    @property
    def latest(self) -> Mapping[str, Answer]:
        """Each reviewer's latest answer, in the order of their first ones."""
        return {each.reviewer: each.decision for each in self.decisions}

    def unseen(self) -> ReviewedItem:
        """The same item without the decisions of others."""
        return replace(self, state="claimed", decisions=())

    def to_document(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        until = self.claimed_until
        return {
            **self.item.to_document(),
            "state": self.state,
            "claimed_by": self.claimed_by,
            "claimed_until": until.isoformat() if until else None,
            "superseded": self.is_superseded,
            "decisions": [decision.to_document() for decision in self.decisions],
        }
