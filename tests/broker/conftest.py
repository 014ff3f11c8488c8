"""A RabbitMQ node, and a virtual host of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.broker.queues import RabbitQueues
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq


@pytest.fixture(scope="session")
def node() -> Iterator[RabbitNode]:
    """A node that is never stopped."""
    with rabbitmq() as running:
        yield running


@pytest.fixture
def queues(node: RabbitNode) -> Iterator[RabbitQueues]:
    """A deployment on it."""
    with RabbitQueues(node.vhost()) as queues:
        yield queues
