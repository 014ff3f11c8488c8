"""A deployment of dropscribe on real servers of its own, with what breaks between them."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from events.routes import Route
from ops.bootstrap import bootstrap
from ops.wiring.environment import Environment
from ops.wiring.settings.routes import routes_of
from tests.harness.deployment.batches import POLICY
from tests.harness.deployment.ends import record_ends
from tests.harness.faults.database_relay import DatabaseRelay
from tests.harness.faults.relay import Relay
from tests.harness.faults.store_proxy import StoreProxy
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq
from tests.harness.servers.store import StoreServer


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs, and what lies between.

    Attributes:
        node: The broker.
        store: The store.
        postgres: The database's server.
        to_broker: Between consumers and broker.
        to_store: Between consumers and store.
        to_database: Between consumers and database.
        direct: Settings by which an operator reaches the servers.
        consuming: Settings by which consumers do: through what lies between.
    """

    node: RabbitNode
    store: StoreServer
    postgres: PostgresServer
    to_broker: Relay
    to_store: StoreProxy
    to_database: DatabaseRelay
    direct: Mapping[str, str]
    consuming: Mapping[str, str]

    @property
    def environment(self) -> Environment:
        """The operator's settings."""
        return Environment(self.direct)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Those that are set up."""
        return routes_of(self.environment)

    @property
    def url(self) -> str:
        """The database's, for whoever may do anything."""
        return self.direct["DATABASE_URL"]


@contextmanager
def open_deployment(
    chance: Random,
    store: AbstractContextManager[StoreServer],
    *,
    policy: str | None = POLICY,
    retry_delays: str = "1,2,5",
    broker: Mapping[str, str | int] | None = None,
) -> Iterator[Deployment]:
    """Run RabbitMQ, an S3 store and PostgreSQL, bootstrapped, while the block runs.

    Args:
        chance: What the store's proxy throws its dice by.
        store: Runs the store, such as `tests.harness.servers.ceph.ceph`.
        policy: By which recordings are judged; None for no moderation.
        retry_delays: As the setting ``RETRY_DELAYS``.
        broker: Lines of ``rabbitmq.conf``.

    Raises:
        ConfigurationError: A server is not installed.
        ServerError: One does not come up.
    """
    with ExitStack() as stack:
        # First, as it is what may not be installed.
        running = stack.enter_context(store)
        node = stack.enter_context(rabbitmq(broker))
        server = stack.enter_context(postgres())
        direct = {
            **running.settings,
            "S3_BUCKET": f"soak-{uuid.uuid4().hex[:8]}",
            "S3_TIMEOUT": "5",
            "BROKER_URL": node.vhost(),
            "BROKER_HEARTBEAT": "5",
            "DATABASE_URL": server.database(),
            "RETRY_DELAYS": retry_delays,
            # All of it: what is judged then ends with exactly one item.
            "REVIEW_SAMPLE": "1",
        }
        if policy is not None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (root / "length.md").write_text(policy)
            direct["POLICIES_ROOT"] = str(root)
        for _ in bootstrap(Environment(direct)):
            pass
        record_ends(direct["DATABASE_URL"])
        to_broker = stack.enter_context(Relay(node.port))
        to_store = stack.enter_context(StoreProxy(running.endpoint, chance))
        to_database = stack.enter_context(DatabaseRelay(server.port))
        consuming = {
            **direct,
            "S3_ENDPOINT": to_store.endpoint,
            "BROKER_URL": _through(direct["BROKER_URL"], node.port, to_broker.port),
            "DATABASE_URL": _through(direct["DATABASE_URL"], server.port, to_database.port),
        }
        yield Deployment(node, running, server, to_broker, to_store, to_database, direct, consuming)


def _through(url: str, port: int, relay: int) -> str:
    return url.replace(f"127.0.0.1:{port}", f"127.0.0.1:{relay}", 1)
