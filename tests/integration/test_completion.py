"""A batch completes exactly once, in any order of workers, and after any crash."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from consumers.database.batches import BatchRepository
from consumers.database.rows import Recording
from consumers.documents.manifest import Archive
from consumers.documents.transcript import Segment, Transcript
from consumers.errors import PermanentError
from events.keys import AudioId, BatchId
from ops.cli.batch_progress import look
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.integration.test_pipeline import event_for
from tests.samples import RECORDINGS, archive

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def registered(database: BatchRepository, number: int = 0, etag: str = "e1") -> BatchId:
    batch = BatchId.new(NOW, number.to_bytes(3, "big"))
    database.register(Archive(batch, batch.archive_key, etag, 10, "calls.tar", NOW))
    return batch


def finished(audio: AudioId) -> Recording:
    return Recording(audio, "transcribed", "a.wav", opus_key=audio.opus_key)


def converted(audio: AudioId) -> Recording:
    return Recording(audio, "converted", "a.wav", opus_key=audio.opus_key)


def test_nothing_completes_before_the_batch_is_sealed(database: BatchRepository) -> None:
    batch = registered(database)
    database.put_recording(finished(AudioId(batch, 0)))
    assert not database.complete(batch)
    database.seal(batch, rejected=0, ignored=0, failure=None)
    assert database.complete(batch)


def test_nothing_completes_while_one_recording_is_left(database: BatchRepository) -> None:
    batch = registered(database)
    database.put_recording(finished(AudioId(batch, 0)))
    database.put_recording(converted(AudioId(batch, 1)))
    database.seal(batch, rejected=0, ignored=0, failure=None)
    assert not database.complete(batch)
    database.put_recording(finished(AudioId(batch, 1)))
    assert database.complete(batch)


def test_a_completed_batch_is_reported_until_it_is_announced(database: BatchRepository) -> None:
    """The worker that completed the batch may have died before it announced it."""
    batch = registered(database)
    database.seal(batch, rejected=0, ignored=0, failure=None)
    assert database.complete(batch)
    assert database.complete(batch)
    database.announced(batch, {}, is_kept=False)
    assert not database.complete(batch)


@pytest.mark.timeout(120)
def test_one_of_many_workers_completes_the_batch(
    database: BatchRepository,
) -> None:
    """The worker that is answered announces the batch; without an answer it would hang."""
    workers, rounds = 8, 60
    barrier = threading.Barrier(workers)
    batches = [registered(database, number) for number in range(rounds)]
    for batch in batches:
        for ordinal in range(workers):
            database.put_recording(converted(AudioId(batch, ordinal)))
        database.seal(batch, rejected=0, ignored=0, failure=None)

    def work(ordinal: int) -> list[bool]:
        answers = []
        for batch in batches:
            barrier.wait(30)
            database.put_recording(finished(AudioId(batch, ordinal)))
            answers.append(database.complete(batch))
        return answers

    with ThreadPoolExecutor(workers) as executor:
        answers = list(executor.map(work, range(workers)))
    for number, batch in enumerate(batches):
        row = database.batch(batch)
        assert row is not None
        assert row.completed_at is not None
        assert any(answer[number] for answer in answers)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


@pytest.mark.parametrize("finished", [0, 19_000, 19_999])
@pytest.mark.parametrize("is_analyzed", [False, True])
def test_the_completion_query_reads_one_row_whatever_the_statistics(
    database: BatchRepository, finished: int, is_analyzed: bool
) -> None:
    """Without autovacuum, finished recordings are still in the index."""
    batch = registered(database)
    database.seal(batch, rejected=0, ignored=0, failure=None)
    with database._transaction() as connection:
        connection.execute(
            "INSERT INTO recordings (batch_id, ordinal, state, path)"
            " SELECT %s, n, 'converted', '' FROM generate_series(0, 19999) AS n",
            [str(batch)],
        )
        if is_analyzed:
            connection.execute("ANALYZE recordings")
        connection.execute(
            "UPDATE recordings SET state = 'transcribed', finished_at = now() WHERE ordinal < %s",
            [finished],
        )
    with database._transaction() as connection:
        explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + database._sql["complete_batch"]
        row = connection.execute(explain, {"batch_id": str(batch)}).fetchone()
    assert row is not None
    (answer,) = cast("list[dict[str, Any]]", row["QUERY PLAN"])
    plan = answer["Plan"]
    assert max(node["Actual Rows"] for node in nodes(plan)) == 1
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 20


def test_a_state_only_moves_forward(database: BatchRepository) -> None:
    batch = registered(database)
    audio = AudioId(batch, 0)
    database.put_recording(finished(audio))
    database.put_recording(converted(audio))
    assert [recording.state for recording in database.recordings(batch)] == ["transcribed"]


def test_the_reason_of_a_stalled_recording_is_kept_until_it_is_done(
    database: BatchRepository,
) -> None:
    batch = registered(database)
    audio = AudioId(batch, 0)
    # Its event can become a dead letter before the row of its object is written.
    database.stall_recording(audio, "the model is away")
    database.put_recording(converted(audio))
    assert database.recordings(batch)[0].stalled == "the model is away"
    assert database.recordings(batch)[0].path == "a.wav"
    assert database.unfinished(batch)[1] == 1
    database.put_recording(finished(audio))
    assert database.recordings(batch)[0].stalled is None


def test_the_reason_why_a_batch_is_not_announced_is_recorded(database: BatchRepository) -> None:
    batch = registered(database)
    audio = AudioId(batch, 0)
    database.put_recording(finished(audio))
    database.seal(batch, rejected=0, ignored=0, failure=None)
    assert database.complete(batch)
    database.stall_recording(audio, "the store forbids it")
    assert look(database, batch).state == "stalled"
    database.announced(batch, {"transcribed": 1}, is_kept=False)
    assert look(database, batch).state == "complete"


def test_a_text_too_large_for_the_index_is_stored(
    database: BatchRepository,
) -> None:
    batch = registered(database)
    audio = AudioId(batch, 0)
    words = " ".join(f"w{number:07}" for number in range(150_000))
    segments = (Segment(0.0, 1.0, words, None, ()),)
    transcript = Transcript(str(audio), "transcribed", None, 1.0, "en", None, "m", None, segments)
    database.put_transcript(finished(audio), transcript)
    assert database.recordings(batch)[0].text == words
    assert [hit.audio for hit in database.search("w0000001", 5)] == [audio]


def test_a_recording_can_be_recorded_before_its_batch(database: BatchRepository) -> None:
    audio = AudioId(BatchId.new(NOW, b"abc"), 0)
    database.put_recording(finished(audio))
    registered_later = Archive(audio.batch, "archives/x.tar", "e1", 10, "x.tar", NOW)
    database.register(registered_later)
    row = database.batch(audio.batch)
    assert row is not None
    assert row.original_name == "x.tar"


def test_a_batch_id_stands_for_one_content(database: BatchRepository) -> None:
    registered(database, etag="e1")
    registered(database, etag="e1")
    with pytest.raises(PermanentError, match="overwritten"):
        registered(database, etag="e2")


def test_a_lock_is_held_by_one_and_ends_with_its_block(database: BatchRepository) -> None:
    with database.locks() as mine, database.locks() as other:
        assert mine.acquire("unpack x")
        assert not other.acquire("unpack x")
        assert other.acquire("unpack y")
    with database.locks() as later:
        assert later.acquire("unpack x")


def test_a_worker_that_dies_after_its_rows_costs_nothing(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Its events are delivered again: nothing is done twice, and the batch is announced."""
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    unpack, transcribe = pipeline.unpack(), pipeline.transcribe()
    event = event_for(pipeline, batch.archive_key)
    assert unpack.handle([event]) == [None]
    sounds = [event_for(pipeline, AudioId(batch, ordinal).opus_key) for ordinal in range(3)]
    announced = pipeline.store.head(batch.complete_key)
    assert announced is None
    assert transcribe.handle(sounds) == [None] * 3
    first = pipeline.store.head(batch.complete_key)
    assert first is not None
    assert unpack.handle([event]) == [None]
    assert transcribe.handle(sounds) == [None] * 3
    assert pipeline.store.head(batch.complete_key) == first
    assert pipeline.recogniser.groups == [3]


def test_a_lost_database_is_restored_from_the_bucket(
    pipeline: Pipeline, tmp_path: Path, database: BatchRepository
) -> None:
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    unpack, transcribe = pipeline.unpack(), pipeline.transcribe()
    event = event_for(pipeline, batch.archive_key)
    sounds = [event_for(pipeline, AudioId(batch, ordinal).opus_key) for ordinal in range(3)]
    unpack.handle([event])
    transcribe.handle(sounds)
    before = database.recordings(batch)
    with database._transaction() as connection:
        connection.execute("DELETE FROM batches")
    assert transcribe.handle(sounds) == [None] * 3
    assert unpack.handle([event]) == [None]
    assert database.recordings(batch) == before
    assert pipeline.wait(batch).state == "complete"
    assert pipeline.recogniser.groups == [3]


def test_an_interrupted_unpacking_resumes(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    event = event_for(pipeline, batch.archive_key)
    stored, lost = AudioId(batch, 0).opus_key, AudioId(batch, 2).opus_key
    pipeline.unpack().handle([event])
    # As if it had died before the last object, its row and the manifest.
    client, bucket = pipeline.store._client, pipeline.store.bucket
    for key in (batch.manifest_key, lost):
        client.delete_object(Bucket=bucket, Key=key)
    with pipeline.database._transaction() as connection:
        connection.execute("DELETE FROM recordings WHERE ordinal = 2")
        connection.execute("UPDATE batches SET sealed_at = NULL")
    # Another unpacking of this recording would replace the object, and its metadata.
    found = pipeline.store.head(stored)
    assert found is not None
    client.copy_object(
        Bucket=bucket,
        Key=stored,
        CopySource=f"{bucket}/{stored}",
        MetadataDirective="REPLACE",
        Metadata={**found.metadata, "mark": "first attempt"},
    )
    assert pipeline.unpack().handle([event]) == [None]
    kept = pipeline.store.head(stored)
    assert kept is not None
    assert kept.metadata["mark"] == "first attempt"
    assert pipeline.store.head(lost) is not None
    assert [each.state for each in pipeline.database.recordings(batch)] == ["converted"] * 3
