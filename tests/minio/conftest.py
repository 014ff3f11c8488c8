"""A MinIO, a broker and a database, and of each a part of its own for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.harness.servers.minio import MinioServer, minio
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq


@pytest.fixture(scope="session")
def server() -> Iterator[MinioServer]:
    """A MinIO; bootstrap restarts it."""
    with minio(os.environ) as running:
        yield running


@pytest.fixture(scope="session")
def node() -> Iterator[RabbitNode]:
    """A RabbitMQ that is never stopped."""
    with rabbitmq() as running:
        yield running


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that is never stopped."""
    with postgres() as running:
        yield running


@pytest.fixture(scope="session")
def deploy(
    server: MinioServer, node: RabbitNode, database_server: PostgresServer
) -> Callable[[], dict[str, str]]:
    """Give settings that reach a bucket, a virtual host and a database of nobody else's."""

    def settings() -> dict[str, str]:
        name = f"test-{uuid.uuid4().hex[:12]}"
        return {
            **server.settings,
            "S3_BUCKET": name,
            "BROKER_URL": node.vhost(),
            "BROKER_PREFIX": name,
            "DATABASE_URL": database_server.database(),
        }

    return settings


@pytest.fixture
def variables(deploy: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Settings of this test's own."""
    return deploy()
