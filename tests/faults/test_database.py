"""PostgreSQL restarted, killed, and cut off at a statement."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.conftest import in_work, whole
from tests.harness.deployment.cluster import Cluster
from tests.harness.faults.database_relay import Moment


def test_the_database_is_restarted(here: Cluster) -> None:
    batch = here.drop(Random(20), recordings=40)
    in_work(here, batch)
    here.deployment.servers.postgres.stop()
    here.deployment.servers.postgres.start()
    whole(here, batch)


def test_the_database_is_killed(here: Cluster) -> None:
    batch = here.drop(Random(21), recordings=40)
    in_work(here, batch)
    here.deployment.servers.postgres.kill()
    here.deployment.servers.postgres.start()
    whole(here, batch)


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("statement", ["^COMMIT", "SET sealed_at", "SET completed_at"])
def test_cut_at_a_statement(here: Cluster, statement: str, moment: Moment) -> None:
    """A client cannot know whether its statement was executed."""
    before = here.deployment.to_database.hits[moment]
    here.deployment.to_database.cut_at(statement, moment, times=2)
    batches = [here.drop(Random(22), recordings=3) for _ in range(2)]
    whole(here, *batches)
    assert here.deployment.to_database.hits[moment] == before + 2
