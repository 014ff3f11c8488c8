"""The decisions of people on review items: `dropscribe review decide` stores them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from consumers.database.review_queue import ReviewQueueRepository
from consumers.documents.review.decision import Answer, Decision
from consumers.store import Store


@dataclass(frozen=True, slots=True)
class Desk:
    """Stores the decisions of reviewers in the bucket, and in the tables of the review queue."""

    store: Store
    reviewing: ReviewQueueRepository
    now: Callable[[], datetime]

    def decide(
        self,
        item_id: str,
        answer: Answer,
        *,
        reviewer: str,
        note: str | None,
        words: Mapping[int, str],
    ) -> Decision:
        """Store a decision about an item, which may have earlier decisions.

        The object is stored first and counts: ``rebuild`` writes a row that is missing for it.

        Raises:
            NoItemError: There is no such item.
            HeldError: Somebody else holds it.
            WrongWordError: A corrected word is not in the item.
        """
        # Read first, so that an item that cannot be decided is not held.
        item = self.reviewing.item(item_id).item
        decision = Decision.new(
            item,
            answer,
            reviewer=reviewer,
            now=self.now(),
            token=secrets.token_bytes(3),
            note=note,
            words=words,
        )
        self.reviewing.hold(item_id, reviewer)
        self.store.write(decision.key, decision.to_json(), content_type="application/json")
        self.reviewing.put_decision(decision)
        return decision
