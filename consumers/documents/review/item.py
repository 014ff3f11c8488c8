"""A review item: a passage for a person to review. Times are seconds from the recording's start."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import msgspec

from consumers.documents.codec import AudioIdText, Text, stored_form
from events.keys import AudioId

ItemKind = Literal["flagged", "doubtful", "sample"]

#: In the order in which people get them.
ITEM_KINDS: tuple[ItemKind, ...] = get_args(ItemKind)

#: Hexadecimal digits after the recording's id.
_DIGITS = 12


class ReviewItem(msgspec.Struct, frozen=True):
    """A passage of a recording, and the machine's finding about it.

    Attributes:
        item_id: The recording's id, a hyphen, and 12 hex digits; see `make_item_id`.
        audio_id: The recording's id.
        kind: ``flagged`` by a policy, ``doubtful`` as a transcript, or of the random
            ``sample`` of what no policy flags.
        policy: The policy that flags it.
        version: That policy's version.
        score: That policy's score, from 0 to 1.
        reason: Why it is to be reviewed, for people.
        path: The member's path in the archive.
        start: Where the passage begins.
        end: Where it ends.
        text: Its words in one line, counted from 1.
        clip_key: The clip's object, with some sound before and after the passage.
        clip_start: Where in the recording the clip begins.
    """

    item_id: Text
    audio_id: AudioIdText
    kind: ItemKind
    policy: Text | None
    version: Text | None
    score: float | None
    reason: Text
    path: Text
    start: float
    end: float
    text: Text
    clip_key: Text
    clip_start: float

    def __post_init__(self) -> None:
        AudioId.parse(self.audio_id)
        if (self.kind == "flagged") != (self.policy is not None):
            raise ValueError("an item has a policy if, and only if, it is flagged")

    @property
    def audio(self) -> AudioId:
        """The recording's id."""
        return AudioId.parse(self.audio_id)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that reviewers correct by number, from 1."""
        return tuple(self.text.split())

    def to_document(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return stored_form(self)


def make_item_id(
    audio: AudioId,
    kind: ItemKind,
    start: float,
    end: float,
    *,
    policy: str | None = None,
    version: str | None = None,
    channel: int | None = None,
    text: str,
) -> str:
    """Make an item's id: the same finding about the same words always has the same.

    A new transcript can have other words, to which earlier decisions do not apply.

    Returns:
        ``{audio_id}-{12 hex digits}``, the latter of the SHA-256 over the finding,
        with its times in milliseconds.
    """
    parts: list[object] = [kind, policy or "", version or "", round(start * 1000)]
    parts += [round(end * 1000), text, *([] if channel is None else [channel])]
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{audio}-{digest[:_DIGITS]}"
