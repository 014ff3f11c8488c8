"""A deployment of dropscribe on real servers, with relays that can break its connections.

The servers are an S3 store of either kind, RabbitMQ and PostgreSQL.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, get_args

import psycopg

from events.routes import Route
from ops.bootstrap import bootstrap
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from tests.harness.deployment.batches import POLICY
from tests.harness.faults.database_relay import DatabaseRelay
from tests.harness.faults.relay import Relay
from tests.harness.faults.store_proxy import StoreProxy
from tests.harness.servers.ceph import ceph
from tests.harness.servers.minio import minio
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq
from tests.harness.servers.store import StoreServer

#: The database itself notes each time that a recording ends, a batch completes, or is
#: ready for review, so that one which did so twice is seen, whatever its row says afterwards.
_WITNESS = """
    CREATE TABLE soak_ends (what text NOT NULL);
    CREATE FUNCTION soak_itemised() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO soak_ends VALUES (NEW.batch_id || ' itemised');
        RETURN NULL;
    END $$;
    CREATE FUNCTION soak_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO soak_ends VALUES (
            CASE TG_TABLE_NAME
                WHEN 'batches' THEN NEW.batch_id
                ELSE NEW.batch_id || '-' || lpad((to_jsonb(NEW) ->> 'ordinal'), 7, '0')
            END
        );
        RETURN NULL;
    END $$;
    CREATE TRIGGER soak_recording_updated AFTER UPDATE ON recordings FOR EACH ROW
        WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_recording_inserted AFTER INSERT ON recordings FOR EACH ROW
        WHEN (NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_batch_updated AFTER UPDATE ON batches FOR EACH ROW
        WHEN (OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_batch_itemised AFTER UPDATE ON batches FOR EACH ROW
        WHEN (OLD.itemised_at IS NULL AND NEW.itemised_at IS NOT NULL)
        EXECUTE FUNCTION soak_itemised();
"""


def record_ends(url: str) -> None:
    """Have the database note each end, from now on."""
    with psycopg.connect(url) as connection:
        connection.execute(_WITNESS)


StoreChoice = Literal["ceph", "minio"]

STORE_CHOICES: tuple[StoreChoice, ...] = get_args(StoreChoice)


@dataclass(frozen=True, slots=True)
class RealServers:
    """Running servers, which several deployments can share."""

    store: StoreServer
    node: RabbitNode
    postgres: PostgresServer

    def new_settings(self) -> dict[str, str]:
        """Name a bucket, and make a virtual host and a database, for one deployment.

        The virtual host because a Ceph gateway uses one exchange in each.
        """
        name = f"test-{uuid.uuid4().hex[:12]}"
        return {
            **self.store.settings,
            "S3_BUCKET": name,
            "BROKER_URL": self.node.vhost(),
            "BROKER_PREFIX": name,
            "DATABASE_URL": self.postgres.database(),
        }


def open_store(kind: StoreChoice) -> AbstractContextManager[StoreServer]:
    """Run a store; `minio` looks for its program by this process's environment."""
    return minio(os.environ) if kind == "minio" else ceph()


@contextmanager
def open_servers(kind: StoreChoice = "ceph") -> Iterator[RealServers]:
    """Run the servers while the block runs.

    Raises:
        ConfigurationError: A server is not installed.
        ServerError: A server does not start.
    """
    # The store first: its program is the one that may be missing.
    with open_store(kind) as store, rabbitmq() as node, postgres() as database:
        yield RealServers(store, node, database)


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
