"""RabbitMQ restarted, killed, and cut off, while work is in hand.

What Ceph 16.2 sends into a node that is just going down is lost, as it does not
wait for confirmations: that is what sweeps are for.
"""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.faults.conftest import in_work, swept, whole
from tests.harness.deployment.cluster import Cluster


def test_the_broker_is_restarted(here: Cluster) -> None:
    batch = here.drop(Random(10), recordings=40)
    in_work(here, batch)
    here.deployment.servers.node.restart()
    after = here.drop(Random(11), recordings=2)
    whole(here, after)
    swept(here)
    whole(here, batch)


def test_the_broker_is_killed(here: Cluster) -> None:
    batch = here.drop(Random(12), recordings=40)
    in_work(here, batch)
    here.deployment.servers.node.kill()
    here.deployment.servers.node.start()
    after = here.drop(Random(13), recordings=2)
    whole(here, after)
    swept(here)
    whole(here, batch)


@pytest.mark.parametrize("seconds", [10, 30])
def test_the_broker_is_cut_off(here: Cluster, seconds: int) -> None:
    batch = here.drop(Random(14), recordings=40)
    in_work(here, batch)
    here.deployment.to_broker.cut()
    time.sleep(seconds)
    here.deployment.to_broker.mend()
    whole(here, batch, here.drop(Random(15), recordings=2))
