"""Batches with moderation, by a policy that forbids the word "3".

The recogniser of these tests says how many seconds a recording lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from consumers.documents.review.decision import Answer, Decision
from consumers.stages.review_decision import Desk
from events.keys import AudioId, BatchId
from ops.wiring.adapters import open_reviewing, utc_now
from tests.harness.samples.archives import tar_of
from tests.harness.samples.sounds import Recipe, made, voice
from tests.integration.conftest import Pipeline
from tests.integration.damage import itemised, transcribed, unpacked
from tests.integration.test_pipeline import event_for
from tests.samples import RECORDINGS, SILENT

LONG = made(Recipe("wav", "pcm_s16le", rate=16_000), voice(3.0))

#: The policy flags the last but one of these.
SPOKEN = {**RECORDINGS, "long.wav": LONG, "silence.wav": SILENT}
FLAGGED = 3

POLICY = "Nothing may last 3"


def write_policies(root: Path, **texts: str) -> Path:
    """Write a folder of policies."""
    root.mkdir(exist_ok=True)
    for name, text in (texts or {"length": POLICY}).items():
        (root / f"{name}.md").write_text(text)
    return root


def transcribed_batch(pipeline: Pipeline, tmp_path: Path) -> BatchId:
    """Drop, unpack and transcribe a batch, and lose the events of its transcripts."""
    batch = unpacked(pipeline, tmp_path, tar_of(SPOKEN))
    transcribed(pipeline, batch, range(len(SPOKEN)))
    return batch


def reviewed(pipeline: Pipeline, tmp_path: Path) -> BatchId:
    """Drop one and do all of it: some recordings are flagged, and all others are sampled."""
    batch = transcribed_batch(pipeline, tmp_path)
    assert judged(pipeline, batch) == [None] * len(SPOKEN)
    itemised(pipeline, batch, REVIEW_SAMPLE="1")
    return batch


def judged(
    pipeline: Pipeline, batch: BatchId, ordinals: Sequence[int] = range(len(SPOKEN))
) -> Sequence[Exception | None]:
    """Judge some recordings of a batch."""
    keys = [AudioId(batch, ordinal).transcript_key for ordinal in ordinals]
    return pipeline.moderate().handle([event_for(pipeline, key) for key in keys])


def decide(
    pipeline: Pipeline, ordinal: int, answer: Answer = "uphold", reviewer: str = "Ada"
) -> Decision:
    """Decide about the first item of a recording that is in the queue."""
    with open_reviewing(pipeline.environment) as reviewing:
        desk = Desk(pipeline.store, reviewing, utc_now)
        for each in reviewing.all():
            if each.item.audio.ordinal == ordinal:
                return desk.decide(
                    each.item.item_id, answer, reviewer=reviewer, note="a\nnote", words={1: "two"}
                )
    raise AssertionError(f"recording {ordinal} has no item")
