"""Sending on RabbitMQ."""

from __future__ import annotations

from tests.broker.queues import RabbitQueues
from tests.contracts.sender import SenderContract
from tests.harness.polling import eventually


class TestSenderOnRabbitMQ(SenderContract):
    """The contract."""


def test_an_announcement_is_persistent_json(queues: RabbitQueues) -> None:
    with queues.sender() as sender:
        sender.announce(queues.review_queue, '{"item_id": "1"}')
    (message,) = eventually(queues.announcements, seconds=10)
    assert message.properties["content_type"] == "application/json"
    assert message.properties["delivery_mode"] == 2
