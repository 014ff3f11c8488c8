"""The rows are a projection of the bucket: `rebuild` restores deleted rows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from consumers.database.rebuild import RebuildRepository, StoredBatch
from consumers.database.review_queue import ReviewQueueRepository
from consumers.database.rows import Recording
from consumers.errors import BusyError, PermanentError, TransientError
from consumers.store import Store, StoredObject
from events.keys import AudioId, BatchId
from ops.recovery.rebuild.rebuilder import NothingStoredError, NotRebuilt, Rebuilder, Rebuilt
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_rebuilder, open_reprocessor
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline, Run, printed
from tests.integration.damage import (
    dropped,
    execute,
    finished,
    found,
    itemised,
    rows,
    swept,
    transcribed,
    unpacked,
)
from tests.integration.moderated import FLAGGED, decide, judged, reviewed, write_policies
from tests.integration.test_pipeline import event_for
from tests.samples import FLAC, RECORDINGS, SILENT, WAV

#: One of each outcome; the long path does not fit in an object's metadata.
MEMBERS = {
    "a.flac": FLAC,
    "silent.wav": SILENT,
    "bad.mp3": bytes(99),
    "cover.jpg": b"\xff\xd8\xff\xe0" * 50,
    f"{'long/' * 300}Zoë.wav": WAV,
}


@pytest.fixture
def policies(variables: dict[str, str], tmp_path: Path) -> Path:
    """Set up, as long as it is asked for before the environment is."""
    root = write_policies(tmp_path / "policies")
    variables["POLICIES_ROOT"] = str(root)
    return root


@pytest.fixture
def rebuilder(pipeline: Pipeline) -> Iterator[Rebuilder]:
    with open_rebuilder(pipeline.environment, quiet_log()) as rebuilder:
        yield rebuilder


@pytest.mark.parametrize(
    ("done", "loss"),
    [
        pytest.param((0, 1, 4), "DELETE FROM batches", id="finished"),
        pytest.param((0,), "DELETE FROM recordings WHERE ordinal < 2", id="half done"),
        pytest.param((), "UPDATE recordings SET path = 'x', codec = 'y'", id="unpacked"),
    ],
)
def test_deleted_rows_are_restored(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, done: tuple[int, ...], loss: str
) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of(MEMBERS))
    transcribed(pipeline, batch, done)
    before = rows(pipeline.database)
    announced = pipeline.store.head(batch.complete_key)
    execute(pipeline.database, loss)
    rebuilt = rebuilder.rebuild(batch)
    assert rows(pipeline.database) == before
    assert (rebuilt.recordings, rebuilt.transcripts) == (4, len(done))
    assert rebuilt.state == ("complete" if len(done) == 3 else "transcribing")
    # What is complete is not announced once more.
    assert pipeline.store.head(batch.complete_key) == announced


def test_a_failed_batch_is_restored_as_failed(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of(RECORDINGS)[:-1500])
    transcribed(pipeline, batch, range(3))
    before = rows(pipeline.database)
    assert before["batches"][0]["failure"]
    assert before["batches"][0]["counts"]
    execute(pipeline.database, "DELETE FROM batches")
    assert rebuilder.rebuild(batch).state == "failed"
    assert rows(pipeline.database) == before


@pytest.mark.parametrize("has_archive", [True, False])
def test_recordings_of_an_unsealed_batch_are_rebuilt(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, has_archive: bool
) -> None:
    batch = unpacked(pipeline, tmp_path)
    transcribed(pipeline, batch, [1])
    pipeline.store.delete(batch.manifest_key)
    if not has_archive:
        pipeline.store.delete(batch.archive_key)
    before = rows(pipeline.database)["recordings"]
    execute(pipeline.database, "DELETE FROM batches")
    assert rebuilder.rebuild(batch).state == ("unpacking" if has_archive else "waiting")
    after = rows(pipeline.database)["recordings"]
    # What a manifest says to the last digit, an object's metadata rounds.
    for row in before:
        row["duration"] = pytest.approx(row["duration"], abs=0.001)
        row["loudness_dbfs"] = pytest.approx(row["loudness_dbfs"], abs=0.1)
        # Tags are in the manifest only.
        row["tags"] = None
    assert after == before


def test_an_archive_under_any_name_is_found_again(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    dropped(pipeline, tmp_path)
    key = "archives/interviews in May.tar"
    pipeline.store.write(key, tar_of({"a.wav": WAV}), content_type="application/x-tar")
    pipeline.unpack().handle([event_for(pipeline, key)])
    (row,) = pipeline.database.batches(9)
    transcribed(pipeline, row.batch, [0])
    before = rows(pipeline.database)
    # Its tag, then its name and content, say which batch it is.
    assert rebuilder.rebuild(row.batch).state == "complete"
    assert rows(pipeline.database) == before
    pipeline.store.delete(row.batch.manifest_key)
    assert rebuilder.rebuild(row.batch).state == "unpacking"
    rebuilt = pipeline.database.batch(row.batch)
    assert rebuilt is not None
    assert (rebuilt.archive_key, rebuilt.etag) == (key, row.etag)


def test_a_done_but_unannounced_batch_completes(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    before = rows(pipeline.database)
    pipeline.store.delete(batch.complete_key)
    assert rebuilder.rebuild(batch).state == "complete"
    assert json.loads(pipeline.store.read(batch.complete_key))["counts"] == {"transcribed": 3}
    for row in (before["batches"][0], rows(pipeline.database)["batches"][0]):
        assert row["counts"] == {"transcribed": 3}


def test_foreign_objects_are_left_to_their_consumer(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    batch = unpacked(pipeline, tmp_path)
    pipeline.store.delete(batch.manifest_key)
    pipeline.store.write(AudioId(batch, 9).opus_key, b"x", content_type="audio/ogg")
    pipeline.store.write(AudioId(batch, 0).transcript_key, b"{}", content_type="x")
    rebuilt = rebuilder.rebuild(batch)
    assert (rebuilt.recordings, rebuilt.transcripts) == (3, 0)


def test_a_character_that_postgres_cannot_store_is_replaced(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    key = AudioId(batch, 0).transcript_key
    document = json.loads(pipeline.store.read(key))
    document["reason"] = "a\0b"
    document["segments"][0]["text"] = "a\0b"
    document["segments"][0]["words"] = [{"text": "a\0b", "start": None, "end": None, "score": None}]
    pipeline.store.write(key, json.dumps(document).encode(), content_type="application/json")
    assert rebuilder.rebuild(batch).state == "complete"
    row = rows(pipeline.database)["transcripts"][0]
    segment = row["segments"][0]
    assert (row["text"], segment["text"], segment["words"][0]["text"]) == ("a\ufffdb",) * 3
    assert rows(pipeline.database)["recordings"][0]["reason"] == "a\ufffdb"


@pytest.mark.parametrize("work", ["unpack", "review"])
def test_a_locked_batch_is_left_alone(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, work: str
) -> None:
    batch = unpacked(pipeline, tmp_path)
    before = rows(pipeline.database)
    with pipeline.database.locks() as locks:
        assert locks.acquire(f"{work} {batch}")
        with pytest.raises(BusyError, match="is being unpacked, done again or made ready"):
            rebuilder.rebuild(batch)
        (outcome,) = rebuilder.rebuild_all()
        assert isinstance(outcome, NotRebuilt)
    assert rows(pipeline.database) == before


def test_consumers_continue_while_their_batch_is_rebuilt(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    """Nothing is lost, and nothing fails, in either order."""
    number = 24
    batch = unpacked(pipeline, tmp_path, tar_of({f"{n}.wav": WAV for n in range(number)}))
    errors: list[Exception | None] = []
    done = threading.Event()

    def transcribe() -> None:
        handler = pipeline.transcribe()
        for ordinal in range(number):
            errors.extend(handler.handle([event_for(pipeline, AudioId(batch, ordinal).opus_key)]))
        done.set()

    thread = threading.Thread(target=transcribe)
    thread.start()
    rounds = 0
    while not done.is_set():
        rebuilder.rebuild(batch)
        rounds += 1
    thread.join()
    assert rounds > 1
    assert errors == [None] * number
    assert rebuilder.rebuild(batch).state == "complete"
    assert found(swept(pipeline)) == {"batch-unitemised": 1}
    itemised(pipeline, batch)
    assert found(swept(pipeline)) == {}
    assert pipeline.database.counts(batch) == {"transcribed": number}


def test_a_batch_that_completes_while_it_is_rebuilt_completes_once(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = unpacked(pipeline, tmp_path)
    recreate = RebuildRepository.recreate
    announced = []

    def after_the_last_recording(
        self: RebuildRepository, stored: StoredBatch, recordings: Iterable[Recording]
    ) -> int:
        transcribed(pipeline, batch, range(3))
        announced.append(pipeline.store.head(batch.complete_key))
        return recreate(self, stored, recordings)

    monkeypatch.setattr(RebuildRepository, "recreate", after_the_last_recording)
    assert rebuilder.rebuild(batch).state == "complete"
    assert [pipeline.store.head(batch.complete_key)] == announced
    assert rows(pipeline.database)["batches"][0]["counts"] == {"transcribed": 3}
    assert found(swept(pipeline)) == {"batch-unitemised": 1}
    itemised(pipeline, batch)
    assert found(swept(pipeline)) == {}


def test_a_sweep_finds_the_remains_of_a_crash_after_the_first_step(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = finished(pipeline, tmp_path)
    before = rows(pipeline.database)
    announced = pipeline.store.head(batch.complete_key)
    with monkeypatch.context() as patch:
        patch.setattr(Rebuilder, "_put_transcript", _crash)
        with pytest.raises(KeyboardInterrupt):
            rebuilder.rebuild(batch)
    assert found(swept(pipeline)) == {"transcript-unrecorded": 3}
    # No review items are made of a part of it.
    listed = pipeline.store.head(batch.review_key)
    (outcome,) = pipeline.review().handle([event_for(pipeline, batch.complete_key)])
    assert isinstance(outcome, TransientError)
    assert pipeline.store.head(batch.review_key) == listed
    transcribed(pipeline, batch, range(3))
    assert rows(pipeline.database) == before
    assert found(swept(pipeline)) == {"batch-unitemised": 1}
    itemised(pipeline, batch)
    assert found(swept(pipeline)) == {}
    assert pipeline.store.head(batch.complete_key) == announced


def _crash(self: object, what: object) -> bool:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("policies")
def test_review_items_and_decisions_are_restored(
    pipeline: Pipeline, rebuilder: Rebuilder, policies: Path, tmp_path: Path
) -> None:
    batch = reviewed(pipeline, tmp_path)
    decide(pipeline, FLAGGED)
    # Done again with another policy, so that no list holds what was decided about.
    write_policies(policies, length="Nothing may last 2")
    with open_reprocessor(pipeline.environment, quiet_log()) as reprocessor:
        reprocessor.moderate_again(batch)
    judged(pipeline, batch)
    itemised(pipeline, batch, REVIEW_SAMPLE="1")
    decide(pipeline, 0, "unsure", "Ada")
    decide(pipeline, 0, "reject", "Bob")
    before, objects = rows(pipeline.database), list(pipeline.store.keys("processed/"))
    execute(pipeline.database, "DELETE FROM reviews; DELETE FROM review_items")
    execute(pipeline.database, "DELETE FROM batches")
    # Of what was found before, and is no more, nobody wants to know.
    current = [row for row in before["review_items"] if row["superseded_at"] is None]
    after = {**before, "review_items": current}
    for _ in range(2):
        assert rebuilder.rebuild(batch).state == "complete"
        assert rows(pipeline.database) == after
    assert {row["kind"] for row in current} == {"flagged", "sample"}
    # Four of this round, and what was decided about; three of the round before.
    assert (len(current), len(before["review_items"])) == (5, 8)
    assert [row["decision"] for row in after["reviews"]] == ["uphold", "unsure", "reject"]
    assert found(swept(pipeline)) == {}
    # All of them are made, and known to be.
    itemised(pipeline, batch, REVIEW_SAMPLE="1")
    assert list(pipeline.store.keys("processed/")) == objects


@pytest.mark.usefixtures("policies")
def test_a_decision_without_a_row_is_recorded(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = reviewed(pipeline, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ReviewQueueRepository, "put_decision", _crash)
        with pytest.raises(KeyboardInterrupt):
            decide(pipeline, FLAGGED)
    assert rows(pipeline.database)["reviews"] == []
    rebuilder.rebuild(batch)
    (row,) = rows(pipeline.database)["reviews"]
    assert (row["decision"], row["reviewer"], row["note"]) == ("uphold", "Ada", "a\nnote")


@pytest.mark.usefixtures("policies")
def test_a_damaged_decision_is_reported_and_the_others_are_restored(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    batch = reviewed(pipeline, tmp_path)
    damaged = decide(pipeline, FLAGGED, "unsure", "Bob")
    decide(pipeline, FLAGGED, "uphold", "Ada")
    before = rows(pipeline.database)["review_items"]
    whole = pipeline.store.read(damaged.key)
    pipeline.store.write(
        damaged.key, whole.replace(b"note", b"n\xffte"), content_type="application/json"
    )
    execute(pipeline.database, "DELETE FROM reviews; DELETE FROM review_items")
    with pytest.raises(PermanentError, match=damaged.key) as caught:
        rebuilder.rebuild(batch)
    assert "Bob" not in str(caught.value)
    assert [row["reviewer"] for row in rows(pipeline.database)["reviews"]] == ["Ada"]
    assert rows(pipeline.database)["review_items"] == before


def test_an_item_list_older_than_the_completion_is_ignored(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    """A `reprocess` that died left it."""
    batch = finished(pipeline, tmp_path)
    # Stores tell whole seconds.
    time.sleep(1.1)
    announced = pipeline.store.read(batch.complete_key)
    pipeline.store.write(batch.complete_key, announced, content_type="application/json")
    assert rebuilder.rebuild(batch).state == "complete"
    assert found(swept(pipeline)) == {"batch-unitemised": 1}


def test_all_batches_of_the_bucket_are_rebuilt(
    run: Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    batches = [
        finished(pipeline, tmp_path),
        unpacked(pipeline, tmp_path),
        dropped(pipeline, tmp_path),
    ]
    before = rows(pipeline.database)
    execute(pipeline.database, "DELETE FROM batches")
    answer = printed(run("rebuild", "--yes", "--json"))
    states = {each["batch_id"]: each["state"] for each in answer["batches"]}
    assert states == {
        str(batches[0]): "complete",
        str(batches[1]): "transcribing",
        str(batches[2]): "unpacking",
    }
    after = rows(pipeline.database)
    assert after["recordings"] == before["recordings"]
    assert after["transcripts"] == before["transcripts"]
    # The third was never told, so it had no row.
    assert [row for row in after["batches"] if row["batch_id"] != str(batches[2])] == before[
        "batches"
    ]


def test_a_forbidden_archive_fails_only_its_own_batch(
    pipeline: Pipeline, rebuilder: Rebuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden, batch = dropped(pipeline, tmp_path), unpacked(pipeline, tmp_path)
    head = Store.head

    def refuse(self: Store, key: str) -> StoredObject | None:
        if key == forbidden.archive_key:
            raise PermanentError(f"{key}: the store forbids it (403)")
        return head(self, key)

    monkeypatch.setattr(Store, "head", refuse)
    outcomes = {outcome.batch: outcome for outcome in rebuilder.rebuild_all()}
    assert isinstance(outcomes[batch], Rebuilt)
    failed = outcomes[forbidden]
    assert isinstance(failed, NotRebuilt)
    assert "forbids" in failed.error


def test_a_batch_without_objects_is_forgotten_on_request(
    run: Run,
    pipeline: Pipeline,
    rebuilder: Rebuilder,
    tmp_path: Path,
) -> None:
    batch = dropped(pipeline, tmp_path)
    pipeline.database.stall_batch(batch, "no such archive")
    pipeline.store.delete(batch.archive_key)
    with pytest.raises(NothingStoredError):
        rebuilder.rebuild(batch)
    refused = run("rebuild", str(batch))
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert pipeline.database.batch(batch) is not None
    assert run("rebuild", "--yes", str(batch)).exit_code == 0
    assert pipeline.database.batch(batch) is None


@pytest.mark.usefixtures("policies")
def test_a_forgotten_batch_leaves_no_review_items(
    run: Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = reviewed(pipeline, tmp_path)
    decided = decide(pipeline, FLAGGED)
    for key in list(pipeline.store.keys("")):
        pipeline.store.delete(key)
    assert run("rebuild", "--yes", str(batch)).exit_code == 0
    assert printed(run("review", "list", "--state", "open", "--json"))["items"] == []
    (item,) = printed(run("review", "list", "--json"))["items"]
    assert item["item_id"] == decided.item.item_id


def test_rebuilding_all_batches_needs_confirmation(run: Run) -> None:
    assert run("rebuild").exit_code == 2


def test_an_unknown_batch_is_reported(rebuilder: Rebuilder) -> None:
    with pytest.raises(NothingStoredError, match="holds nothing"):
        rebuilder.rebuild(BatchId("20250622-143052-a1b2c3"))
