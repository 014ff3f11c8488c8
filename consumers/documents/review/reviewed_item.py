"""An item together with what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from consumers.documents.review.decision import Answer, Decision
from consumers.documents.review.item import ReviewItem

ReviewState = Literal["open", "claimed", "decided", "disputed"]

#: Undecided and free, undecided and in somebody's hands, decided, and decided both ways.
REVIEW_STATES: tuple[ReviewState, ...] = get_args(ReviewState)


@dataclass(frozen=True, slots=True)
class ReviewedItem:
    """An item, and what people did with it.

    Attributes:
        item: The item.
        state: See `REVIEW_STATES`. ``disputed`` is one that somebody upholds and somebody rejects.
        decisions: All of them, in the order in which they were made.
        claimed_by: Who has it in hand at this moment.
        claimed_until: Until when, unless it is decided before.
        is_superseded: Whether its recording was done again, and this is no finding any more.
    """

    item: ReviewItem
    state: ReviewState
    decisions: tuple[Decision, ...] = ()
    claimed_by: str | None = None
    claimed_until: datetime | None = None
    is_superseded: bool = False

    @property
    def latest(self) -> Mapping[str, Answer]:
        """What each reviewer says in the end, in the order in which they first did."""
        return {each.reviewer: each.decision for each in self.decisions}

    def unseen(self) -> ReviewedItem:
        """Give the same without what others decided."""
        return replace(self, state="claimed", decisions=())

    def to_document(self) -> dict[str, Any]:
        """Give what ``--json`` says of it."""
        until = self.claimed_until
        return {
            **self.item.to_document(),
            "state": self.state,
            "claimed_by": self.claimed_by,
            "claimed_until": until.isoformat() if until else None,
            "superseded": self.is_superseded,
            "decisions": [decision.to_document() for decision in self.decisions],
        }
