"""A server of each kind for all tests here; each test has its own objects in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.servers.ceph import CephGateway, ceph
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq
from tests.harness.servers.store import boto_client


@pytest.fixture(scope="session")
def node() -> Iterator[RabbitNode]:
    with rabbitmq() as node:
        yield node


@pytest.fixture(scope="session")
def gateway() -> Iterator[CephGateway]:
    with ceph() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def bucket(gateway: CephGateway) -> str:
    """Made before any test kills the gateway: afterwards it takes half a minute."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    client(gateway).create_bucket(Bucket=name)
    return name


def client(gateway: CephGateway, endpoint: str | None = None) -> Any:
    """Make an S3 client that tries once, and not for long."""
    return boto_client("s3", gateway, endpoint, retries={"max_attempts": 0}, read_timeout=2)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture
def vhost(node: RabbitNode) -> str:
    return node.vhost()
