"""A store that refuses, hangs, breaks off, and gives back less than was stored."""

from __future__ import annotations

from random import Random

import pytest

from events.keys import AudioId
from tests.faults.conftest import eventually, start, swept, whole
from tests.harness.deployment.cluster import Cluster
from tests.harness.faults.store_proxy import Misbehaviour
from tests.soak.drain import Drained, clear_dead_letters

#: Once botocore has tried again too often of late, each costs an attempt; there are four.
OFTEN = 3


@pytest.mark.parametrize("misbehaviour", Misbehaviour)
def test_the_store_misbehaves(here: Cluster, misbehaviour: Misbehaviour) -> None:
    proxy = here.deployment.to_store
    before = proxy.hits[misbehaviour]
    times = 2 if misbehaviour is Misbehaviour.HANG else OFTEN
    proxy.fail(misbehaviour, times=times, key=r"^(archives|processed)/")
    batches = [here.drop(Random(30), recordings=6) for _ in range(2)]
    whole(here, *batches, seconds=120)
    assert proxy.hits[misbehaviour] > before


def test_the_store_is_restarted(here: Cluster) -> None:
    batch = here.drop(Random(31), recordings=30)
    here.deployment.servers.store.kill()
    here.deployment.servers.store.start()

    def is_over() -> bool:
        # A Ceph gateway sends the events of a dead one only after 90 seconds.
        swept(here)
        return here.look(batch).state == "complete"

    eventually(here, is_over)
    whole(here, batch)
    # After that it sends events again.
    whole(here, here.drop(Random(35), recordings=1), seconds=150)


def test_the_store_is_down_for_longer_than_retries_last(here: Cluster) -> None:
    """Dead letters of that time are handled once they are replayed."""
    here.deployment.to_store.fail(Misbehaviour.SLOW_DOWN, times=None)
    batches = [here.drop(Random(34), recordings=3) for _ in range(2)]
    eventually(here, lambda: all(here.look(batch).state == "stalled" for batch in batches))
    here.deployment.to_store.heal()
    drained = Drained()

    def are_replayed() -> bool:
        # A row says so a moment before the letter is in its queue.
        clear_dead_letters(here, drained)
        return all(here.look(batch).state != "stalled" for batch in batches)

    eventually(here, are_replayed)
    assert drained.replayed["exhausted"] >= len(batches)
    whole(here, *batches)


def test_a_recording_cut_short_in_the_bucket_is_reported(here: Cluster) -> None:
    """It is not transcribed as if it were whole: its batch waits, and gives the reason."""
    here.fleet.stop()
    start(here, "unpack")
    batch = here.drop(Random(32), recordings=2)
    audio = AudioId(batch, 2)
    eventually(here, lambda: here.store.head(audio.opus_key) is not None, tend=False)
    stored = here.store.head(audio.opus_key)
    assert stored is not None
    content = here.store.read(audio.opus_key)
    here.store.write(
        audio.opus_key,
        content[: len(content) // 2],
        content_type="audio/ogg",
        metadata=stored.metadata,
    )
    eventually(here, lambda: here.look(batch).state == "stalled")
    (said,) = [each.stalled for each in here.database.recordings(batch) if each.stalled]
    assert "damaged in the store" in said
    here.store.write(audio.opus_key, content, content_type="audio/ogg", metadata=stored.metadata)
    whole(here, batch)


def test_an_archive_that_is_cut_short_is_a_failed_batch(here: Cluster) -> None:
    batch = here.drop(Random(33), recordings=4, cut=True)
    whole(here, batch)
    assert here.look(batch).state == "failed"
