"""The review queue, as reviewers use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from consumers.database.repository import Repository
from consumers.documents.review.decision import Decision
from consumers.documents.review.item import ItemKind, ReviewItem
from consumers.documents.review.reviewed_item import ReviewedItem, ReviewState
from consumers.errors import PermanentError
from events.keys import AudioId, BatchId

#: Items per query.
_PAGE = 500

#: Longer than it takes to store a decision.
_HOLD = timedelta(minutes=1)


class NoItemError(PermanentError):
    """There is no such review item."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"there is no review item {item_id}")


class HeldError(PermanentError):
    """Another reviewer holds the item."""

    def __init__(self, item_id: str, holder: str | None, until: datetime | None) -> None:
        time = f" until {until:%Y-%m-%d %H:%M:%S %Z}" if until else ""
        super().__init__(
            f"{item_id} is claimed by {holder or 'another reviewer'}{time}: "
            "'dropscribe review next' gives one that is free"
        )


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """A choice of items, which match all fields that are not None."""

    batch: BatchId | None = None
    policy: str | None = None
    kind: ItemKind | None = None

    def parameters(self) -> dict[str, object]:
        """The queries' parameters."""
        batch = None if self.batch is None else str(self.batch)
        return {"batch": batch, "policy": self.policy, "kind": self.kind}


class ReviewQueueRepository(Repository):
    """Items in the order of the queue, claims on them, and decisions."""

    def items(
        self, chosen: ItemFilter, state: ReviewState | None, limit: int
    ) -> list[ReviewedItem]:
        """Read at most ``limit`` items in the queue's order, of one state or of all.

        Outdated items are included only if they have a decision.
        """
        rows = self._rows(
            "review_items", **chosen.parameters(), items=None, state=state, limit=limit
        )
        return [_reviewed(row) for row in rows]

    def item(self, item_id: str) -> ReviewedItem:
        """Return one item; `NoItemError` if there is none."""
        for found in self._by_ids([item_id]):
            return found
        raise NoItemError(item_id)

    def all(self, batch: BatchId | None = None) -> Iterator[ReviewedItem]:
        """Read all items, or a batch's, by recording, page by page."""
        chosen = ItemFilter(batch).parameters()
        for rows in self._pages("review_item_ids", by="item_id", after="", limit=_PAGE, **chosen):
            yield from sorted(self._by_ids([row["item_id"] for row in rows]), key=_position)

    def claim(
        self, reviewer: str, lease: timedelta, chosen: ItemFilter, *, second: bool = False
    ) -> ReviewedItem | None:
        """Claim the next of the chosen items for a reviewer; None where none is left.

        No two reviewers ever hold the same item. The item that the reviewer holds already
        comes first, with a new lease.

        Args:
            reviewer: The reviewer.
            lease: How long the item is reserved.
            chosen: The items to choose from.
            second: Claim an item that exactly one other reviewer decided, for a second
                opinion, instead of an undecided one.
        """
        parameters = dict(chosen.parameters(), reviewer=reviewer, lease=lease, second=second)
        while True:
            with self._transaction() as connection:
                chosen_row = connection.execute(
                    self._sql["choose_review_item"], parameters
                ).fetchone()
                if chosen_row is None:
                    return None
                claimed = connection.execute(
                    self._sql["claim_review_item"], {**parameters, **chosen_row}
                ).fetchone()
            if claimed is not None:
                return self.item(str(claimed["item_id"]))

    def hold(self, item_id: str, reviewer: str) -> None:
        """Reserve an item while a decision about it is stored.

        Raises:
            HeldError: Another reviewer holds it.
            NoItemError: No item has that id.
        """
        if not self._rows("hold_review_item", item_id=item_id, reviewer=reviewer, lease=_HOLD):
            found = self.item(item_id)
            raise HeldError(item_id, found.claimed_by, found.claimed_until)

    def put_decision(self, decision: Decision) -> None:
        """Write a decision, and end its reviewer's claim.

        The item has to exist. A decision that exists stays as it is.
        """
        document = decision.to_document()
        parameters = {
            **document,
            "item_id": decision.item.item_id,
            "decided_at": decision.decided_at,
            "corrections": Jsonb(document["corrections"]),
        }
        self._execute_all("put_review", "release_review_item", **parameters)

    def _by_ids(self, ids: Sequence[str]) -> Iterator[ReviewedItem]:
        chosen = ItemFilter().parameters()
        rows = self._rows("review_items", **chosen, items=ids, state=None, limit=None)
        return map(_reviewed, rows)


def _position(reviewed: ReviewedItem) -> tuple[AudioId, float, str]:
    return reviewed.item.audio, reviewed.item.start, reviewed.item.item_id


def _reviewed(row: Mapping[str, Any]) -> ReviewedItem:
    stored = {
        **row,
        "audio_id": str(AudioId(BatchId(row["batch_id"]), row["ordinal"])),
        "start": row["starts"],
        "end": row["ends"],
        "clip_start": row["clip_starts"],
    }
    item = msgspec.convert(stored, ReviewItem)
    is_claimed = row["is_claimed"]
    return ReviewedItem(
        item=item,
        state=row["state"],
        decisions=tuple(
            msgspec.convert({**each, "item": item}, Decision) for each in row["decisions"]
        ),
        claimed_by=row["claimed_by"] if is_claimed else None,
        claimed_until=row["claimed_until"] if is_claimed else None,
        is_superseded=row["superseded_at"] is not None,
    )
