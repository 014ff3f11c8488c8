"""The audit at the end of each test here finds damage."""

from __future__ import annotations

import io
from random import Random

import pytest
from msgspec.structs import replace

from consumers.documents.review.item import ReviewItem
from consumers.documents.review.item_list import read_items
from consumers.documents.verdict import PolicyVerdict
from events.keys import BatchId
from tests.faults.conftest import whole
from tests.harness.deployment.audit import Audit
from tests.harness.deployment.cluster import Cluster


@pytest.fixture
def batch(here: Cluster) -> BatchId:
    batch = here.drop(Random(70), recordings=3)
    whole(here, batch)
    return batch


@pytest.fixture
def item(here: Cluster, batch: BatchId) -> ReviewItem:
    """The batch's first."""
    return next(read_items(io.BytesIO(here.store.read(batch.review_key))))


def audited(here: Cluster, batch: BatchId, key: str, content: bytes | None) -> Audit:
    """Look at a batch with an object gone, or another in its place, and put that back."""
    before = here.store.read(key)
    here.store.delete(key)
    if content is not None:
        here.store.write(key, content, content_type="application/octet-stream")
    audit = here.audit({batch: here.plans[batch]})
    here.store.write(key, before, content_type="application/octet-stream")
    whole(here, batch)
    return audit


def test_a_missing_or_unplayable_clip(here: Cluster, batch: BatchId, item: ReviewItem) -> None:
    gone = audited(here, batch, item.clip_key, None)
    assert gone.lost == [item.clip_key]
    assert [fault.partition(":")[0] for fault in gone.unreviewed] == [item.item_id]
    clip = here.store.read(item.clip_key)
    for content in (b"no sound", clip[: len(clip) // 3]):
        (fault,) = audited(here, batch, item.clip_key, content).unreviewed
        assert fault.startswith(f"{item.item_id}: its clip")


def test_a_missing_or_different_verdict(here: Cluster, batch: BatchId, item: ReviewItem) -> None:
    gone = audited(here, batch, item.audio.verdict_key, None)
    assert gone.lost == [item.audio.verdict_key]
    assert len(gone.misjudged) == 1
    moderation = PolicyVerdict.from_json(here.store.read(item.audio.verdict_key))
    (finding,) = moderation.findings
    other = replace(moderation, findings=(replace(finding, flagged=not finding.flagged),))
    assert len(audited(here, batch, item.audio.verdict_key, other.to_json()).misjudged) == 1


def test_a_missing_list(here: Cluster, batch: BatchId) -> None:
    gone = audited(here, batch, batch.review_key, None)
    assert batch.review_key in gone.lost
    assert gone.unreviewed
    # Without the list, they belong to nothing.
    assert gone.duplicated


def test_an_item_that_was_not_announced(here: Cluster, batch: BatchId, item: ReviewItem) -> None:
    told = here.announced.pop(item.item_id)
    (fault,) = here.audit({batch: here.plans[batch]}).unreviewed
    assert fault == f"{item.item_id}: announced as None"
    here.announced[item.item_id] = told
