"""The review desk, where people decide on items."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from consumers.database.review_queue import ReviewQueueRepository
from consumers.documents.review.decision import Answer, Decision
from consumers.store import Store


class Desk:
    """Where decisions are made.

    Args:
        store: The bucket, which keeps them.
        reviewing: The queue, which is told of them.
        now: Tells the time.
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
        """Decide about an item, also about one that was decided before.

        The object is stored first, and is what counts: a row that is missing for it
        is written by ``rebuild``.

        Raises:
            NoItemError: There is no such item.
            HeldError: Somebody else has it in hand.
            WrongWordError: A word is corrected that it does not have.
        """
        # Looked at first, so that what can't be decided is not held.
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
