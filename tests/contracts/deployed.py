"""The whole on real servers, with consumers in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from consumers.database.batches import BatchRepository
from consumers.store import Store
from events.keys import BatchId
from ops.cli.batch_progress import BatchProgress
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import utc_now
from ops.wiring.environment import Environment
from tests.contracts.loop import eventually
from tests.harness.deployment.cluster import Cluster, open_cluster
from tests.harness.deployment.deployment import open_deployment
from tests.harness.servers.store import StoreServer

#: Seconds. Ceph begins to tell of a new topic half a minute after it was made.
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


@contextmanager
def deployed(
    store: AbstractContextManager[StoreServer], folder: Path, *, policy: str | None = None
) -> Iterator[DeployedPipeline]:
    """Run it for as long as the block runs.

    Args:
        store: Runs the store, or gives one that runs.
        folder: For the consumers' logs and scratch.
        policy: By which recordings are judged; None for no moderation.
    """
    with (
        open_deployment(Random(1), store, policy=policy) as servers,
        open_cluster(servers, folder) as where,
    ):
        for route in servers.routes:
            where.fleet.add(route.name)
        yield DeployedPipeline(where)
