"""Events doubled, shuffled, lost, too early and too late."""

from __future__ import annotations

import json
import secrets
import time
from datetime import timedelta
from random import Random

from events.keys import AudioId, BatchId
from events.notification import encode
from events.routes import ROUTES
from ops.composition import utc_now
from ops.soak.site import Site
from tests.faults.conftest import eventually, swept, whole

UNPACK, TRANSCRIBE = ROUTES


def tell(here: Site, batch: BatchId, times: int = 1) -> None:
    """Tell of an archive, and of its first recording, once more."""
    for route, key in ((UNPACK, batch.archive_key), (TRANSCRIBE, AudioId(batch, 1).opus_key)):
        here.messages.put(here.queue(route), encode(here.store.bucket, key), times)


def queued(here: Site, number: int) -> None:
    """Wait until archives are told of, while no consumer runs."""
    deadline = time.monotonic() + 60
    while here.messages.count(here.queue(UNPACK)) < number:
        assert time.monotonic() < deadline, "the store does not tell"
        time.sleep(0.1)


def test_told_many_times_while_it_is_worked_on_and_after(here: Site) -> None:
    second = here.fleet.add("unpack")
    batch = here.drop(Random(5), recordings=6)
    for _ in range(5):
        tell(here, batch, 3)
        time.sleep(0.1)
    whole(here, batch)
    tell(here, batch, 3)
    eventually(here, lambda: here.messages.count(here.queue(UNPACK)) == 0)
    whole(here, batch)
    here.fleet.dismiss(second)


def test_told_in_any_order(here: Site) -> None:
    here.fleet.stop()
    batches = [here.drop(Random(6), recordings=4) for _ in range(6)]
    queued(here, 6)
    assert here.messages.shuffle(here.queue(UNPACK), 6, Random(1)) == 6
    whole(here, *batches)


def test_not_told_at_all(here: Site) -> None:
    """What is lost on the way from the store, a sweep makes up for."""
    here.fleet.stop()
    batch = here.drop(Random(9), recordings=3)
    queued(here, 1)
    assert here.messages.lose(here.queue(UNPACK))
    here.fleet.tend()
    assert swept(here)["archive-untold"] == 1
    whole(here, batch)
    assert not swept(here)


def test_told_of_what_is_gone(here: Site) -> None:
    """An event of long ago, whose object somebody deleted, is done with a line in the log."""
    gone = BatchId.new(utc_now() - timedelta(days=40), secrets.token_bytes(3))
    tell(here, gone)
    batch = here.drop(Random(7), recordings=2)
    whole(here, batch)
    assert here.database.batch(gone) is None


def test_told_before_the_object_can_be_read(here: Site) -> None:
    batch = BatchId.new(utc_now(), secrets.token_bytes(3))
    record = json.loads(encode(here.store.bucket, batch.archive_key))
    record["Records"][0]["eventTime"] = here.store.now().isoformat()
    here.messages.put(here.queue(UNPACK), json.dumps(record))
    time.sleep(1.5)
    assert here.database.batch(batch) is None
    here.drop(Random(8), recordings=2, batch=batch)
    whole(here, batch)
