"""A deployment of dropscribe on running servers, with relays that can break its connections."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from events.routes import Route
from ops.bootstrap import bootstrap
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from tests.harness.deployment.batches import POLICY
from tests.harness.deployment.ends import record_ends
from tests.harness.deployment.servers import RealServers
from tests.harness.faults.database_relay import DatabaseRelay
from tests.harness.faults.relay import Relay
from tests.harness.faults.store_proxy import StoreProxy
from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.rabbitmq import RabbitNode
from tests.harness.servers.store import StoreServer


@dataclass(frozen=True, slots=True)
class Deployment:
    """A bootstrapped deployment.

    Attributes:
        direct: The operator's settings, which reach the servers directly.
        consuming: The consumers' settings, which reach the relays.
    """

    servers: RealServers
    to_broker: Relay
    to_store: StoreProxy
    to_database: DatabaseRelay
    direct: Mapping[str, str]
    consuming: Mapping[str, str]

    @property
    def node(self) -> RabbitNode:
        """The broker."""
        return self.servers.node

    @property
    def store(self) -> StoreServer:
        return self.servers.store

    @property
    def postgres(self) -> PostgresServer:
        """The database server."""
        return self.servers.postgres

    @property
    def environment(self) -> Environment:
        """The operator's settings."""
        return Environment(self.direct)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that the settings switch on."""
        return PIPELINE.routes_of(self.environment)

    @property
    def url(self) -> str:
        """The database's URL for its superuser."""
        return self.direct["DATABASE_URL"]


@contextmanager
def open_deployment(
    servers: RealServers, chance: Random, *, policy: str | None = POLICY
) -> Iterator[Deployment]:
    """Bootstrap a deployment on servers, and run its relays while the block runs.

    Args:
        chance: Decides which requests the store's proxy disturbs.
        policy: The policy that recordings are judged by; None for no moderation.
    """
    with ExitStack() as stack:
        direct = {
            **servers.new_settings(),
            "S3_TIMEOUT": "5",
            "BROKER_HEARTBEAT": "5",
            "RETRY_DELAYS": "1,2,5",
            # All recordings: each one that is judged then ends with exactly one item.
            "REVIEW_SAMPLE": "1",
        }
        if policy is not None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (root / "length.md").write_text(policy)
            direct["POLICIES_ROOT"] = str(root)
        for _ in bootstrap(Environment(direct)):
            pass
        record_ends(direct["DATABASE_URL"])
        to_broker = stack.enter_context(Relay(servers.node.port))
        to_store = stack.enter_context(StoreProxy(servers.store.endpoint, chance))
        to_database = stack.enter_context(DatabaseRelay(servers.postgres.port))
        consuming = {
            **direct,
            "S3_ENDPOINT": to_store.endpoint,
            "BROKER_URL": _through(direct["BROKER_URL"], servers.node.port, to_broker.port),
            "DATABASE_URL": _through(
                direct["DATABASE_URL"], servers.postgres.port, to_database.port
            ),
        }
        yield Deployment(servers, to_broker, to_store, to_database, direct, consuming)


def _through(url: str, port: int, relay: int) -> str:
    return url.replace(f"127.0.0.1:{port}", f"127.0.0.1:{relay}", 1)
