"""Batches without notifications, and damage to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from consumers.database.batches import BatchRepository
from consumers.database.sweep import Ages
from events.keys import AudioId, BatchId
from ops.recovery.sweep.report import SweepReport
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_sweeper
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.integration.test_pipeline import event_for
from tests.samples import RECORDINGS, archive

#: Columns that hold when something was written: no bucket knows that.
TIMES = {"created_at", "finished_at", "sealed_at", "announced_at", "retold_at", "itemised_at"}

_TABLES = (
    "batches",
    "recordings",
    "sidecars",
    "transcripts",
    "verdicts",
    "review_items",
    "reviews",
)

AT_ONCE = Ages(older_than=timedelta(), again_after=timedelta(hours=6))


def without_events(pipeline: Pipeline) -> None:
    """Lose every notification from now on."""
    pipeline.store._client.put_bucket_notification_configuration(
        Bucket=pipeline.store.bucket, NotificationConfiguration={}
    )


def dropped(pipeline: Pipeline, tmp_path: Path, data: bytes | None = None) -> BatchId:
    """Drop an archive, and lose its event."""
    without_events(pipeline)
    return pipeline.drop(archive(tmp_path, data or tar_of(RECORDINGS)))


def unpacked(pipeline: Pipeline, tmp_path: Path, data: bytes | None = None) -> BatchId:
    """Drop and unpack an archive, and lose the events of its recordings."""
    batch = dropped(pipeline, tmp_path, data)
    pipeline.unpack().handle([event_for(pipeline, batch.archive_key)])
    return batch


def transcribed(pipeline: Pipeline, batch: BatchId, ordinals: Sequence[int]) -> None:
    """Transcribe some recordings of a batch."""
    keys = [AudioId(batch, ordinal).opus_key for ordinal in ordinals]
    outcomes = pipeline.transcribe().handle([event_for(pipeline, key) for key in keys])
    assert outcomes == [None] * len(keys)


def completed(pipeline: Pipeline, tmp_path: Path) -> BatchId:
    """Drop and complete an archive, and lose the event of its completion."""
    batch = unpacked(pipeline, tmp_path)
    transcribed(pipeline, batch, range(len(RECORDINGS)))
    return batch


def finished(pipeline: Pipeline, tmp_path: Path) -> BatchId:
    """Drop one and do all of it."""
    batch = completed(pipeline, tmp_path)
    itemised(pipeline, batch)
    return batch


def itemised(pipeline: Pipeline, batch: BatchId, **settings: str) -> None:
    """Make a complete batch's review items."""
    handler = pipeline.review(**settings)
    assert handler.handle([event_for(pipeline, batch.complete_key)]) == [None]


def until_itemised(pipeline: Pipeline, *batches: BatchId) -> None:
    """Wait until a consumer has made the batches' review items."""

    def look() -> bool:
        found = [pipeline.database.batch(batch) for batch in batches]
        return all(row is not None and row.itemised_at is not None for row in found)

    eventually(look)


def reviewed_once_swept(pipeline: Pipeline, *batches: BatchId) -> None:
    """Sweep where only events for `review` were lost, whose consumer runs."""
    assert found(swept(pipeline)) == {"batch-unitemised": len(batches)}
    until_itemised(pipeline, *batches)
    assert found(swept(pipeline)) == {}


def execute(database: BatchRepository, statement: str) -> None:
    """Do something to the rows."""
    with database._transaction() as connection:
        connection.execute(statement)


def rows(database: BatchRepository) -> dict[str, list[dict[str, Any]]]:
    """Read all that the tables say, but for when it was written."""
    found = {}
    with database._transaction() as connection:
        for table in _TABLES:
            answer = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608
            found[table] = [
                {name: value for name, value in row.items() if name not in TIMES} for row in answer
            ]
    return found


def swept(pipeline: Pipeline, ages: Ages = AT_ONCE, *, is_dry: bool = False) -> SweepReport:
    """Sweep once."""
    with open_sweeper(pipeline.environment, quiet_log(), ages) as sweeper:
        report = sweeper.sweep(is_dry=is_dry)
    assert report is not None
    return report


def found(report: SweepReport) -> dict[str, int]:
    """The number of findings of each kind."""
    return {str(kind): tally.found for kind, tally in report.tallies.items()}
