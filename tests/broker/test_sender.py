"""Sending on RabbitMQ."""

from __future__ import annotations

from tests.contracts.sender import SenderContract


class TestSenderOnRabbitMQ(SenderContract):
    """The contract."""
