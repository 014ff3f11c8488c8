"""Review items and decisions for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consumers.documents.review.decision import Answer, Decision
from consumers.documents.review.item import ItemKind, ReviewItem, make_item_id
from consumers.documents.review.reviewable import Reviewable
from consumers.documents.review.reviewed_item import ReviewedItem
from consumers.documents.transcript import Segment, Transcript, Word
from consumers.documents.verdict import JudgedWindow, PolicyFinding
from events.keys import AudioId, BatchId

BATCH = BatchId("20250622-143052-a1b2c3")
AUDIO = AudioId(BATCH, 1)
NOW = datetime(2025, 6, 22, 15, 0, 0, 123456, tzinfo=UTC)


def item(
    start: float = 4.0,
    end: float | None = None,
    *,
    audio: AudioId = AUDIO,
    kind: ItemKind = "flagged",
    policy: str = "hate",
    version: str = "0123456789abcdef",
    text: str = "all of them are vermin",
    path: str = "calls/one.mp3",
) -> ReviewItem:
    end = start + 2.5 if end is None else end
    named = (policy, version) if kind == "flagged" else (None, None)
    return ReviewItem(
        item_id=make_item_id(audio, kind, start, end, policy=named[0], version=named[1], text=text),
        audio_id=str(audio),
        kind=kind,
        policy=named[0],
        version=named[1],
        score=0.93 if kind == "flagged" else None,
        reason="why",
        path=path,
        start=start,
        end=end,
        text=text,
        clip_key=audio.clip_key(max(0.0, start - 3), end + 3),
        clip_start=max(0.0, start - 3),
    )


def decided(of: ReviewItem, *said: tuple[str, Answer]) -> ReviewedItem:
    """An item after the decisions of these people, in this order."""
    decisions = tuple(
        Decision.new(
            of,
            answer,
            reviewer=reviewer,
            now=NOW + timedelta(minutes=number),
            token=bytes([0, 0, number]),
        )
        for number, (reviewer, answer) in enumerate(said)
    )
    return ReviewedItem(of, "decided" if said else "open", decisions)


def segment(start: float, end: float, text: str, *times: tuple[float, float]) -> Segment:
    words = tuple(Word(word, *when, 0.9) for word, when in zip(text.split(), times, strict=False))
    return Segment(start, end, text, -0.2, words)


def finding(
    policy: str, *windows: tuple[float, float, float], threshold: float = 0.5
) -> PolicyFinding:
    judged = tuple(JudgedWindow(*each, flagged=each[2] >= threshold) for each in windows)
    return PolicyFinding(
        policy=policy,
        version="0123456789abcdef",
        threshold=threshold,
        flagged=any(window.flagged for window in judged),
        score=max((window.score for window in judged), default=0.0),
        windows=judged,
    )


def recording(
    *segments: Segment,
    findings: tuple[PolicyFinding, ...] = (),
    audio: AudioId = AUDIO,
    duration: float = 30.0,
) -> Reviewable:
    return Reviewable(
        audio=audio,
        path="calls/one.mp3",
        duration=duration,
        flagged=any(each.flagged for each in findings) if findings else None,
        findings=findings,
        transcript=Transcript(
            audio_id=str(audio),
            state="transcribed",
            reason=None,
            duration=duration,
            language="en",
            language_probability=0.9,
            model="m",
            alignment=None,
            segments=segments,
        ),
    )
