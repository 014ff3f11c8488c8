"""Sweep, rebuild and reprocess on real servers, while consumers are at work on the same batches."""

from __future__ import annotations

import time
from random import Random

from consumers.database.rows import Batch
from consumers.stages.stored_archive import KEPT, STATE_TAG
from events.keys import BatchId
from ops.recovery.rebuild.rebuilder import NotRebuilt
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_rebuilder, open_reprocessor
from tests.faults.conftest import eventually, in_work, swept, whole
from tests.harness.deployment.batches import make_archive
from tests.harness.deployment.cluster import Cluster

FOREIGN = "archives/Zoë's tapes +1%2B.tar"


def execute(here: Cluster, statement: str, batch: BatchId) -> None:
    with here.database._transaction() as connection:
        connection.execute(statement, {"batch": str(batch)})


def anew(here: Cluster, batch: BatchId) -> None:
    """Delete the database's record of the batch's earlier ends."""
    execute(here, "DELETE FROM soak_ends WHERE starts_with(what, %(batch)s)", batch)


def forget(here: Cluster, batch: BatchId) -> None:
    """Lose the rows of a batch."""
    execute(here, "DELETE FROM batches WHERE batch_id = %(batch)s", batch)
    anew(here, batch)


def is_again(here: Cluster, batch: BatchId, before: Batch | None) -> bool:
    """Whether a batch has completed since."""
    row = here.database.batch(batch)
    return (
        before is not None
        and row is not None
        and row.announced_at is not None
        and row.completed_at != before.completed_at
    )


def settled(here: Cluster, *batches: BatchId) -> None:
    """Wait until batches are over and no event of them is left; nothing may be out of order."""
    whole(here, *batches)
    eventually(here, lambda: not here.left_in_queues())
    whole(here, *batches)
    assert not swept(here)


def test_swept_again_and_again_in_the_middle_of_a_batch(here: Cluster) -> None:
    """Events that sweeps resend needlessly are handled once."""
    batch = here.drop(Random(31), recordings=30)
    in_work(here, batch)
    rounds = 0
    while here.look(batch).state != "complete":
        swept(here)
        here.fleet.tend()
        rounds += 1
    assert rounds > 1
    settled(here, batch)
    # As among the recordings are some that hold no sound.
    assert here.store.tags(batch.archive_key)[STATE_TAG] == KEPT


def test_rows_are_lost_in_the_middle_of_a_batch(here: Cluster) -> None:
    """All that the bucket holds comes back, and consumers finish it."""
    done, expired = (here.drop(Random(seed), recordings=4) for seed in (32, 33))
    whole(here, done, expired)
    announced = here.store.head(done.complete_key)
    here.store.delete(expired.archive_key)
    half = here.drop(Random(34), recordings=30)
    in_work(here, half)
    here.fleet.stop()
    for batch in (done, expired, half):
        forget(here, batch)
    with open_rebuilder(here.deployment.environment, quiet_log()) as rebuilder:
        outcomes = {outcome.batch: outcome for outcome in rebuilder.rebuild_all()}
    assert not [each for each in outcomes.values() if isinstance(each, NotRebuilt)]
    assert outcomes.keys() >= {done, expired, half}
    assert (here.look(done).state, here.look(expired).state) == ("complete", "complete")
    # What was complete is not announced once more.
    assert here.store.head(done.complete_key) == announced
    here.fleet.tend()
    swept(here)
    settled(here, done, expired, half)


def test_a_batch_is_done_again_from_its_recordings(here: Cluster) -> None:
    batch = here.drop(Random(35), recordings=8)
    whole(here, batch)
    before = here.database.batch(batch)
    anew(here, batch)
    with open_reprocessor(here.deployment.environment, quiet_log()) as reprocessor:
        reprocessor.transcribe_again(batch)
    eventually(here, lambda: is_again(here, batch, before))
    settled(here, batch)


def test_a_batch_under_any_name_is_done_again_from_its_archive(here: Cluster) -> None:
    """It stays the same batch, though tagging it gives it another time on Ceph."""
    path = here.folder / "tapes.tar"
    plan = make_archive(path, Random(36), recordings=5)
    here.store.write(FOREIGN, path.read_bytes(), content_type="application/x-tar")
    eventually(here, lambda: batches_of(here))
    (batch,) = batches_of(here)
    here.plans[batch] = plan
    whole(here, batch)
    # Two seconds later, foreign tags replace ours.
    time.sleep(2)
    here.store.tag(FOREIGN, {"project": "birds"})
    before = here.database.batch(batch)
    anew(here, batch)
    with open_reprocessor(here.deployment.environment, quiet_log()) as reprocessor:
        reprocessor.unpack_again(batch)
    eventually(here, lambda: is_again(here, batch, before))
    assert batches_of(here) == [batch]
    settled(here, batch)
    assert here.store.tags(FOREIGN)["project"] == "birds"


def batches_of(here: Cluster) -> list[BatchId]:
    """List the batches that the archive under any name stands for."""
    return [row.batch for row in here.database.batches(1000) if row.archive_key == FOREIGN]
