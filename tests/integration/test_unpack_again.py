"""What an archive stands for, when it is told of more than once or can't be told of at all."""

from __future__ import annotations

import time

from consumers.stages.stored_archive import describe
from consumers.store import connect_store
from events.event import ObjectCreated
from events.keys import ArchiveKey, BatchId
from events.notification import decode, encode
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.samples import RECORDINGS

BATCH = BatchId("20250622-143052-a1b2c3")
FOREIGN = "archives/interviews in May.tar"


def told(pipeline: Pipeline, key: str) -> ObjectCreated:
    """Give what the store announces."""
    (event,) = decode(encode(pipeline.store.bucket, key))
    return event


def begin(pipeline: Pipeline) -> BatchId:
    """Store an archive, and get as far as a worker that dies at once."""
    pipeline.store.write(FOREIGN, tar_of(RECORDINGS), content_type="application/x-tar")
    stored = pipeline.store.head(FOREIGN)
    assert stored is not None
    archive = describe(pipeline.store, ArchiveKey(FOREIGN, None), stored)
    pipeline.database.register(archive)
    return archive.batch


def test_a_begun_batch_continues_though_its_archive_was_stored_again(
    pipeline: Pipeline,
) -> None:
    """A client that did not hear the answer sends the same content once more."""
    batch = begin(pipeline)
    time.sleep(1.1)
    pipeline.store.write(FOREIGN, tar_of(RECORDINGS), content_type="application/x-tar")
    assert pipeline.unpack().handle([told(pipeline, FOREIGN)]) == [None]
    (row,) = pipeline.database.batches(10)
    assert row.batch == batch
    assert row.sealed_at is not None


def test_other_content_under_its_name_is_a_batch_of_its_own(pipeline: Pipeline) -> None:
    batch = begin(pipeline)
    pipeline.store.write(
        FOREIGN, tar_of(dict(list(RECORDINGS.items())[:1])), content_type="application/x-tar"
    )
    assert pipeline.unpack().handle([told(pipeline, FOREIGN)]) == [None]
    sealed = {row.batch: row.sealed_at is not None for row in pipeline.database.batches(10)}
    assert sealed.pop(batch) is False
    assert list(sealed.values()) == [True]


def test_a_batch_is_recorded_as_stalled_though_the_store_is_unreachable(pipeline: Pipeline) -> None:
    event = told(pipeline, BATCH.archive_key)
    pipeline.store = connect_store(
        endpoint="http://127.0.0.1:9", access_key="a", secret_key="b", region="r", bucket="b"
    )
    pipeline.unpack().give_up(event, "the store is unreachable")
    row = pipeline.database.batch(BATCH)
    assert row is not None
    assert row.stalled == "the store is unreachable"
