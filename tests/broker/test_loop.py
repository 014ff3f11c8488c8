"""The loop on RabbitMQ."""

from __future__ import annotations

from tests.contracts.loop import LoopContract


class TestLoopOnRabbitMQ(LoopContract):
    """The contract."""
