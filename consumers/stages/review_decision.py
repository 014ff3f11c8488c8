"""The decisions of people on review items: `dropscribe review decide` stores them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from consumers.database.review_queue import ReviewQueueRepository
from consumers.documents.review.decision import Answer, Decision
from consumers.store import Store


class Desk:
    """Stores the decisions of reviewers.

    Args:
        store: The bucket, which keeps the decisions.
        reviewing: The tables of the review queue.
        now: Gives the current time.
        token: Gives three random bytes.
    """

    def __init__(
        self,
        store: Store,
        reviewing: ReviewQueueRepository,
        now: Callable[[], datetime],
        token: Callable[[], bytes] = lambda: secrets.token_bytes(3),
    ) -> None:
        self._store = store
        self._reviewing = reviewing
        self._now = now
        self._token = token

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
        item = self._reviewing.item(item_id).item
        decision = Decision.new(
            item,
            answer,
            reviewer=reviewer,
            now=self._now(),
            token=self._token(),
            note=note,
            words=words,
        )
        self._reviewing.hold(item_id, reviewer)
        self._store.write(decision.key, decision.to_json(), content_type="application/json")
        self._reviewing.put_decision(decision)
        return decision
