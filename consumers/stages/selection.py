"""The selection of the passages that people are to review. Times are in seconds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from consumers.documents.review.item import ItemKind, ReviewItem, make_item_id
from consumers.documents.review.reviewable import Reviewable
from consumers.documents.transcript.doubt import Doubt
from consumers.documents.transcript.timing import text_between
from consumers.documents.verdict import PolicyFinding

#: Doubtful passages are one item if at most this far apart, and together at most this long.
_GAP = 5.0
_TOGETHER = 60.0

#: Reasons that such an item names; the rest are counted.
_NAMED = 3

#: A passage begins at least this long before the recording's end, which recognisers
#: sometimes misplace.
_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be reviewed besides flagged passages, and how clips are cut.

    Attributes:
        sample: The share of the recordings without a flag to sample, from 0 to 1.
        margin: Seconds of sound before and after a passage.
    """

    sample: float
    margin: float


@dataclass(frozen=True, slots=True)
class _Passage:
    start: float
    end: float
    reasons: tuple[str, ...]
    channel: int | None = None


def select(
    recording: Reviewable, doubts: Iterable[Doubt], selection: Selection
) -> list[ReviewItem]:
    """Make a recording's review items; the same recording always gives the same.

    Each window that a policy flags is an item, for each such policy. Doubtful passages that
    follow each other closely are one item. Of a random sample of the recordings without a
    flag, one random window is an item. A doubtful passage is heard in its channel only, a window
    in all of them.

    The doubts about its transcript may be in any order.
    """
    items = [
        *_flagged(recording, selection.margin),
        *(_item(recording, "doubtful", each, selection.margin) for each in _joined(doubts)),
        *_sampled(recording, selection),
    ]
    return list({item.item_id: item for item in items}.values())


def _flagged(recording: Reviewable, margin: float) -> Iterator[ReviewItem]:
    for finding in recording.findings:
        for window in finding.windows:
            if window.flagged:
                reason = (
                    f"policy {finding.policy} scores this passage {window.score:.2f} "
                    f"(threshold {finding.threshold:.2f})"
                )
                passage = _Passage(window.start, window.end, (reason,))
                yield _item(recording, "flagged", passage, margin, finding, window.score)


def _joined(doubts: Iterable[Doubt]) -> Iterator[_Passage]:
    """Join passages of a channel that overlap, or that are close and together short enough."""
    passage: _Passage | None = None
    for doubt in sorted(
        doubts, key=lambda each: (each.channel or 0, each.start, each.end, each.kind)
    ):
        if passage is not None and _is_one(passage, doubt):
            reasons = tuple(dict.fromkeys((*passage.reasons, doubt.reason)))
            end = max(passage.end, doubt.end)
            passage = _Passage(passage.start, end, reasons, doubt.channel)
            continue
        if passage is not None:
            yield passage
        passage = _Passage(doubt.start, doubt.end, (doubt.reason,), doubt.channel)
    if passage is not None:
        yield passage


def _is_one(passage: _Passage, doubt: Doubt) -> bool:
    if doubt.channel != passage.channel:
        return False
    if (doubt.start, doubt.end) == (passage.start, passage.end):
        return True
    is_short = max(passage.end, doubt.end) - passage.start <= _TOGETHER
    return is_short and doubt.start - passage.end <= _GAP


def _named(reasons: Sequence[str]) -> str:
    more = [f"and {len(reasons) - _NAMED} more like these"] if len(reasons) > _NAMED else []
    return "; ".join([*reasons[:_NAMED], *more])


def _sampled(recording: Reviewable, selection: Selection) -> Iterator[ReviewItem]:
    windows = recording.findings[0].windows if recording.findings else ()
    # Not False: None is one of which no policy was asked.
    if recording.flagged is not False or not windows:
        return
    # Two numbers of the id: whether it is drawn, and which of its windows.
    digest = hashlib.sha256(str(recording.audio).encode()).digest()
    if int.from_bytes(digest[:8]) < selection.sample * 2**64:
        window = windows[int.from_bytes(digest[8:16]) % len(windows)]
        reason = "a random sample of what no policy flags"
        passage = _Passage(window.start, window.end, (reason,))
        yield _item(recording, "sample", passage, selection.margin)


def _item(
    recording: Reviewable,
    kind: ItemKind,
    passage: _Passage,
    margin: float,
    finding: PolicyFinding | None = None,
    score: float | None = None,
) -> ReviewItem:
    audio = recording.audio
    start, end = _within(recording.duration, passage)
    policy = finding.policy if finding else None
    version = finding.version if finding else None
    clip_start, clip_end = max(0.0, start - margin), min(recording.duration, end + margin)
    channel, reason = passage.channel, _named(passage.reasons)
    text = text_between(recording.transcript, passage.start, passage.end, channel)
    item_id = make_item_id(
        audio, kind, start, end, policy=policy, version=version, channel=channel, text=text
    )
    return ReviewItem(
        item_id=item_id,
        audio_id=str(audio),
        kind=kind,
        policy=policy,
        version=version,
        score=score,
        reason=reason if channel is None else f"channel {channel}: {reason}",
        path=recording.path,
        start=start,
        end=end,
        text=text,
        clip_key=audio.clip_key(clip_start, clip_end, channel),
        clip_start=clip_start,
    )


def _within(duration: float, passage: _Passage) -> tuple[float, float]:
    """Hold a passage within its recording, to the millisecond."""
    start = max(0.0, min(passage.start, duration - _LEAST))
    end = max(start, min(passage.end, duration))
    # Rounded down, so that neither is beyond the end.
    return math.floor(start * 1000) / 1000, math.floor(end * 1000) / 1000
