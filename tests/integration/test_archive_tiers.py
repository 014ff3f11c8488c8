"""Objects that the store has put away, as Glacier does: told, and done once they are restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from consumers.errors import PermanentError
from events.keys import AudioId, BatchId
from ops.cli.main import main
from ops.recovery.sweep.report import Discrepancy
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.integration.damage import (
    completed,
    dropped,
    execute,
    found,
    swept,
    transcribed,
    unpacked,
    without_events,
)
from tests.integration.test_pipeline import event_for
from tests.samples import RECORDINGS, WAV

BATCH = BatchId("20250622-143052-a1b2c3")
KEY = BATCH.archive_key


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto is one server, and nobody else looks at its letters."""
    monkeypatch.setattr("consumers.broker.sqs_dead_letters._LONG_POLL", 0)


def put_away(pipeline: Pipeline, key: str, tier: str = "GLACIER") -> None:
    s3: Any = pipeline.store._client
    bucket = pipeline.store.bucket
    s3.copy_object(
        Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": key}, StorageClass=tier
    )


def restore(pipeline: Pipeline, key: str) -> None:
    s3: Any = pipeline.store._client
    s3.restore_object(Bucket=pipeline.store.bucket, Key=key, RestoreRequest={"Days": 1})
    # Moto restores at once, and sends the event when it is asked for the object.
    assert pipeline.store.head(key)


def without_restorations(pipeline: Pipeline) -> None:
    """Lose the events of restored objects from now on."""
    s3: Any = pipeline.store._client
    bucket = pipeline.store.bucket
    rules = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{**rule, "Events": ["s3:ObjectCreated:*"]} for rule in rules]
        },
    )


def drop_away(pipeline: Pipeline, key: str, tier: str) -> None:
    s3: Any = pipeline.store._client
    s3.put_object(Bucket=pipeline.store.bucket, Key=key, Body=tar_of(RECORDINGS), StorageClass=tier)


@pytest.mark.parametrize("tier", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archive_is_told_at_once_and_done_when_it_is_restored(
    pipeline: Pipeline, variables: dict[str, str], tier: str
) -> None:
    pipeline.start()
    drop_away(pipeline, KEY, tier)
    progress = pipeline.wait(BATCH)
    assert progress.state == "stalled"
    assert "restore it" in str(progress)
    # The store's event of it comes by itself.
    restore(pipeline, KEY)
    assert eventually(lambda: pipeline.wait(BATCH).state == "complete")


def test_a_dead_letter_can_be_replayed_once_the_archive_is_restored(
    pipeline: Pipeline, variables: dict[str, str]
) -> None:
    pipeline.start()
    drop_away(pipeline, KEY, "GLACIER")
    assert pipeline.wait(BATCH).state == "stalled"
    without_restorations(pipeline)
    restore(pipeline, KEY)
    arguments = ["dead", "replay", "--batch", str(BATCH), "--reason", "permanent"]
    result = CliRunner().invoke(main, arguments, env=variables)
    assert result.exit_code == 0, result.output
    assert eventually(lambda: pipeline.wait(BATCH).state == "complete")


def test_a_sweep_goes_on_past_it(pipeline: Pipeline, tmp_path: Path) -> None:
    away, batch = dropped(pipeline, tmp_path), dropped(pipeline, tmp_path)
    put_away(pipeline, away.archive_key)
    event = event_for(pipeline, away.archive_key)
    unpack = pipeline.unpack()
    (error,) = unpack.handle([event])
    assert isinstance(error, PermanentError)
    unpack.give_up(event, str(error))
    report = swept(pipeline)
    assert found(report) == {"dead": 1, "archive-untold": 1}
    assert report.tallies[Discrepancy.ARCHIVE_UNTOLD].names == [batch.archive_key]
    assert report.tallies[Discrepancy.DEAD].names == [away.archive_key]


def test_a_batch_whose_manifest_is_put_away_is_a_finding(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    away, batch = completed(pipeline, tmp_path), unpacked(pipeline, tmp_path)
    put_away(pipeline, away.manifest_key)
    for table in ("transcripts", "recordings", "batches"):
        execute(pipeline.database, f"DELETE FROM {table} WHERE batch_id = '{away}'")  # noqa: S608
    report = swept(pipeline)
    failed = report.tallies[Discrepancy.FAILED].names
    assert any(str(away) in name and "restore it" in name for name in failed)
    assert report.tallies[Discrepancy.RECORDING_UNDONE].found == len(RECORDINGS)
    assert not report.is_lossless
    assert batch != away


def test_a_recording_waits_for_its_restoration(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path)
    audio = AudioId(batch, 0)
    put_away(pipeline, audio.opus_key)
    keys = [AudioId(batch, ordinal).opus_key for ordinal in range(len(RECORDINGS))]
    outcomes = pipeline.transcribe().handle([event_for(pipeline, key) for key in keys])
    assert isinstance(outcomes[0], PermanentError)
    assert "restore it" in str(outcomes[0])
    assert outcomes[1:] == [None, None]
    states = [each.state for each in pipeline.database.recordings(batch)]
    assert states == ["converted", "transcribed", "transcribed"]
    assert pipeline.store.head(audio.transcript_key) is None

    restore(pipeline, audio.opus_key)
    transcribed(pipeline, batch, [0])

    row = pipeline.database.batch(batch)
    assert row is not None
    assert row.completed_at is not None


def test_content_under_a_folders_key_is_listed_by_the_sweep(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    without_events(pipeline)
    pipeline.store.write("archives/empty/", b"", content_type="x")
    pipeline.store.write("archives/tapes/", WAV, content_type="x")
    batch = dropped(pipeline, tmp_path)
    report = swept(pipeline)
    assert found(report) == {"archive-folder": 1, "archive-untold": 1}
    assert report.tallies[Discrepancy.ARCHIVE_FOLDER].names == ["archives/tapes/"]
    assert report.tallies[Discrepancy.ARCHIVE_UNTOLD].names == [batch.archive_key]
    assert not report.is_lossless
