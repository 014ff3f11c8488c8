"""RabbitMQ, an S3 store, PostgreSQL, and consumers in processes of their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import pytest

from events.keys import BatchId
from ops.wiring.log import quiet_log
from tests.harness import polling
from tests.harness.deployment.cluster import Cluster, open_cluster
from tests.harness.deployment.deployment import (
    Deployment,
    StoreChoice,
    open_deployment,
    open_servers,
)
from tests.soak.drain import sweep
from tests.soak.faults import heal


@pytest.fixture(scope="package")
def deployed(store_kind: StoreChoice) -> Iterator[Deployment]:
    """A deployment on servers of its own, which tests kill and restart."""
    with open_servers(store_kind) as servers, open_deployment(servers, Random(1)) as running:
        yield running


@pytest.fixture(scope="package")
def consuming(deployed: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A consumer of each route; `whole` restarts dead ones."""
    with open_cluster(deployed, tmp_path_factory.mktemp("cluster")) as cluster:
        for route in deployed.routes:
            cluster.fleet.add(route.name)
        yield cluster


@pytest.fixture
def here(consuming: Cluster) -> Iterator[Cluster]:
    """The same, with all consumers alive, and nothing broken afterwards."""
    consuming.fleet.tend()
    yield consuming
    heal(consuming)
    consuming.forget_dead_letters()


def eventually(
    here: Cluster, look: Callable[[], object], seconds: float = 90.0, *, tend: bool = True
) -> None:
    """Poll until the condition holds, and restart dead consumers meanwhile."""

    def tended() -> object:
        if tend:
            here.fleet.tend()
        return look()

    polling.eventually(tended, seconds, pause=0.1, told=partial(logs, here))


def start(here: Cluster, *routes: str) -> None:
    """Start the consumers of these routes again."""
    for consumer in here.fleet.consumers:
        if not consumer.is_alive and consumer.name.startswith(routes):
            consumer.process.start()


def swept(here: Cluster) -> Counter[str]:
    """Sweep, and count the repairs by kind.

    A store has times of whole seconds: younger objects count as on their way.
    """
    time.sleep(1.1)
    repaired: Counter[str] = Counter()
    sweep(here, quiet_log(), repaired)
    return repaired


def whole(here: Cluster, *batches: BatchId, seconds: float = 90.0) -> None:
    """Wait until batches are over, and make sure that nothing is missing or doubled."""
    eventually(here, lambda: all(here.is_over(batch) for batch in batches), seconds)
    audit = here.audit({batch: here.plans[batch] for batch in batches})
    assert audit.done + audit.rejected == audit.recordings, logs(here)
    assert not audit.faults
    assert not here.fleet.left_in_scratch()


def in_work(here: Cluster, batch: BatchId, *, since: int = 0) -> int:
    """Wait until a batch has more objects than ``since``, and make sure that it is not over.

    Returns:
        The number of stored objects of its recordings.
    """

    def stored() -> int:
        return sum(1 for _ in here.store.keys(f"{batch.prefix}-"))

    eventually(here, lambda: stored() > since)
    assert not here.look(batch).is_over, "it was over too soon"
    return stored()


def logs(here: Cluster) -> str:
    """The end of each consumer's log."""
    return "".join(f"\n--- {each.name}\n{each.process.log_end()}" for each in here.fleet.consumers)
