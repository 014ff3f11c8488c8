"""Restoring a batch's review items and decisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

from consumers.database.rebuild import RebuildRepository
from consumers.database.review_items import ReviewItemRepository
from consumers.database.review_queue import ReviewQueueRepository
from consumers.documents.review.decision import Decision
from consumers.documents.review.item_list import read_items
from consumers.errors import PermanentError
from consumers.portions import portions
from consumers.store import Store
from consumers.store.scratch import Scratch
from events.keys import BatchId, DecisionKey, MalformedKeyError, parse_key

#: Rows per statement.
_TOGETHER = 100


class ReviewRestorer:
    """Restores the review queue.

    Args:
        store: The bucket.
        itemising: Writes items.
        reviewing: Writes decisions.
        rows: Writes batches.
        scratch: For the list of items.
    """

    def __init__(
        self,
        *,
        store: Store,
        itemising: ReviewItemRepository,
        reviewing: ReviewQueueRepository,
        rows: RebuildRepository,
        scratch: Scratch,
    ) -> None:
        self._store = store
        self._itemising = itemising
        self._reviewing = reviewing
        self._rows = rows
        self._scratch = scratch

    def put_back(self, batch: BatchId) -> None:
        """Restore a batch's items and decisions; existing ones stay.

        A list of items that is older than the batch's last completion may lack some: then
        the batch counts as not itemised, and a sweep resends its event.

        Raises:
            PermanentError: A stored document cannot be read; everything else is written.
        """
        damaged = [error for key in self._decisions(batch) if (error := self._put_decision(key))]
        stored = self._store.head(batch.review_key)
        if stored is not None:
            self._put_items(batch)
            announced = self._store.head(batch.complete_key)
            if announced is not None and announced.last_modified <= stored.last_modified:
                self._rows.itemised(batch, stored.last_modified)
        if damaged:
            raise PermanentError("; ".join(damaged))

    def _put_decision(self, key: str) -> str | None:
        """Write a decision and its item; returns the error, if any."""
        try:
            decision = Decision.from_json(self._store.read(key), key)
        except PermanentError as exc:
            return str(exc)
        # Its item may be of an earlier round, and in no list.
        self._itemising.put_items([decision.item])
        self._reviewing.put_decision(decision)
        return None

    def take_out(self, batch: BatchId) -> None:
        """Take a batch's undecided items from the queue."""
        self._itemising.supersede(batch, ())

    def _decisions(self, batch: BatchId) -> Iterator[str]:
        for key in self._store.keys(f"{batch.prefix}."):
            try:
                parsed = parse_key(key)
            except MalformedKeyError:
                continue
            if isinstance(parsed, DecisionKey):
                yield key

    def _put_items(self, batch: BatchId) -> None:
        ids = []
        with self._scratch.file() as file:
            self._store.download(batch.review_key, file)
            file.seek(0)
            items = read_items(cast("BinaryIO", file), batch.review_key)
            for together in portions(items, _TOGETHER):
                self._itemising.put_items(together)
                ids += [item.item_id for item in together]
        self._itemising.supersede(batch, ids)
