"""The recoveries of docs/operations/restore.md, after a server is lost with its data."""

from __future__ import annotations

from random import Random
from urllib.parse import urlsplit

from ops.bootstrap import bootstrap
from tests.faults.conftest import in_work, start, swept, whole
from tests.harness.deployment.cluster import Cluster


def test_the_broker_is_lost_with_all_that_was_in_its_queues(here: Cluster) -> None:
    """A new one, bootstrap, and a sweep: nothing of the work is lost."""
    half = here.drop(Random(41), recordings=20)
    in_work(here, half)
    here.fleet.stop()
    # The earlier announcements of the review queue have arrived.
    here.audit()
    waiting = here.drop(Random(42), recordings=4)
    broker = here.deployment.servers.node
    vhost = urlsplit(here.deployment.direct["BROKER_URL"]).path.lstrip("/")
    broker.ctl("delete_vhost", vhost)
    broker.ctl("add_vhost", vhost)
    broker.ctl("set_permissions", "--vhost", vhost, "guest", ".*", ".*", ".*")
    made = [step for step in bootstrap(here.deployment.environment) if step.changed]
    assert any("queue" in step.what for step in made), made
    start(here, *(route.name for route in here.deployment.routes))
    # Each unfinished event comes back, and no other.
    assert swept(here).total() > 0
    whole(here, half, waiting)
