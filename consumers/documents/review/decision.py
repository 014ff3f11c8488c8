"""A reviewer's decision as a value, and the JSON that it is stored as.

The JSON holds the item, too: it says by itself what was decided about what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

from consumers.documents.review.item import (
    MalformedItemError,
    ReviewItem,
    fault,
    text_of,
    text_or_none,
)
from consumers.errors import PermanentError
from events.keys import DECISION

Answer = Literal["uphold", "reject", "unsure"]

#: About the machine's finding: it is right, it is wrong, or nobody can tell.
ANSWERS: tuple[Answer, ...] = get_args(Answer)

VERSION = 1


class MalformedDecisionError(PermanentError):
    """Stored bytes are no decision of a version that this program reads."""


class WrongWordError(PermanentError):
    """A word is corrected that the passage does not have."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A word that the recogniser got wrong.

    Attributes:
        word: Its number in the passage, from 1.
        was: What the transcript has.
        right: What is said; several words, or none.
    """

    word: int
    was: str
    right: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person says of one item, once and for all; who errs decides again.

    Attributes:
        review_id: The time and the token in its object's key.
        item: About what.
        decision: Whether the machine's finding is right.
        reviewer: Whose.
        decided_at: When (aware).
        note: What else there is to say.
        corrections: Of words, by number.
    """

    review_id: str
    item: ReviewItem
    decision: Answer
    reviewer: str
    decided_at: datetime
    note: str | None
    corrections: tuple[Correction, ...]

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
        """Make a decision of ``now``; ``token`` holds three random bytes.

        Args:
            item: About what.
            decision: Whether the machine's finding is right.
            reviewer: Whose.
            now: When (aware).
            token: Tells it from another of the same microsecond.
            note: What else there is to say.
            words: What is said instead of the item's words, by their numbers from 1.

        Raises:
            WrongWordError: The item has no such word.
        """
        key = item.audio.batch.decision_key(now, token)
        return cls(
            review_id=key.removeprefix(f"{item.audio.batch.prefix}.").removesuffix(DECISION),
            item=item,
            decision=decision,
            reviewer=reviewer,
            decided_at=now.astimezone(UTC),
            note=note,
            corrections=_corrections(item, words or {}),
        )

    @property
    def key(self) -> str:
        """Where it is stored."""
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
        """Give the fields as JSON holds them, without the item."""
        return {
            "review_id": self.review_id,
            "decision": self.decision,
            "reviewer": self.reviewer,
            "decided_at": self.decided_at.isoformat(),
            "note": self.note,
            "corrections": [
                {"word": each.word, "was": each.was, "is": each.right} for each in self.corrections
            ],
        }

    def to_json(self) -> bytes:
        """UTF-8, in one line."""
        document = {"version": VERSION, **self.to_document(), "item": self.item.to_document()}
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; fields that this version does not know are skipped.

        Raises:
            MalformedDecisionError: It is not JSON, of another version, or a field is missing
                or wrong.
        """
        try:
            document = json.loads(data)
            if document["version"] != VERSION:
                raise MalformedDecisionError(
                    f"the decision has version {document['version']!r}, and this program reads "
                    f"version {VERSION}"
                )
            return cls.from_document(document, ReviewItem.from_document(document["item"]))
        except (MalformedItemError, ValueError, KeyError, TypeError, RecursionError) as exc:
            raise MalformedDecisionError(f"the decision can't be read: {fault(exc)}") from None

    @classmethod
    def from_document(cls, document: Mapping[str, Any], item: ReviewItem) -> Self:
        """Read the fields, as `to_document` gave them, of a decision about an item.

        Raises:
            KeyError, TypeError, ValueError: One is missing or wrong.
        """
        decision = cls(
            review_id=text_of(document["review_id"]),
            item=item,
            decision=_answer(document["decision"]),
            reviewer=text_of(document["reviewer"]),
            decided_at=_time(document["decided_at"]),
            note=text_or_none(document["note"]),
            corrections=tuple(_correction(each) for each in document["corrections"]),
        )
        if f".{decision.review_id}." not in decision.key:
            raise ValueError(f"{decision.review_id!r} is not of the decision's time")
        return decision


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


def _correction(document: Mapping[str, Any]) -> Correction:
    number = document["word"]
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise TypeError(f"{type(number).__name__} where a word's number should be")
    return Correction(number, text_of(document["was"]), text_of(document["is"]))


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(text_of(value))
    if time.tzinfo is None:
        raise ValueError(f"{value!r} is in no time zone")
    return time.astimezone(UTC)


def _answer(value: object) -> Answer:
    if value in ANSWERS:
        return value
    raise ValueError(f"a decision that is none of {', '.join(ANSWERS)}")
