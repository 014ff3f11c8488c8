"""A deployment of dropscribe on real servers of its own, with what breaks between them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

from ops.bootstrap import bootstrap
from ops.environment import Environment
from ops.faults.database_relay import DatabaseRelay
from ops.faults.relay import Relay
from ops.faults.store_proxy import StoreProxy
from ops.servers.ceph import CephGateway, ceph
from ops.servers.postgres import PostgresServer, postgres
from ops.servers.rabbitmq import RabbitNode, rabbitmq
from ops.soak.audit import bear_witness


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs, and what lies between.

    Attributes:
        node: The broker.
        gateway: The store.
        postgres: The database's server.
        to_broker: Between consumers and broker.
        to_store: Between consumers and store.
        to_database: Between consumers and database.
        direct: Settings by which an operator reaches the servers.
        consuming: Settings by which consumers do: through what lies between.
    """

    node: RabbitNode
    gateway: CephGateway
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
    def url(self) -> str:
        """The database's, for whoever may do anything."""
        return self.direct["DATABASE_URL"]


@contextmanager
def deployment(
    chance: Random,
    *,
    retry_delays: str = "1,2,5",
    broker: Mapping[str, str | int] | None = None,
) -> Iterator[Deployment]:
    """Run RabbitMQ, a Ceph gateway and PostgreSQL, bootstrapped, while the block runs.

    Args:
        chance: What the store's proxy throws its dice by.
        retry_delays: As the setting ``RETRY_DELAYS``.
        broker: Lines of ``rabbitmq.conf``.

    Raises:
        ConfigurationError: A server is not installed.
        ServerError: One does not come up.
    """
    with ExitStack() as stack:
        node = stack.enter_context(rabbitmq(broker))
        gateway = stack.enter_context(ceph())
        server = stack.enter_context(postgres())
        direct = {
            "S3_ENDPOINT": gateway.endpoint,
            "S3_ACCESS_KEY": gateway.access_key,
            "S3_SECRET_KEY": gateway.secret_key,
            "S3_BUCKET": f"soak-{uuid.uuid4().hex[:8]}",
            "S3_TIMEOUT": "5",
            "BROKER_URL": node.vhost(),
            "BROKER_HEARTBEAT": "5",
            "DATABASE_URL": server.database(),
            "RETRY_DELAYS": retry_delays,
        }
        for _ in bootstrap(Environment(direct)):
            pass
        bear_witness(direct["DATABASE_URL"])
        to_broker = stack.enter_context(Relay(node.port))
        to_store = stack.enter_context(StoreProxy(gateway.endpoint, chance))
        to_database = stack.enter_context(DatabaseRelay(server.port))
        consuming = {
            **direct,
            "S3_ENDPOINT": to_store.endpoint,
            "BROKER_URL": _through(direct["BROKER_URL"], node.port, to_broker.port),
            "DATABASE_URL": _through(direct["DATABASE_URL"], server.port, to_database.port),
        }
        yield Deployment(node, gateway, server, to_broker, to_store, to_database, direct, consuming)


def _through(url: str, port: int, relay: int) -> str:
    return url.replace(f"127.0.0.1:{port}", f"127.0.0.1:{relay}", 1)
