"""kombu alone: it takes, parses and acks."""

from __future__ import annotations

import json
from typing import Any

from kombu import Connection, Consumer, Queue

from tests.bench.consumption.counter import Consumed, DeliveryCounter
from tests.bench.consumption.messages import key_in


def consume_by_kombu(url: str, queue: str, prefetch: int, count: str) -> Consumed:
    """Take a number of messages."""
    tally = DeliveryCounter(int(count))

    def on_message(message: Any) -> None:
        tally.add(key_in(json.loads(message.body)))
        message.ack()

    queues = [Queue(queue, no_declare=True)]
    with (
        Connection(url) as connection,
        Consumer(connection, queues, on_message=on_message, prefetch_count=prefetch),
    ):
        while not tally.is_full:
            connection.drain_events()
    return tally.taken
