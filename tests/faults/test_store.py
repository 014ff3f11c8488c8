"""A store that refuses, hangs, breaks off, and gives back less than was stored."""

from __future__ import annotations

from random import Random

import pytest

from events.keys import AudioId
from ops.faults.store_proxy import Misbehaviour
from ops.soak.site import Site
from tests.faults.conftest import eventually, whole

#: More than botocore tries again by itself.
OFTEN = 12


@pytest.mark.parametrize("misbehaviour", Misbehaviour)
def test_misbehaves(here: Site, misbehaviour: Misbehaviour) -> None:
    proxy = here.deployment.to_store
    before = proxy.hits[misbehaviour]
    times = 2 if misbehaviour is Misbehaviour.HANG else OFTEN
    proxy.fail(misbehaviour, times=times, key=r"^(archives|processed)/")
    batches = [here.drop(Random(30), recordings=6) for _ in range(2)]
    whole(here, *batches, seconds=120)
    assert proxy.hits[misbehaviour] > before


def test_restarted(here: Site) -> None:
    batch = here.drop(Random(31), recordings=30)
    here.deployment.store.kill()
    here.deployment.store.start()
    whole(here, batch)


def test_a_recording_that_is_cut_short_in_the_bucket_is_said(here: Site) -> None:
    """It is not transcribed as if that were all: its batch waits, and says for what."""
    here.fleet.stop()
    unpacker = here.fleet.consumers[0]
    unpacker.process.start()
    batch = here.drop(Random(32), recordings=2)
    audio = AudioId(batch, 2)
    eventually_stored = here.store
    while (stored := eventually_stored.head(audio.opus_key)) is None:
        pass
    content = here.store.read(audio.opus_key)
    here.store.write(
        audio.opus_key,
        content[: len(content) // 2],
        content_type="audio/ogg",
        metadata=stored.metadata,
    )
    eventually(here, lambda: here.look(batch).state == "stalled")
    (said,) = [each.stalled for each in here.database.recordings(batch) if each.stalled]
    assert "cut short" in said
    here.store.write(audio.opus_key, content, content_type="audio/ogg", metadata=stored.metadata)
    whole(here, batch)


def test_an_archive_that_is_cut_short_is_a_failed_batch(here: Site) -> None:
    batch = here.drop(Random(33), recordings=4, cut=True)
    whole(here, batch)
    assert here.look(batch).state == "failed"
