"""An archive is marked for expiry when its batch is complete, and not a moment before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from consumers.stages.stored_archive import (
    BATCH_TAG,
    COMPLETE,
    FAILED,
    STATE_TAG,
    describe,
    retire,
    unretire,
)
from consumers.store import ObjectGoneError, Store
from events.keys import ArchiveKey, BatchId
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.samples import RECORDINGS, archive

BATCH = BatchId("20250622-143052-a1b2c3")
FOREIGN = "archives/interviews in May.tar"


def stored(store: Store, key: str, content: bytes = b"content") -> str:
    """Store an archive; gives its ETag."""
    store.write(key, content, content_type="application/x-tar")
    found = store.head(key)
    assert found is not None
    return found.etag


def test_the_archive_of_a_complete_batch_may_expire(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    pipeline.start(transcribers=0)
    eventually(lambda: pipeline.store.head(batch.manifest_key))
    assert pipeline.store.tags(batch.archive_key) == {}
    pipeline.start()
    assert pipeline.wait(batch).state == "complete"
    assert pipeline.store.tags(batch.archive_key) == {STATE_TAG: COMPLETE, BATCH_TAG: str(batch)}


def test_an_archive_that_could_not_be_read_stays(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of(RECORDINGS)[:-1500]))
    assert progress.state == "failed"
    assert pipeline.store.tags(progress.batch.archive_key)[STATE_TAG] == FAILED


def test_tags_of_others_stay(store: Store) -> None:
    etag = stored(store, BATCH.archive_key)
    store.tag(BATCH.archive_key, {"project": "birds"})
    retire(store, BATCH.archive_key, etag, BATCH, failed=False)
    assert store.tags(BATCH.archive_key)["project"] == "birds"
    unretire(store, BATCH.archive_key, BATCH)
    assert store.tags(BATCH.archive_key) == {"project": "birds", BATCH_TAG: str(BATCH)}


def test_other_content_under_the_same_key_is_not_marked(store: Store) -> None:
    etag = stored(store, BATCH.archive_key)
    stored(store, BATCH.archive_key, b"other content")
    retire(store, BATCH.archive_key, etag, BATCH, failed=False)
    assert store.tags(BATCH.archive_key) == {}


class Interrupted(Store):
    """A bucket into which somebody stores other content right before it is tagged."""

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        if tags:
            stored(self, key, b"other content")
        super().tag(key, tags)


def test_other_content_that_comes_while_it_is_marked_is_not_marked(store: Store) -> None:
    etag = stored(store, BATCH.archive_key)
    retire(Interrupted(store._client, store.bucket), BATCH.archive_key, etag, BATCH, failed=False)
    assert store.tags(BATCH.archive_key) == {}


def test_retiring_a_missing_archive_creates_nothing(store: Store) -> None:
    retire(store, BATCH.archive_key, "etag", BATCH, failed=False)
    assert store.head(BATCH.archive_key) is None
    with pytest.raises(ObjectGoneError):
        store.tags(BATCH.archive_key)


def test_an_archive_keeps_its_batch_though_marking_it_modifies_it(store: Store) -> None:
    """Ceph gives an object another LastModified when it is tagged."""
    key = ArchiveKey(FOREIGN, None)
    etag = stored(store, FOREIGN)
    before = store.head(FOREIGN)
    assert before is not None
    batch = describe(store, key, before).batch
    retire(store, FOREIGN, etag, batch, failed=False)
    unretire(store, FOREIGN, batch)
    after = store.head(FOREIGN)
    assert after is not None
    assert describe(store, key, after).batch == batch
