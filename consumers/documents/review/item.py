"""A review item as a value, and the JSON that other systems get.

Times are seconds from the recording's start.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from consumers.errors import PermanentError
from events.keys import AudioId, MalformedKeyError

ItemKind = Literal["flagged", "doubtful", "sample"]

#: In the order in which people get them.
ITEM_KINDS: tuple[ItemKind, ...] = get_args(ItemKind)

#: Hexadecimal digits after the recording's id.
_DIGITS = 12


class MalformedItemError(PermanentError):
    """Stored bytes are no review item, or no list of them, that this program reads."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A passage of a recording, and what the machine says of it.

    Attributes:
        item_id: Its id; see `make_item_id`.
        audio: The recording's.
        kind: ``flagged`` by a policy, ``doubtful`` as a transcript, or of the random
            ``sample`` of what no policy flags.
        policy: Of a flagged one: its name.
        version: Of a flagged one: the policy's.
        score: Of a flagged one: the model's, from 0 to 1.
        reason: Why it is to be reviewed, for people.
        path: The member's in the archive.
        start: Where the passage begins.
        end: Where it ends.
        text: What is said in it, in one line. Its words are counted from 1.
        clip_key: Where it can be heard, with something before and after it.
        clip_start: Where in the recording that begins.
    """

    item_id: str
    audio: AudioId
    kind: ItemKind
    policy: str | None
    version: str | None
    score: float | None
    reason: str
    path: str
    start: float
    end: float
    text: str
    clip_key: str
    clip_start: float

    def __post_init__(self) -> None:
        if (self.kind == "flagged") != (self.policy is not None):
            raise MalformedItemError(f"{self.item_id}: only what is flagged is so by a policy")

    @property
    def words(self) -> tuple[str, ...]:
        """What reviewers correct by number, from 1."""
        return tuple(self.text.split())

    def to_document(self) -> dict[str, Any]:
        """Give the fields as JSON holds them."""
        return {
            "item_id": self.item_id,
            "audio_id": str(self.audio),
            "kind": self.kind,
            "policy": self.policy,
            "version": self.version,
            "score": self.score,
            "reason": self.reason,
            "path": self.path,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "clip_key": self.clip_key,
            "clip_start": self.clip_start,
        }

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Read what `to_document` gave; fields that this version does not know are skipped.

        Raises:
            MalformedItemError: A field is missing or wrong.
        """
        try:
            return cls(
                item_id=text_of(document["item_id"]),
                audio=AudioId.parse(text_of(document["audio_id"])),
                kind=_kind(document["kind"]),
                policy=text_or_none(document["policy"]),
                version=text_or_none(document["version"]),
                score=None if document["score"] is None else _number(document["score"]),
                reason=text_of(document["reason"]),
                path=text_of(document["path"]),
                start=_number(document["start"]),
                end=_number(document["end"]),
                text=text_of(document["text"]),
                clip_key=text_of(document["clip_key"]),
                clip_start=_number(document["clip_start"]),
            )
        except (KeyError, TypeError, ValueError, MalformedKeyError) as exc:
            raise MalformedItemError(f"the review item can't be read: {fault(exc)}") from None


def make_item_id(
    audio: AudioId,
    kind: ItemKind,
    start: float,
    end: float,
    *,
    policy: str | None = None,
    version: str | None = None,
    text: str,
) -> str:
    """Make the id of an item: the same finding about the same words always gives the same.

    Heard anew, a passage may have other words: what was decided is not about them.

    Returns:
        ``{audio_id}-{12 hex digits}``, the latter of the SHA-256 over the finding,
        with its times in milliseconds.
    """
    parts = (kind, policy or "", version or "", round(start * 1000), round(end * 1000), text)
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{audio}-{digest[:_DIGITS]}"


def fault(exc: Exception) -> str:
    """Say why a document can't be read, without a word of what stands in it."""
    match exc:
        case KeyError():
            return f"it has no field {exc}"
        case json.JSONDecodeError():
            return f"it is not JSON: {exc}"
        case UnicodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deep"
        case _:
            return str(exc)


def text_of(value: object) -> str:
    """Take a text that can be stored anywhere.

    Raises:
        TypeError: It is none.
        ValueError: It holds half of a character, or a NUL, which Postgres does not hold.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text should be")
    if "\x00" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("a text holds a character that can't be stored")
    return value


def text_or_none(value: object) -> str | None:
    """Take a text that may be missing; see `text_of`."""
    return None if value is None else text_of(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} where a number should be")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number of usual size")
    return number


def _kind(value: object) -> ItemKind:
    if value in ITEM_KINDS:
        return value
    raise ValueError(f"a kind that is none of {', '.join(ITEM_KINDS)}")
