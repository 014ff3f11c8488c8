"""A disk that is full."""

from __future__ import annotations

import time
from random import Random

from tests.faults.conftest import whole
from tests.harness.deployment.cluster import Cluster


def test_work_waits_until_there_is_room_again(here: Cluster) -> None:
    here.disk.fill()
    batch = here.drop(Random(40), recordings=4)
    time.sleep(3)
    assert here.database.batch(batch) is not None
    assert here.look(batch).state == "unpacking"
    here.disk.clear()
    whole(here, batch)
