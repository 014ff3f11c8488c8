"""Whatever was lost, a sweep finds it; what can be repaired is in order afterwards."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from consumers.database.sweep import DEFAULT_AGES, Ages
from consumers.errors import PermanentError
from consumers.stages.stored_archive import BATCH_TAG, COMPLETE, STATE_TAG, describe
from consumers.store import ListedObject, Store, StoredObject
from events.keys import ArchiveKey, AudioId, BatchId
from ops.recovery.sweep.report import Discrepancy
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_sweeper
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline, Run, printed
from tests.integration.damage import (
    AT_ONCE,
    completed,
    dropped,
    execute,
    finished,
    found,
    itemised,
    reviewed_once_swept,
    rows,
    swept,
    transcribed,
    unpacked,
    until_itemised,
    without_events,
)
from tests.integration.test_pipeline import event_for
from tests.samples import RECORDINGS, WAV

#: Everything that is not done is told, however short ago that was before.
AGAIN = Ages(older_than=timedelta(), again_after=timedelta())


def depths(pipeline: Pipeline) -> dict[str, int]:
    return swept(pipeline, DEFAULT_AGES, is_dry=True).depths


def all_but_completion(pipeline: Pipeline) -> object:
    """Read the rows without when a batch was completed: it may be once more."""
    found = rows(pipeline.database)
    for batch in found["batches"]:
        del batch["completed_at"]
    return found


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """End pages between a recording's two objects, too."""
    pages = Store.pages

    def small(self: Store, prefix: str, *, per_request: int = 3) -> Iterator[list[ListedObject]]:
        return pages(self, prefix, per_request=min(per_request, 3))

    monkeypatch.setattr(Store, "pages", small)


@pytest.mark.usefixtures("small_pages")
def test_a_consistent_bucket_has_no_findings(pipeline: Pipeline, tmp_path: Path) -> None:
    for _ in range(2):
        finished(pipeline, tmp_path)
    before = rows(pipeline.database)
    report = swept(pipeline)
    assert found(report) == {}
    assert (report.archives, report.objects) == (2, 18)
    assert report.is_lossless
    assert rows(pipeline.database) == before


def test_sweeps_alone_finish_a_batch_of_which_every_event_is_lost(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = dropped(pipeline, tmp_path)
    pipeline.start()
    assert found(swept(pipeline)) == {"archive-untold": 1}
    eventually(lambda: row if (row := pipeline.database.batch(batch)) and row.sealed_at else None)
    assert found(swept(pipeline)) == {"recording-undone": 3}
    assert pipeline.wait(batch).counts == {"transcribed": 3}
    reviewed_once_swept(pipeline, batch)
    assert sum(pipeline.recogniser.groups) == 3


def test_recent_objects_are_left_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    unpacked(pipeline, tmp_path)
    dropped(pipeline, tmp_path)
    assert found(swept(pipeline, DEFAULT_AGES)) == {}
    assert found(swept(pipeline)) == {"archive-untold": 1, "recording-undone": 3}


def test_an_event_in_a_queue_is_not_resent_by_each_sweep(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    unpacked(pipeline, tmp_path)
    dropped(pipeline, tmp_path)
    before = depths(pipeline)
    swept(pipeline)
    again = swept(pipeline)
    assert found(again) == {"waiting": 4}
    assert again.depths == {
        "unpack": before["unpack"] + 1,
        "transcribe": before["transcribe"] + 3,
        # Not set up.
        "moderate": 0,
        "review": before["review"],
    }
    assert found(swept(pipeline, AGAIN)) == {"archive-undone": 1, "recording-undone": 3}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("DELETE FROM recordings WHERE ordinal = 1", {"transcript-unrecorded": 1}),
        (
            "UPDATE recordings SET state = 'converted', finished_at = NULL WHERE ordinal > 0",
            {"transcript-unrecorded": 2},
        ),
        (
            "UPDATE batches SET completed_at = NULL, announced_at = NULL",
            {"batch-uncompleted": 1},
        ),
        ("UPDATE batches SET announced_at = NULL", {"batch-unannounced": 1}),
        (
            "UPDATE batches SET announced_at = NULL, completed_at = NULL, sealed_at = NULL",
            {"archive-undone": 1},
        ),
        ("DELETE FROM batches", {"batch-unrecorded": 1}),
    ],
)
def test_rows_that_are_behind_the_bucket_catch_up(
    pipeline: Pipeline, tmp_path: Path, damage: str, expected: dict[str, int]
) -> None:
    batch = finished(pipeline, tmp_path)
    before = all_but_completion(pipeline)
    execute(pipeline.database, damage)
    report = swept(pipeline)
    assert found(report) == expected
    assert report.is_lossless
    pipeline.start()
    eventually(lambda: all_but_completion(pipeline) == before)
    assert pipeline.wait(batch).state == "complete"
    assert found(swept(pipeline)) == {}


def test_a_recording_that_was_never_told(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path)
    execute(pipeline.database, "DELETE FROM recordings WHERE ordinal = 0")
    assert found(swept(pipeline)) == {"recording-untold": 1, "recording-undone": 2}
    assert found(swept(pipeline)) == {"waiting": 3}
    pipeline.start()
    assert pipeline.wait(batch).counts == {"transcribed": 3}
    assert {each.path for each in pipeline.database.recordings(batch)} == set(RECORDINGS)
    reviewed_once_swept(pipeline, batch)


def test_a_batch_whose_archive_has_expired_is_put_on_record_again(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    before = rows(pipeline.database)
    pipeline.store.delete(batch.archive_key)
    for damage in (
        "DELETE FROM batches",
        "UPDATE batches SET announced_at = NULL, completed_at = NULL, sealed_at = NULL",
    ):
        execute(pipeline.database, damage)
        assert found(swept(pipeline)) == {"batch-unrecorded": 1}
        assert rows(pipeline.database) == before
        assert found(swept(pipeline)) == {}


def test_a_missing_announcement_is_written_again(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = finished(pipeline, tmp_path)
    announced, listed = (
        pipeline.store.read(batch.complete_key),
        pipeline.store.head(batch.review_key),
    )
    pipeline.store.delete(batch.complete_key)
    assert found(swept(pipeline)) == {"announcement-gone": 1}
    assert pipeline.store.read(batch.complete_key) == announced
    assert found(swept(pipeline)) == {}
    # It is the same completion, of which all review items are made.
    itemised(pipeline, batch)
    assert pipeline.store.head(batch.review_key) == listed


def test_a_complete_batch_that_was_never_told_to_review(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = completed(pipeline, tmp_path)
    assert found(swept(pipeline, DEFAULT_AGES)) == {}
    before = depths(pipeline)
    report = swept(pipeline)
    assert found(report) == {"batch-unitemised": 1}
    assert report.is_lossless
    assert report.tallies[Discrepancy.BATCH_UNITEMISED].names == [str(batch)]
    assert report.depths == {**before, "review": before["review"] + 1}
    # It waits in the queue.
    again = swept(pipeline)
    assert (found(again), again.depths) == ({"waiting": 1}, report.depths)
    assert found(swept(pipeline, AGAIN)) == {"batch-unitemised": 1}
    pipeline.start()
    until_itemised(pipeline, batch)
    assert pipeline.store.head(batch.review_key)
    assert found(swept(pipeline)) == {}


def test_why_a_batch_is_not_made_ready_for_review_is_told(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = completed(pipeline, tmp_path)
    review = pipeline.review()
    review.give_up(event_for(pipeline, batch.complete_key), "an Opus object is damaged")
    report = swept(pipeline)
    assert found(report) == {"dead": 1}
    assert report.tallies[Discrepancy.DEAD].names == [str(batch)]
    assert review.handle([event_for(pipeline, batch.complete_key)]) == [None]
    assert found(swept(pipeline)) == {}


def test_an_archive_that_an_older_version_did_not_tag_is_tagged(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    pipeline.store.tag(batch.archive_key, {"project": "birds"})
    execute(pipeline.database, "UPDATE batches SET is_unmarked = true")
    assert found(swept(pipeline)) == {"archive-unmarked": 1}
    assert pipeline.store.tags(batch.archive_key) == {
        "project": "birds",
        STATE_TAG: COMPLETE,
        BATCH_TAG: str(batch),
    }
    assert found(swept(pipeline)) == {}


def lose_opus(pipeline: Pipeline, batch: BatchId) -> None:
    pipeline.store.delete(AudioId(batch, 0).opus_key)
    pipeline.store.delete(AudioId(batch, 2).opus_key)
    pipeline.store.delete(AudioId(batch, 2).transcript_key)


def lose_transcript(pipeline: Pipeline, batch: BatchId) -> None:
    pipeline.store.delete(AudioId(batch, 2).transcript_key)


def lose_manifest(pipeline: Pipeline, batch: BatchId) -> None:
    pipeline.store.delete(batch.manifest_key)


def lose_everything(pipeline: Pipeline, batch: BatchId) -> None:
    for key in list(pipeline.store.keys("")):
        pipeline.store.delete(key)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("lose", "expected"),
    [
        (lose_opus, {"opus-gone": 2}),
        (lose_transcript, {"transcript-gone": 1}),
        (lose_manifest, {"manifest-gone": 1}),
        (lose_everything, {"opus-gone": 3, "manifest-gone": 1}),
    ],
)
def test_rows_without_objects_are_reported_and_kept(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
    lose: Callable[[Pipeline, BatchId], None],
    expected: dict[str, int],
) -> None:
    batch = finished(pipeline, tmp_path)
    before = rows(pipeline.database)
    lose(pipeline, batch)
    for _ in range(2):
        result = run("sweep", "--older-than", "0s", "--json")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert not document["lossless"]
        assert {kind: each["found"] for kind, each in document["found"].items()} == expected
    assert rows(pipeline.database) == before


def test_an_unfinished_recording_without_its_object_is_reported(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = unpacked(pipeline, tmp_path)
    pipeline.store.delete(AudioId(batch, 1).opus_key)
    assert found(swept(pipeline)) == {"recording-undone": 2, "opus-gone": 1}
    assert "is gone" in (pipeline.database.recordings(batch)[1].stalled or "")


def test_an_archive_deleted_before_it_was_unpacked_is_reported(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = dropped(pipeline, tmp_path)
    swept(pipeline)
    pipeline.store.delete(batch.archive_key)
    for _ in range(2):
        report = swept(pipeline, AGAIN)
        assert found(report) == {"archive-gone": 1}
        assert not report.is_lossless
    row = pipeline.database.batch(batch)
    assert row is not None
    assert "drop it again" in (row.stalled or "")


def test_a_batch_of_which_only_recordings_are_left_is_told(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = unpacked(pipeline, tmp_path)
    for key in (batch.archive_key, batch.manifest_key):
        pipeline.store.delete(key)
    execute(pipeline.database, "DELETE FROM batches")
    swept(pipeline)
    assert found(swept(pipeline)) == {"waiting": 3, "archive-gone": 1}


def test_content_that_was_stored_over_an_archive_is_told(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    pipeline.store.write(batch.archive_key, tar_of({"x.wav": WAV}), content_type="x")
    report = swept(pipeline)
    assert found(report) == {"archive-overwritten": 1}
    assert not report.is_lossless


@pytest.mark.parametrize("name", ["copy.tar", "tar.old"])
def test_a_copy_of_an_archive_is_left_alone(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    """Its batch is neither rebuilt nor told by each sweep, whatever the copy is called."""
    for batch in (dropped(pipeline, tmp_path), finished(pipeline, tmp_path)):
        pipeline.store.write(
            f"archives/{batch}.{name}", pipeline.store.read(batch.archive_key), content_type="x"
        )
    swept(pipeline)
    before, queues = rows(pipeline.database), depths(pipeline)
    assert found(swept(pipeline)) == {"waiting": 1, "archive-copy": 2}
    assert (rows(pipeline.database), depths(pipeline)) == (before, queues)


@pytest.mark.parametrize("name", ["copy.tar", "tar.old"])
def test_a_renamed_archive_is_followed(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    batch = dropped(pipeline, tmp_path)
    swept(pipeline)
    key = f"archives/{batch}.{name}"
    pipeline.store.write(key, pipeline.store.read(batch.archive_key), content_type="x")
    pipeline.store.delete(batch.archive_key)
    assert found(swept(pipeline))["archive-untold"] == 1
    pipeline.start()
    eventually(lambda: row if (row := pipeline.database.batch(batch)) and row.sealed_at else None)
    swept(pipeline)
    assert pipeline.wait(batch).state == "complete"
    assert pipeline.store.tags(key)[STATE_TAG] == COMPLETE
    reviewed_once_swept(pipeline, batch)


def test_an_archive_that_belongs_to_another_batch_is_reported_as_its_own(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Somebody's tags are enough for Ceph to say another time of an archive."""
    dropped(pipeline, tmp_path)
    key = "archives/interviews in May.tar"
    pipeline.store.write(key, tar_of({"a.wav": WAV}), content_type="application/x-tar")
    stored = pipeline.store.head(key)
    assert stored is not None
    earlier = BatchId.derived(stored.last_modified - timedelta(minutes=1), key, stored.etag)
    archive = replace(describe(pipeline.store, ArchiveKey(key, None), stored), batch=earlier)
    pipeline.database.register(archive)
    assert swept(pipeline).tallies[Discrepancy.ARCHIVE_UNDONE].names == [key]
    pipeline.unpack().handle([event_for(pipeline, key)])
    row = pipeline.database.batch(earlier)
    assert row is not None
    assert row.sealed_at


def test_a_forbidden_archive_does_not_delay_the_others(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden, batch = dropped(pipeline, tmp_path), dropped(pipeline, tmp_path)
    head = Store.head

    def refuse(self: Store, key: str) -> StoredObject | None:
        if key == forbidden.archive_key:
            raise PermanentError(f"{key}: the store forbids it (403)")
        return head(self, key)

    monkeypatch.setattr(Store, "head", refuse)
    report = swept(pipeline)
    assert found(report) == {"failed": 1, "archive-untold": 1}
    assert "forbids" in report.tallies[Discrepancy.FAILED].names[0]
    assert report.tallies[Discrepancy.ARCHIVE_UNTOLD].names == [batch.archive_key]


def test_unfinished_batches_are_not_announced_again(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = finished(pipeline, tmp_path)
    pipeline.store.delete(batch.complete_key)
    pipeline.store.delete(AudioId(batch, 0).transcript_key)
    execute(
        pipeline.database,
        "UPDATE recordings SET state = 'converted', finished_at = NULL, transcript_key = NULL "
        "WHERE ordinal = 0",
    )
    # It is not ready for review, either.
    assert found(swept(pipeline)) == {"announcement-gone": 1, "recording-undone": 1}
    assert found(swept(pipeline)) == {"waiting": 1}
    assert pipeline.store.head(batch.complete_key) is None
    transcribed(pipeline, batch, [0])
    announced = json.loads(pipeline.store.read(batch.complete_key))
    assert announced["counts"] == {"transcribed": 3}
    assert found(swept(pipeline)) == {"batch-unitemised": 1}
    itemised(pipeline, batch)
    assert found(swept(pipeline)) == {}


def test_archives_under_any_name_keep_their_batch(pipeline: Pipeline) -> None:
    without_events(pipeline)
    keys = [f"archives/{name}" for name in ("Zoë's tapes.tar", "a/b+c%2B.tar", "z.tar")]
    for key in keys:
        pipeline.store.write(key, tar_of({"a.wav": WAV}), content_type="application/x-tar")
    pipeline.store.write("archives/tapes/", b"", content_type="x")
    assert found(swept(pipeline)) == {"archive-untold": 3}
    pipeline.start()
    batches = eventually(
        lambda: (
            batches
            if len(batches := [row for row in pipeline.database.batches(9) if row.sealed_at]) == 3
            else None
        )
    )
    swept(pipeline)
    for row in batches:
        assert pipeline.wait(row.batch).state == "complete"
    reviewed_once_swept(pipeline, *(row.batch for row in batches))
    assert sorted(row.archive_key or "" for row in pipeline.database.batches(9)) == sorted(keys)


def test_dead_letters_are_reported_and_not_resent(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path)
    pipeline.database.stall_recording(AudioId(batch, 0), "the model is away")
    untold, dead = dropped(pipeline, tmp_path), dropped(pipeline, tmp_path)
    pipeline.database.stall_batch(dead, "the store forbids it")
    report = swept(pipeline)
    assert found(report) == {"dead": 2, "recording-undone": 2, "archive-untold": 1}
    assert report.is_lossless
    assert set(report.tallies[Discrepancy.DEAD].names) == {dead.archive_key, str(AudioId(batch, 0))}
    assert report.tallies[Discrepancy.ARCHIVE_UNTOLD].names == [untold.archive_key]
    assert found(swept(pipeline)) == {"dead": 2, "waiting": 3}


def test_objects_of_others_are_counted_and_left_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = finished(pipeline, tmp_path)
    keys = [
        f"{batch.prefix}-notes.txt",
        "processed/readme.md",
        f"processed/1999-01-01/{batch}.opus",
    ]
    for key in keys:
        pipeline.store.write(key, b"x", content_type="text/plain")
    report = swept(pipeline)
    assert found(report) == {"foreign": 3}
    assert report.is_lossless
    assert all(pipeline.store.head(key) for key in keys)


def test_a_dry_run_finds_the_same_and_changes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = finished(pipeline, tmp_path)
    execute(pipeline.database, "DELETE FROM batches")
    transcribed(pipeline, batch, [0])
    completed(pipeline, tmp_path)
    unpacked(pipeline, tmp_path)
    dropped(pipeline, tmp_path)
    before, queues = rows(pipeline.database), depths(pipeline)
    dry = swept(pipeline, is_dry=True)
    assert (rows(pipeline.database), depths(pipeline)) == (before, queues)
    assert not any(tally.done for tally in dry.tallies.values())
    assert found(swept(pipeline)) == found(dry)


def test_a_second_sweep_leaves_it_to_the_first(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    dropped(pipeline, tmp_path)
    with pipeline.database.locks() as locks:
        assert locks.acquire("sweep")
        result = run("sweep", "--older-than", "0s")
        assert (result.exit_code, result.stdout) == (0, "another sweep is running\n")
        assert printed(run("sweep", "--json")) == {"running": True}
    assert printed(run("sweep", "--older-than", "0s", "--json"))["found"]["archive-untold"] == {
        "found": 1,
        "done": 1,
        "names": list(pipeline.store.keys("archives/")),
    }


def test_a_sweep_ends_between_two_pages_when_it_is_asked_to(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    dropped(pipeline, tmp_path)
    with open_sweeper(pipeline.environment, quiet_log(), AT_ONCE) as sweeper:
        asked = iter([False, True])
        report = sweeper.sweep(is_over=lambda: next(asked, True))
    assert report is not None
    assert report.ended_early
    assert found(report) == {}


def test_people_are_shown_a_table(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    batch = finished(pipeline, tmp_path)
    assert "everything is in order; checked 1 archive and 9 objects" in run("sweep").stdout
    execute(pipeline.database, "UPDATE batches SET announced_at = NULL")
    shown = " ".join(run("sweep", "--older-than", "0s").stdout.split())
    assert "completed, not announced" in shown
    assert str(batch)[:8] in shown
    assert run("sweep", "--older-than", "a while").exit_code == 2


def test_sweeping_again_and_again_ends_with_sigterm(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    finished(pipeline, tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(8.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    result = run("sweep", "--every", "1s", "--json")
    assert result.exit_code == 0
    assert result.stdout.count('"lossless": true') >= 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_every_kind_is_explained() -> None:
    assert all(kind.what and kind.deed for kind in Discrepancy)
