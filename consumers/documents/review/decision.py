"""A reviewer's decision about an item, stored together with the item."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import msgspec

from consumers.documents.codec import Document, Text, Time, stored_form
from consumers.documents.review.item import ReviewItem
from consumers.errors import PermanentError
from events.keys import DECISION

Answer = Literal["uphold", "reject", "unsure"]

#: About the machine's finding: it is right, it is wrong, or nobody can tell.
ANSWERS: tuple[Answer, ...] = get_args(Answer)


class WrongWordError(PermanentError):
    """A correction names a word that the passage does not have."""


class Correction(msgspec.Struct, frozen=True):
    """A word that the recogniser got wrong.

    Attributes:
        word: Its number in the passage, from 1.
        was: The transcript's word.
        right: The words that were said; empty where there was none.
    """

    word: Annotated[int, msgspec.Meta(ge=1)]
    was: Text
    right: Text = msgspec.field(name="is")


class Decision(Document, frozen=True):
    """One person's final answer about one item; to correct it, decide again.

    Attributes:
        review_id: The time and the token in its object's key.
        decision: Whether the machine's finding is right.
        reviewer: Who decided.
        decided_at: When, in UTC.
        note: The reviewer's remark.
        corrections: Of words, by number.
        item: The item that it is about.
    """

    NOUN: ClassVar[str] = "the decision"

    review_id: Text
    decision: Answer
    reviewer: Text
    decided_at: Time
    note: Text | None
    corrections: tuple[Correction, ...]
    item: ReviewItem

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "decided_at", self.decided_at.astimezone(UTC))
        if f".{self.review_id}." not in self.key:
            raise ValueError("the id is not of the decision's time")

    @classmethod
    def new(
        cls,
        item: ReviewItem,
        decision: Answer,
        *,
        reviewer: str,
        now: datetime,
        token: bytes,
        note: str | None = None,
        words: Mapping[int, str] | None = None,
    ) -> Self:
        """Make a decision.

        Args:
            item: The item that it is about.
            decision: Whether the machine's finding is right.
            reviewer: Who decides.
            now: The time of the decision (aware).
            token: Three random bytes, for two decisions in the same microsecond.
            note: The reviewer's remark.
            words: The right words by the numbers of the item's, from 1.

        Raises:
            WrongWordError: The item has no such word.
        """
        key = item.audio.batch.decision_key(now, token)
        return cls(
            review_id=key.removeprefix(f"{item.audio.batch.prefix}.").removesuffix(DECISION),
            decision=decision,
            reviewer=reviewer,
            decided_at=now,
            note=note,
            corrections=_corrections(item, words or {}),
            item=item,
        )

    @property
    def key(self) -> str:
        """The key of its object."""
        token = bytes.fromhex(self.review_id.partition("-")[2])
        return self.item.audio.batch.decision_key(self.decided_at, token)

    @property
    def corrected_text(self) -> str:
        """The passage's words, with the corrections."""
        words = list(self.item.words)
        for correction in self.corrections:
            if correction.word <= len(words):
                words[correction.word - 1] = correction.right
        return " ".join(word for word in words if word)

    def to_document(self) -> dict[str, Any]:
        """The fields as JSON holds them, without the item and the version."""
        document = stored_form(self)
        del document["version"], document["item"]
        return document


def _corrections(item: ReviewItem, words: Mapping[int, str]) -> tuple[Correction, ...]:
    wrong = sorted(number for number in words if not 1 <= number <= len(item.words))
    if wrong:
        raise WrongWordError(
            f"{item.item_id} has no word {wrong[0]}: its words are numbered from 1 to "
            f"{len(item.words)}"
        )
    return tuple(
        Correction(number, item.words[number - 1], " ".join(words[number].split()))
        for number in sorted(words)
    )
