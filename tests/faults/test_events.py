"""Events doubled, shuffled, lost, too early and too late."""

from __future__ import annotations

import json
import secrets
import time
from datetime import timedelta
from random import Random

import pytest

from events.keys import AudioId, BatchId
from events.notification import decode, encode
from ops.wiring.adapters import utc_now
from tests.faults.conftest import eventually, start, swept, whole
from tests.harness.deployment.cluster import Cluster

#: The routes whose work precedes a route's events.
EARLIER = {
    "moderate": ("unpack", "transcribe"),
    "review": ("unpack", "transcribe", "moderate"),
}


def tell(here: Cluster, batch: BatchId, times: int = 1) -> None:
    """Send the events of an archive, its first recording and its completion again."""
    audio = AudioId(batch, 1)
    told = {
        "unpack": batch.archive_key,
        "transcribe": audio.opus_key,
        "moderate": audio.transcript_key,
        "review": batch.complete_key,
    }
    for route, key in told.items():
        here.messages.put(here.queue(route), encode(here.store.bucket, key), times)


def queued(here: Cluster, number: int, route: str = "unpack") -> None:
    """Wait for a number of events, while no consumer of the route runs."""
    eventually(here, lambda: here.messages.count(here.queue(route)) >= number, tend=False)


def lost(here: Cluster, batch: BatchId, number: int, route: str) -> None:
    """Lose a number of a batch's events, while no consumer of the route runs.

    Others may come meanwhile: a store sends events late, and sometimes twice.
    """
    queue = here.queue(route)
    keys: set[str] = set()
    others: list[str] = []

    def are_lost() -> bool:
        for body in here.messages.take_all(queue):
            found = [event.key for event in decode(body)]
            keys.update(key for key in found if str(batch) in key)
            others.extend(body for key in found if str(batch) not in key)
        return len(keys) >= number

    eventually(here, are_lost, tend=False)
    for body in others:
        here.messages.put(queue, body)


def transcribed_in(here: Cluster, batch: BatchId) -> int:
    """Count the recordings that end with a transcript."""
    return sum(state != "rejected" for state in here.plans[batch].states.values())


def test_duplicate_events_during_and_after_the_work(here: Cluster) -> None:
    others = [here.fleet.add(route) for route in ("unpack", "moderate", "review")]
    batch = here.drop(Random(5), recordings=6)
    for _ in range(5):
        tell(here, batch, 3)
        time.sleep(0.1)
    whole(here, batch)
    tell(here, batch, 3)
    eventually(here, lambda: not here.left_in_queues())
    whole(here, batch)
    for other in others:
        here.fleet.dismiss(other)


def test_shuffled_events(here: Cluster) -> None:
    here.fleet.stop()
    batches = [here.drop(Random(6), recordings=4) for _ in range(6)]
    queued(here, 6)
    assert here.messages.shuffle(here.queue("unpack"), 6, Random(1)) == 6
    whole(here, *batches)


@pytest.mark.parametrize("route", ["moderate", "review"])
def test_shuffled_and_duplicate_events_without_consumers(here: Cluster, route: str) -> None:
    here.fleet.stop()
    start(here, *EARLIER[route])
    batches = [here.drop(Random(60 + number), recordings=3) for number in range(3)]
    number = (
        len(batches) if route == "review" else sum(transcribed_in(here, each) for each in batches)
    )
    queued(here, number, route)
    for batch in batches:
        tell(here, batch, 2)
    assert here.messages.shuffle(here.queue(route), 20, Random(2)) > 1
    whole(here, *batches)
    eventually(here, lambda: not here.left_in_queues())
    whole(here, *batches)


def test_the_sweep_resends_a_lost_event(here: Cluster) -> None:
    """A sweep resends events that were lost on the way from the store."""
    here.fleet.stop()
    batch = here.drop(Random(9), recordings=3)
    lost(here, batch, 1, "unpack")
    # Before any consumer runs: the store may send a lost event a second time.
    assert swept(here)["archive-untold"] == 1
    whole(here, batch)
    assert not swept(here)


@pytest.mark.parametrize(
    ("route", "found"), [("moderate", "transcript-untold"), ("review", "batch-unitemised")]
)
def test_the_sweep_resends_a_lost_event_of_a_later_stage(
    here: Cluster, route: str, found: str
) -> None:
    here.fleet.stop()
    start(here, *EARLIER[route])
    batch = here.drop(Random(63), recordings=3)
    lost(here, batch, 1 if route == "review" else transcribed_in(here, batch), route)
    # The store sends an object's event before the consumer has written the row.
    at_rest = {"moderating", "complete"}
    eventually(here, lambda: here.look(batch).state in at_rest, tend=False)
    assert not here.is_over(batch)
    waiting = sum(state == "moderated" for state in here.plans[batch].states.values())
    assert swept(here)[found] == (1 if route == "review" else waiting)
    whole(here, batch)
    eventually(here, lambda: not here.left_in_queues())
    assert not swept(here)


def test_an_event_of_a_deleted_object(here: Cluster) -> None:
    """An old event of a deleted object ends with a line in the log."""
    gone = BatchId.new(utc_now() - timedelta(days=40), secrets.token_bytes(3))
    tell(here, gone)
    batch = here.drop(Random(7), recordings=2)
    whole(here, batch)
    assert here.database.batch(gone) is None


def test_an_event_before_its_object(here: Cluster) -> None:
    batch = BatchId.new(utc_now(), secrets.token_bytes(3))
    record = json.loads(encode(here.store.bucket, batch.archive_key))
    record["Records"][0]["eventTime"] = here.store.now().isoformat()
    here.messages.put(here.queue("unpack"), json.dumps(record))
    time.sleep(1.5)
    assert here.database.batch(batch) is None
    here.drop(Random(8), recordings=2, batch=batch)
    whole(here, batch)
