"""Deployments on real servers, which the tests here share and none stops.

Option ``--store`` chooses the kind of store; tests marked ``store(KIND)`` run on that kind alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from consumers.database.batches import BatchRepository
from consumers.store import Store
from events.keys import BatchId
from ops.cli.batch_progress import BatchProgress
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import utc_now
from ops.wiring.environment import Environment
from tests.harness.deployment.cluster import Cluster, open_cluster
from tests.harness.deployment.deployment import (
    RealServers,
    StoreChoice,
    open_deployment,
    open_servers,
)
from tests.harness.polling import eventually

#: Seconds. Ceph announces objects to a new topic after half a minute at most.
_PATIENCE = 120.0


@dataclass(frozen=True)
class DeployedPipeline:
    """See `tests.contracts.pipeline.Place`."""

    cluster: Cluster

    @property
    def environment(self) -> Environment:
        return self.cluster.deployment.environment

    @property
    def store(self) -> Store:
        return self.cluster.store

    @property
    def database(self) -> BatchRepository:
        return self.cluster.database

    def drop(self, archive: Path) -> BatchId:
        return drop_archive(self.store, archive, now=utc_now(), host="field-recorder")

    def wait(self, batch: BatchId) -> BatchProgress:
        def look() -> BatchProgress | None:
            for each in self.cluster.fleet.consumers:
                assert each.is_alive, f"{each.name} ended:\n{each.process.log_end()}"
            progress = self.cluster.look(batch)
            return progress if progress.is_over else None

        return eventually(look, _PATIENCE)

    def left_in_scratch(self) -> Sequence[Path]:
        return self.cluster.fleet.left_in_scratch()


@pytest.fixture(scope="package")
def servers(store_kind: StoreChoice) -> Iterator[RealServers]:
    with open_servers(store_kind) as running:
        yield running


@pytest.fixture(scope="package")
def deploy(servers: RealServers) -> Callable[[], dict[str, str]]:
    """Give settings of a new deployment."""
    return servers.new_settings


@pytest.fixture
def variables(servers: RealServers) -> dict[str, str]:
    """Settings of this test's own deployment, which is not bootstrapped."""
    return servers.new_settings()


@pytest.fixture(scope="module")
def policy() -> str | None:
    """The policy of the module's deployment; None for no moderation."""
    return None


@pytest.fixture(scope="module")
def place(
    servers: RealServers, policy: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedPipeline]:
    """The module's deployment, with a consumer of each route."""
    with (
        open_deployment(servers, Random(1), policy=policy) as deployed,
        open_cluster(deployed, tmp_path_factory.mktemp("cluster")) as cluster,
    ):
        for route in deployed.routes:
            cluster.fleet.add(route.name)
        yield DeployedPipeline(cluster)
