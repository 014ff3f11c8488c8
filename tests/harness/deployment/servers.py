"""The servers of a deployment: an S3 store of either kind, RabbitMQ and PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from tests.harness.servers.ceph import ceph
from tests.harness.servers.minio import minio
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq
from tests.harness.servers.store import StoreServer

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
