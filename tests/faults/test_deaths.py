"""A consumer killed at any point of its work: the next one goes on where it stopped."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.conftest import eventually, in_work, whole
from tests.harness.deployment.cluster import Cluster
from tests.harness.faults.death import DeathPoint


@pytest.mark.parametrize("point", DeathPoint)
def test_killed_twice_at_a_point_of_its_work(here: Cluster, point: DeathPoint) -> None:
    here.deaths.allow(point, 2)
    batches = [here.drop(Random(2), recordings=3) for _ in range(2)]
    whole(here, *batches)
    # The last death can come after all is done.
    eventually(here, lambda: not here.deaths.due()[point], seconds=20)
    whole(here, *batches)


def test_all_consumers_are_killed_at_once(here: Cluster) -> None:
    batch = here.drop(Random(4), recordings=40)
    stored = 0
    for _ in range(3):
        stored = in_work(here, batch, since=stored)
        here.fleet.kill()
    whole(here, batch)
